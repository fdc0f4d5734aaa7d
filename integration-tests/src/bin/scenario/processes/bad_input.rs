//! What bodies do that they shouldn't: each a typed error of the wait, never a hang.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::process::{
    ExitStatus, JoinError, Launch, LaunchOptions, Readiness, Resource, Signal, StartError,
};
use integration_tests::{proc, raw};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed};
use crate::processes::children::{link, sleep_for_long, start};

scenarios!(
    an_output_that_cannot_be_serialised_is_an_error,
    an_output_that_cannot_be_read_is_an_error,
    an_output_of_another_type_is_an_error,
    a_large_output_arrives_and_a_too_large_one_does_not,
    an_output_that_the_limits_forbid_is_an_error,
    a_panic_with_another_payload_than_a_string_is_told,
    a_body_that_exits_is_told_by_its_code,
    a_body_that_closes_all_descriptors_is_told,
    a_body_that_kills_itself_is_told,
    a_payload_that_panics_when_dropped_is_told,
    a_descriptor_that_took_the_links_number_is_not_written_to,
    a_foreign_report_is_an_error,
    a_foreign_report_is_told_by_the_output_though_others_have_heard_it,
    what_a_child_says_after_its_last_word_costs_nothing,
    a_panic_hook_that_exits_hides_no_panic,
    an_environment_with_odd_entries_can_be_cleared,
);

fn run<O: Serialize + for<'de> Deserialize<'de> + std::fmt::Debug>(body: impl FnOnce() -> O) -> JoinError {
    offspring::spawn(body).unwrap().join().unwrap_err()
}

#[derive(Debug)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("won't be written"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Stubborn, D::Error> {
        Err(serde::de::Error::custom("won't be read"))
    }
}

fn an_output_that_cannot_be_serialised_is_an_error() -> Outcome {
    let error = run(|| Stubborn);
    let JoinError::Encode { type_name, message } = &error else { panic!("{error:?}") };
    assert!(type_name.contains("Stubborn") && message.contains("won't be written"), "{error}");

    #[derive(Debug, Deserialize)]
    struct Bomb;
    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("boom")
        }
    }
    assert!(matches!(run(|| Bomb), JoinError::Encode { .. }));
    Passed
}

fn an_output_that_cannot_be_read_is_an_error() -> Outcome {
    #[derive(Debug, Serialize)]
    struct OneWay;
    impl<'de> Deserialize<'de> for OneWay {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<OneWay, D::Error> {
            Err(serde::de::Error::custom("won't be read"))
        }
    }
    let error = run(|| OneWay);
    // A debug build notices it in the child, a release build here.
    assert!(matches!(error, JoinError::Encode { .. } | JoinError::Decode(_)), "{error:?}");
    assert!(error.to_string().contains("won't be read"), "{error}");
    Passed
}

fn an_output_of_another_type_is_an_error() -> Outcome {
    let child = Launch::new(&LaunchOptions::new()).start(|| "text".to_owned()).unwrap();
    assert!(matches!(child.output::<Vec<String>>(), Err(JoinError::Decode(_))));
    assert!(matches!(child.output::<u8>(), Err(JoinError::Decode(_))));
    assert_eq!(child.output::<String>().unwrap(), "text", "each decodes its own copy");
    Passed
}

fn a_large_output_arrives_and_a_too_large_one_does_not() -> Outcome {
    for length in [511, 512, 513, 65_536, 5_000_000] {
        let text = offspring::spawn(|| "x".repeat(length)).unwrap();
        assert_eq!(text.wait().unwrap().len(), length);
        assert_eq!(text.join().unwrap().len(), length);
    }
    let options = LaunchOptions::new().max_output(1000);
    let task = offspring::spawn_with(options, || "x".repeat(2000)).unwrap();
    let error = task.join().unwrap_err();
    assert!(matches!(error, JoinError::TooLarge { bytes: 2008, max: 1000 }), "{error:?}");
    Passed
}

fn an_output_that_the_limits_forbid_is_an_error() -> Outcome {
    let options = LaunchOptions::new().limit(Resource::FileSize, 1000, 1000);
    let task = offspring::spawn_with(options, || "x".repeat(2000)).unwrap();
    let error = task.join().unwrap_err();
    let JoinError::Undeliverable(source) = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::EFBIG));
    Passed
}

fn a_panic_with_another_payload_than_a_string_is_told() -> Outcome {
    let error = run::<()>(|| std::panic::panic_any(42));
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.message, "(the payload is not a string)");
    assert!(report.location.contains("bad_input.rs"), "{report:?}");
    Passed
}

fn a_body_that_exits_is_told_by_its_code() -> Outcome {
    for exit in [|| std::process::exit(7), || raw::c_exit(7)] {
        let exit: fn() -> ! = exit;
        assert!(matches!(run::<()>(|| exit()), JoinError::Died(ExitStatus::Exited(7))));
    }
    Passed
}

fn a_body_that_closes_all_descriptors_is_told() -> Outcome {
    let error = run(|| raw::close_from(0));
    assert!(matches!(error, JoinError::Died(ExitStatus::Exited(0))), "{error:?}");
    Passed
}

