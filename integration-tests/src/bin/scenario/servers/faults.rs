//! What a zygote is asked that it can't do: bad functions, bad arguments, bad preloads, no room.

use std::process::id;
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{
    self, ChildError, ExitStatus, Launch, LaunchOptions, Signal, StartError, Zygote, active_children,
};
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal as NixSignal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::{self, sleep_for_long};
use crate::servers::{kill, server, start_in, zygote};

scenarios!(
    fault_11_a_zygote_without_processes_to_spare_is_a_typed_error,
    fault_12_a_program_without_descriptors_is_a_typed_error,
    fault_16_an_argument_that_cannot_be_serialised_is_an_error_of_the_start,
    fault_26_an_argument_that_cannot_be_read_is_an_error_of_the_start,
    fault_26_an_argument_that_takes_too_long_is_an_error_of_the_start,
    fault_52_a_program_with_a_limit_on_file_sizes_is_a_typed_error,
    a_function_that_the_zygote_lacks_is_an_error_of_the_start,
    a_keeper_that_comes_late_is_asked_again,
    a_program_without_init_is_told,
    ends_that_the_options_give_are_not_for_zygotes,
    init_beside_threads_is_too_late,
);

type Started = Result<process::Child, StartError>;

fn start_with<A: process::Portable>(run: fn(A), argument: &A) -> Started {
    Launch::new(&LaunchOptions::new()).start_in(&zygote(), run, argument)
}

/// The zygote is the same as before, and works.
pub(crate) fn assert_unharmed(before: Option<u32>) {
    assert_eq!(start_in(|()| 1, &()).output::<i32>().unwrap(), 1);
    assert!(before.is_none() || before == zygote().id());
    assert!(active_children().is_empty());
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum How {
    Errs,
    Panics,
    Exits,
    Dies,
    Hangs,
}

/// An argument that misbehaves where it is read, but not at its maker's: debug builds read it back there.
struct Bad(How);

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (id(), self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bad {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bad, D::Error> {
        let (maker, how) = <(u32, How)>::deserialize(deserializer)?;
        if maker != id() {
            match how {
                How::Errs => return Err(serde::de::Error::custom("not today")),
                How::Panics => panic!("while it is read"),
                How::Exits => std::process::exit(9),
                How::Dies => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
                How::Hangs => sleep_for_long(),
            }
        }
        Ok(Bad(how))
    }
}

fn never(_: Bad) {
    unreachable!("the function was called");
}

fn fault_11_a_zygote_without_processes_to_spare_is_a_typed_error() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming a user with no processes to spare needs root");
    }
    process::init().unwrap();
    let child = children::start(|| {
        process::init().unwrap();
        let nobody = nix::unistd::Uid::from_raw(65534);
        nix::unistd::setresuid(nobody, nobody, nobody).unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 0, hard).unwrap();
        // The keeper is root's still; the zygote that it makes is nobody's, as the program is.
        for _ in 0..3 {
            let error = start_with(|()| (), &()).unwrap_err();
            let StartError::Os { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(source.raw_os_error(), Some(libc::EAGAIN), "{error}");
        }
        let before = zygote().id();
        assert!(active_children().is_empty());
        setrlimit(Resource::RLIMIT_NPROC, hard, hard).unwrap();
        // The zygote is behind, and limited still: a new one isn't.
        assert!(matches!(start_with(|()| (), &()), Err(StartError::Os { .. })));
        let fresh = Zygote::with_preload(|()| (), &()).unwrap();
        let child = Launch::new(&LaunchOptions::new()).start_in(&fresh, |()| 1, &()).unwrap();
        assert_eq!(child.output::<i32>().unwrap(), 1);
        assert_eq!(before, zygote().id());
    });
    child.output::<()>().unwrap();
    Passed
}

