//! What pkit's processes make of names and calls that nobody in his senses would come up with.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::time::Duration;

use common_ipc::process::Stdio;
use integration_tests::{raw, stress_factor};
use pkit::{
    ChildError, ExitStatus, JoinError, LaunchOptions, Process, ProcessBuilder, ProcessOpen, RestartPolicy,
    Signal, StartError, current,
};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, dressed};
use crate::processes::children::sleep_for_long;
use crate::servers::zygote;

scenarios!(
    a_process_whose_name_holds_a_nul_is_an_error,
    fault_58_a_process_can_have_any_other_name,
    a_process_in_a_process_has_its_own_name,
    fault_07_a_process_is_its_creators,
    fault_07_a_copy_of_a_process_in_use_hangs_nobody,
    the_longest_of_times_is_no_trouble,
);

const LONG: Duration = Duration::from_secs(60);

fn a_process_whose_name_holds_a_nul_is_an_error() -> Outcome {
    let zygote = zygote();
    for name in ["\0", "in the\0midst", "at the end\0"] {
        let forked = Process::builder().name(name).build(|| ());
        let asked = Process::builder().name(name).build_function_in(&zygote, |()| (), ());
        for process in [forked, asked] {
            for error in [process.start().unwrap_err(), process.start_wait().unwrap_err()] {
                assert!(matches!(error, StartError::Option(_)), "{error:?}");
            }
            assert_eq!((process.name(), process.generation()), (name.as_ref(), 0));
        }
        let copied = Process::builder().name(name).build_template(|| ());
        assert!(matches!(copied, Err(StartError::Option(_))), "{copied:?}");
    }
    Passed
}

fn fault_58_a_process_can_have_any_other_name() -> Outcome {
    let names = [
        OsString::new(),
        OsString::from("fifteen bytes.."),
        OsString::from_vec(b"\xff\xfe)\n(".to_vec()),
        // The cut for the kernel is within a character.
        OsString::from("fourteen byte \u{20ac}"),
        OsString::from_vec((0..10_240u32).map(|byte| (byte % 255 + 1) as u8).collect()),
    ];
    for name in names {
        let named = |builder: ProcessBuilder<Option<OsString>>, options| builder.options(options).name(&name);
        for process in dressed(|()| current().name, named) {
            assert_eq!(process.name(), name);
            process.start().unwrap();
            assert_eq!(process.join().unwrap().as_ref(), Some(&name));
            assert_eq!(process.open().unwrap().name(), name);
        }
    }
    Passed
}

fn a_process_in_a_process_has_its_own_name() -> Outcome {
    // For the kernel they are all called the same.
    let names = ["fifteen bytes..", "fifteen bytes.. and more", "fifteen bytes.. and other ones", "fifteen"];
    for outer in names {
        let outside = |builder: ProcessBuilder<Vec<(OsString, OsString)>>, options| {
            builder.options(options).name(outer)
        };
        let body = |()| {
            let names =
                ["fifteen bytes..", "fifteen bytes.. and more", "fifteen bytes.. and other ones", "fifteen"];
            let mut told = Vec::new();
            for inner in names {
                for process in
                    dressed(|()| current().name, |builder, options| builder.options(options).name(inner))
                {
                    process.start().unwrap();
                    told.push((OsString::from(inner), process.join().unwrap().unwrap()));
                }
            }
            told.push((current().name.unwrap(), OsString::new()));
            told
        };
        for process in dressed(body, outside) {
            process.start().unwrap();
            let mut told = process.join().unwrap();
            assert_eq!(told.pop().unwrap().0, outer);
            for (named, called) in told {
                assert_eq!(named, called, "in {outer}");
            }
        }
    }
    Passed
}

static PROCESS: OnceLock<Process<u32>> = OnceLock::new();
static RUN: OnceLock<ProcessOpen<u32>> = OnceLock::new();