fn a_body_that_kills_itself_is_told() -> Outcome {
    let error = run(|| nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap());
    let JoinError::Died(status) = &error else { panic!("{error:?}") };
    assert_eq!(status.signal(), Some(Signal::KILL));
    Passed
}

fn a_payload_that_panics_when_dropped_is_told() -> Outcome {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let error = run::<()>(|| std::panic::panic_any(Grenade));
    assert!(matches!(error, JoinError::Panicked(_)), "{error:?}");
    Passed
}

fn a_descriptor_that_took_the_links_number_is_not_written_to() -> Outcome {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = run::<()>(|| raw::place(theirs.as_fd(), link()));
    assert!(matches!(error, JoinError::Died(ExitStatus::Exited(0))), "{error:?}");
    drop(theirs);
    let mut strayed = Vec::new();
    std::io::Read::read_to_end(&mut ours, &mut strayed).unwrap();
    assert!(strayed.is_empty(), "{strayed:?}");
    Passed
}

fn a_foreign_report_is_an_error() -> Outcome {
    for garbage in [&[99u8, 1, 2][..], &[3, 255, 255], &[130], &[0; 4000]] {
        let error = run::<()>(|| {
            nix::sys::socket::send(link(), garbage, nix::sys::socket::MsgFlags::empty()).unwrap();
            std::process::exit(0)
        });
        assert!(matches!(error, JoinError::Garbled(_)), "{error:?}");
        // While the start waits for its word: the child is killed.
        let bytes = garbage.to_vec();
        let options = LaunchOptions::new().ready_timeout(Duration::from_secs(20));
        static GARBAGE: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());
        *GARBAGE.lock().unwrap() = bytes;
        common_ipc::process::after_fork(|| {
            let garbage = GARBAGE.lock().unwrap().clone();
            if !garbage.is_empty() {
                nix::sys::socket::send(link(), &garbage, nix::sys::socket::MsgFlags::empty()).unwrap();
            }
        });
        let error = Launch::new(&options).wait_until_ready(true).start(|| ()).unwrap_err();
        assert!(matches!(error, StartError::Child(_)), "{error:?}");
        GARBAGE.lock().unwrap().clear();
    }
    Passed
}

fn a_foreign_report_is_told_by_the_output_though_others_have_heard_it() -> Outcome {
    let marks = SharedAtomics::new(1).unwrap();
    let sent = marks.clone();
    let child = start(move || {
        nix::sys::socket::send(link(), &[99], nix::sys::socket::MsgFlags::empty()).unwrap();
        sent[0].store(1, Ordering::SeqCst);
        sleep_for_long();
    });
    assert!(proc::eventually(|| marks[0].load(Ordering::SeqCst) == 1));
    for _ in 0..2 {
        assert!(!child.is_ready().unwrap());
    }
    let error = child.wait_ready(Duration::from_secs(20)).unwrap_err();
    assert!(error.to_string().contains("garbled"), "{error}");
    child.kill().unwrap();
    for _ in 0..2 {
        let error = child.output::<()>().unwrap_err();
        assert!(matches!(error, JoinError::Garbled(_)), "{error:?}");
    }
    Passed
}

fn what_a_child_says_after_its_last_word_costs_nothing() -> Outcome {
    let marks = SharedAtomics::new(1).unwrap();
    let sent = marks.clone();
    let child = start(move || {
        let link = link();
        let say =
            |word: &[u8]| nix::sys::socket::send(link, word, nix::sys::socket::MsgFlags::empty()).unwrap();
        // An output, of nothing.
        say(&[2]);
        for _ in 0..20 {
            say(&[7]);
        }
        sent[0].store(1, Ordering::SeqCst);
        sleep_for_long();
    });
    assert!(proc::eventually(|| marks[0].load(Ordering::SeqCst) == 1));
    let before = raw::processor_time();
    assert_eq!(child.wait_ready(Duration::from_millis(400)).unwrap(), Readiness::NotYet);
    assert!(raw::processor_time() - before < Duration::from_millis(200), "it spins");
    child.kill().unwrap();
    child.output::<()>().unwrap();
    Passed
}

fn a_panic_hook_that_exits_hides_no_panic() -> Outcome {
    let error = run::<()>(|| {
        // As programs do that mean to end at the first panic.
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            previous(info);
            std::process::exit(3);
        }));
        panic!("told all the same")
    });
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.message, "told all the same");
    Passed
}

fn an_environment_with_odd_entries_can_be_cleared() -> Outcome {
    let environment = [c"=C:=C:\\", c"no equals sign", c"NAME=value"];
    let me = std::ffi::CString::new(std::env::current_exe().unwrap().into_os_string().into_encoded_bytes())
        .unwrap();
    let child = offspring::spawn(move || {
        nix::unistd::execve(&me, &[&*me, c"program_that_clears_the_environment"], &environment).unwrap();
    });
    // The program that takes the child's place doesn't speak its language.
    let error = child.unwrap().join().unwrap_err();
    assert!(matches!(error, JoinError::Died(ExitStatus::Exited(0))), "{error:?}");
    Passed
}