fn fault_12_a_program_without_descriptors_is_a_typed_error() -> Outcome {
    let template = crate::servers::template(|| 1);
    start_with(|()| (), &()).unwrap().wait().unwrap();
    let before = zygote().id();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let (mut failed, all) = (0, taken.len());
    assert!(all > 0);
    // With none left, then with one more each time, until there are enough.
    while failed <= all {
        let open = proc::descriptors(id() as i32).len();
        match [start_with(|()| (), &()), template.start()] {
            [Ok(one), Ok(other)] => {
                one.output::<()>().unwrap();
                assert_eq!(other.output::<i32>().unwrap(), 1);
                break;
            }
            starts => {
                for start in starts {
                    match start {
                        Ok(child) => drop(child.wait().unwrap()),
                        // Before there was a child, or while it was waited for.
                        Err(
                            StartError::Os { source, .. } | StartError::Child(ChildError::Os { source, .. }),
                        ) => {
                            assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{source}");
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        }
        assert_eq!(proc::descriptors(id() as i32).len(), open, "a failed start leaves nothing");
        failed += 1;
        taken.pop();
    }
    assert!(failed > 1 && !taken.is_empty(), "{failed} starts failed of {all}");
    drop(taken);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_unharmed(before);
    Passed
}

fn fault_16_an_argument_that_cannot_be_serialised_is_an_error_of_the_start() -> Outcome {
    #[derive(Deserialize)]
    struct Unspeakable(bool);
    impl Serialize for Unspeakable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            assert!(!self.0, "in a panic");
            Err(serde::ser::Error::custom("not to be said"))
        }
    }
    start_with(|()| (), &()).unwrap().wait().unwrap();
    let before = zygote().id();
    for (panics, said) in [(false, "not to be said"), (true, "panicked")] {
        let error = start_with(|_: Unspeakable| (), &Unspeakable(panics)).unwrap_err();
        assert!(matches!(error, StartError::Encode(_)) && error.to_string().contains(said), "{error:?}");
        // Of what was serialised before the failure nothing has moved.
        let (here, there) = Connection::<u8, u8>::pair().unwrap();
        let run = |_: (Connection<u8, u8>, Unspeakable)| ();
        let both = (there, Unspeakable(panics));
        assert!(matches!(start_with(run, &both), Err(StartError::Encode(_))));
        both.0.send(&1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
    }
    assert_unharmed(before);
    Passed
}

fn fault_26_an_argument_that_cannot_be_read_is_an_error_of_the_start() -> Outcome {
    start_with(|()| (), &()).unwrap().wait().unwrap();
    let before = zygote().id();
    for how in [How::Errs, How::Panics] {
        let error = start_with(never, &Bad(how)).unwrap_err();
        let StartError::Argument { message } = &error else { panic!("{error:?}") };
        let said = if matches!(how, How::Errs) { "not today" } else { "panicked" };
        assert!(message.contains(said), "{message}");
        let error = Zygote::with_preload(never, &Bad(how)).unwrap_err();
        assert!(matches!(error, StartError::Argument { .. }), "{error:?}");
    }
    let error = start_with(never, &Bad(How::Exits)).unwrap_err();
    assert!(matches!(error, StartError::EndedEarly { status: ExitStatus::Exited(9) }), "{error:?}");
    let error = start_with(never, &Bad(How::Dies)).unwrap_err();
    let StartError::EndedEarly { status } = &error else { panic!("{error:?}") };
    assert_eq!(status.signal(), Some(Signal::KILL));
    assert_unharmed(before);
    Passed
}

fn fault_26_an_argument_that_takes_too_long_is_an_error_of_the_start() -> Outcome {
    start_with(|()| (), &()).unwrap().wait().unwrap();
    let before = zygote().id();
    let timeout = Duration::from_millis(200);
    let options = LaunchOptions::new().ready_timeout(timeout);
    let error = Launch::new(&options).start_in(&zygote(), never, &Bad(How::Hangs)).unwrap_err();
    assert!(matches!(error, StartError::NotReady { timeout: had } if had == timeout), "{error:?}");
    assert_unharmed(before);
    Passed
}

fn fault_52_a_program_with_a_limit_on_file_sizes_is_a_typed_error() -> Outcome {
    start_with(|()| (), &()).unwrap().wait().unwrap();
    let before = zygote().id();
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 1000, hard).unwrap();
    // What doesn't fit into a packet takes memory that counts as a file.
    let length = |bytes: Vec<u8>| bytes.len();
    let options = LaunchOptions::new();
    let error = Launch::new(&options).start_in(&zygote(), length, &vec![1; 100_000]).unwrap_err();
    let StartError::Os { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::EFBIG), "{error}");
    let small = Launch::new(&options).start_in(&zygote(), length, &vec![1; 100]).unwrap();
    assert_eq!(small.output::<usize>().unwrap(), 100);
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    assert_unharmed(before);
    Passed
}

fn a_function_that_the_zygote_lacks_is_an_error_of_the_start() -> Outcome {
    zygote();
    let error = start_with(raw::function_made_at_run_time(), &()).unwrap_err();
    assert!(matches!(error, StartError::UnknownFunction), "{error:?}");
    let Some(late) = raw::function_of_a_library_loaded_now() else {
        return Skipped("there is no library here that this program hasn't loaded");
    };
    let error = start_with(late, &()).unwrap_err();
    assert!(matches!(error, StartError::UnknownFunction), "{error:?}");
    let error = Zygote::with_preload(late, &()).unwrap_err();
    assert!(matches!(error, StartError::UnknownFunction), "{error:?}");
    assert_unharmed(None);
    Passed
}

fn a_program_without_init_is_told() -> Outcome {
    for _ in 0..2 {
        let error = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| (), &()).unwrap_err();
        assert!(matches!(error, StartError::NotInitialised), "{error:?}");
        assert!(error.to_string().contains("init()"), "{error}");
    }
    let error = Zygote::with_preload(|()| (), &()).unwrap_err();
    assert!(matches!(error, StartError::NotInitialised), "{error:?}");
    // A zygote that was named before is as good as any.
    let named = Zygote::global();
    process::init().unwrap();
    let child = Launch::new(&LaunchOptions::new()).start_in(&named, |()| 1, &()).unwrap();
    assert_eq!(child.output::<i32>().unwrap(), 1);
    Passed
}