/// In another process than the one that made it.
fn try_everything() {
    fn wrong<T>(result: Result<T, ChildError>) -> bool {
        matches!(result, Err(ChildError::WrongProcess(_)))
    }
    fn wrong_start(result: Result<u32, StartError>) -> bool {
        matches!(result, Err(StartError::WrongProcess(_)))
    }
    fn wrong_join<T>(result: Result<T, JoinError>) -> bool {
        matches!(result, Err(JoinError::Wait(ChildError::WrongProcess(_))))
    }
    let process = PROCESS.get().unwrap();
    assert!(wrong_start(process.start()) && wrong_start(process.start_wait()));
    assert!(wrong_start(process.start_wait_timeout(Duration::ZERO)));
    assert!(wrong_start(process.restart(RestartPolicy::Join)));
    assert!(wrong_start(process.restart(RestartPolicy::Terminate)));
    assert!(wrong_join(process.join()) && wrong_join(process.try_join()));
    assert!(wrong_join(process.join_timeout(LONG)));
    assert!(wrong(process.terminate()) && wrong(process.kill()) && wrong(process.terminate_wait()));
    assert!(wrong(process.stop(LONG)) && wrong(process.is_alive()) && wrong(process.exit_status()));
    assert!(wrong(process.wait_until(|_| panic!("it isn't asked"), LONG)));
    assert!(process.open().is_none() && process.pid().is_none());
    assert_eq!(process.generation(), 0);
    process.on_exit(|_| panic!("nobody calls it"));
    assert_eq!(process.name(), "the creator's");
    assert!(format!("{process:?}").contains("the creator's"));
    drop(process.clone());
    if let Some(run) = RUN.get() {
        assert!(wrong(run.poll()) && wrong(run.is_alive()) && wrong(run.wait()));
        assert!(wrong(run.wait_timeout(LONG)) && wrong(run.terminate()) && wrong(run.kill()));
        assert!(wrong(run.stop(LONG)) && wrong(run.is_ready()) && wrong(run.wait_ready(LONG)));
        assert!(wrong_join(run.output()) && wrong_join(run.try_output()));
        assert!(wrong_join(run.output_timeout(LONG)));
        assert!(format!("{run:?}").contains("the creator's"));
    }
}

fn fault_07_a_process_is_its_creators() -> Outcome {
    let way = |way| {
        let named = |builder: ProcessBuilder<u32>, options: LaunchOptions| {
            builder.options(options.stderr(Stdio::Inherit)).name("the creator's")
        };
        let builder = named(Process::builder(), LaunchOptions::new());
        if way == 0 {
            return builder.build(|| {
                try_everything();
                sleep_for_long();
                0
            });
        }
        builder
            .build_template(|| {
                sleep_for_long();
                0
            })
            .unwrap()
    };
    // In the runs of the very process, which is being started when the fork comes; in a run of another one; in one
    // that nobody knows of. What a zygote or a template made has no copy of it.
    for kind in [0, 1] {
        let child = raw::fork(|| {
            let process = PROCESS.get_or_init(|| way(kind));
            process.start().unwrap();
            assert_eq!(process.join_timeout(Duration::from_millis(100)).unwrap(), None);
            RUN.get_or_init(|| process.open().unwrap());
            let other = Process::new(try_everything);
            other.start().unwrap();
            other.join().unwrap();
            let other = Process::builder().build_template(try_everything).unwrap();
            other.start().unwrap();
            other.join().unwrap();
            let stranger = raw::fork(|| {
                try_everything();
                0
            });
            let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stranger), None).unwrap();
            assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
            // Nobody has done it any harm.
            assert_eq!(process.try_join().unwrap(), None);
            process.terminate_wait().unwrap();
            0
        });
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None).unwrap();
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    }
    Passed
}

fn fault_07_a_copy_of_a_process_in_use_hangs_nobody() -> Outcome {
    // By way of a process that leaves by _exit, with all that its statics hold.
    let child = raw::fork(|| {
        let make = || Process::builder().name("the creator's").build_template(|| 5).unwrap();
        let process = PROCESS.get_or_init(make);
        process.start().unwrap();
        process.join().unwrap();
        RUN.get_or_init(|| process.open().unwrap());
        raw::allow_forks();
        // At the time of a fork the process is locked as often as not.
        for _ in 0..2 {
            std::thread::spawn(|| {
                loop {
                    assert!(process.open().is_some() && process.generation() == 1);
                    assert!(matches!(process.try_join(), Ok(Some(5))));
                }
            });
        }
        for _ in 0..300 * stress_factor() {
            let other = ProcessOpen::start(LaunchOptions::new(), try_everything).unwrap();
            let tried = other.output_timeout(Duration::from_secs(20)).unwrap();
            assert!(tried.is_some(), "it hangs");
        }
        0
    });
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None).unwrap();
    assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    Passed
}

fn the_longest_of_times_is_no_trouble() -> Outcome {
    for process in all_ways(|()| 7) {
        process.start_wait_timeout(Duration::MAX).unwrap();
        let run = process.open().unwrap();
        assert!(run.wait_ready(Duration::MAX).unwrap());
        assert_eq!(process.join_timeout(Duration::MAX).unwrap(), Some(7));
        assert_eq!(run.wait_timeout(Duration::MAX).unwrap(), Some(ExitStatus::Exited(0)));
        assert!(process.wait_until(|it| it.pid().is_none(), Duration::MAX).unwrap());
    }
    for process in all_ways(|()| sleep_for_long()) {
        process.start().unwrap();
        assert_eq!(process.stop(Duration::MAX).unwrap().status.signal(), Some(Signal::TERM));
    }
    Passed
}