fn ends_that_the_options_give_are_not_for_zygotes() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let error = Launch::new(&options).start_in(&zygote(), |()| (), &()).unwrap_err();
    assert!(matches!(error, StartError::GivenToZygote), "{error:?}");
    there.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    assert_unharmed(None);
    Passed
}

fn init_beside_threads_is_too_late() -> Outcome {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let error = process::init().unwrap_err();
    assert!(matches!(error, StartError::InitTooLate { threads: 1 }), "{error:?}");
    // Not even if forks are allowed: the keeper would have the other thread's locks for good.
    raw::allow_forks();
    assert!(matches!(process::init(), Err(StartError::InitTooLate { threads: 1 })));
    drop(go);
    thread.join().unwrap().unwrap_err();
    process::init().unwrap();
    // It takes its name in its own time.
    let mut keeper = None;
    assert!(proc::eventually(|| {
        keeper = crate::servers::server("mp-keeper");
        keeper.is_some()
    }));
    std::thread::scope(|scope| {
        // Where there is a keeper it is no matter how late, or how often.
        for _ in 0..4 {
            scope.spawn(|| process::init().unwrap());
        }
    });
    assert_eq!(crate::servers::server("mp-keeper"), keeper);
    assert_unharmed(None);
    Passed
}

/// As on a machine that has more to do than it can.
fn a_keeper_that_comes_late_is_asked_again() -> Outcome {
    process::init().unwrap();
    assert!(proc::eventually(|| server("mp-keeper").is_some()));
    let keeper = server("mp-keeper").unwrap();
    kill(keeper, NixSignal::SIGSTOP);
    std::thread::scope(|scope| {
        let launch =
            || Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |number: u64| number * 2, &4);
        let starting = scope.spawn(launch);
        std::thread::sleep(Duration::from_millis(1300));
        assert!(!starting.is_finished());
        kill(keeper, NixSignal::SIGCONT);
        assert_eq!(starting.join().unwrap().unwrap().output::<u64>().unwrap(), 8);
    });
    Passed
}
