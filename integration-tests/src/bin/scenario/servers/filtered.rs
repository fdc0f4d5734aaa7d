//! Programs that a filter forbids a system call: what the base's documentation says of each, line by line.

use std::path::PathBuf;
use std::time::Duration;

use common_ipc::memory::{MemoryError, SharedAtomics};
use common_ipc::process::{Child, JoinError, Launch, LaunchOptions, StartError, Zygote, init};
use common_ipc::sync::{Event, EventFd, Mutex};
use integration_tests::{proc, raw};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Outcome::{self, Passed};

scenarios!(
    without_close_range_everything_works,
    without_unshare_everything_works,
    without_clone3_there_are_no_fork_servers,
    with_statx_forbidden_there_are_no_fork_servers,
    without_pidfd_open_there_are_no_children,
    without_memfd_create_there_is_no_shared_memory,
    without_fallocate_there_is_no_shared_memory,
    without_eventfd_there_is_no_event_fd,
);

const PATIENCE: Duration = Duration::from_secs(60);

/// Plays it in a program of its own.
fn with_errno(call: libc::c_long, errno: i32, check: fn()) {
    let program = Pid::from_raw(raw::fork(|| {
        let played = std::panic::catch_unwind(|| {
            raw::filter::forbid(call, errno);
            check();
        });
        played.map_or(101, |()| 0)
    }));
    assert_eq!(waitpid(program, None).unwrap(), WaitStatus::Exited(program, 0), "errno {errno}");
}

/// The same for each of the errors that filters have.
fn without(call: libc::c_long, check: fn()) -> Outcome {
    with_errno(call, libc::EPERM, check);
    with_errno(call, libc::ENOSYS, check);
    Passed
}

fn launch() -> LaunchOptions {
    LaunchOptions::new().ready_timeout(PATIENCE)
}

fn by_fork<O: Serialize + DeserializeOwned>(body: fn() -> O) -> Result<Child, StartError> {
    Launch::new(&launch()).start(body)
}

fn by_zygote() -> Result<Child, StartError> {
    init()?;
    Launch::new(&launch()).start_in(&Zygote::global(), |number: u32| number + 1, &41)
}

fn by_template() -> Result<Child, StartError> {
    Launch::new(&launch()).template(|| 42u32)?.start()
}

fn answers(child: Result<Child, StartError>) {
    assert_eq!(child.unwrap().output_timeout::<u32>(PATIENCE).unwrap(), Some(42));
}

fn everything_works() {
    // A zygote's children have nothing of what the program has opened.
    let opened = std::fs::File::open("/proc/version").unwrap();
    // Also those behind all that the library has.
    let far = fcntl(&opened, FcntlArg::F_DUPFD_CLOEXEC(500)).unwrap();
    answers(by_zygote());
    answers(by_fork(|| 42u32));
    answers(by_template());
    let open = |()| {
        let open = proc::descriptors(std::process::id() as i32).into_iter();
        open.map(|(_, target)| target).collect::<Vec<PathBuf>>()
    };
    let open = Launch::new(&launch()).start_in(&Zygote::global(), open, &()).unwrap();
    let open = open.output::<Vec<PathBuf>>().unwrap();
    assert!(open.len() >= 4 && !open.iter().any(|path| path.ends_with("version")), "{open:?}");
    drop(opened);
    nix::unistd::close(far).unwrap();
}

fn without_close_range_everything_works() -> Outcome {
    without(libc::SYS_close_range, everything_works)
}

fn without_unshare_everything_works() -> Outcome {
    without(libc::SYS_unshare, everything_works)
}

fn no_fork_servers() {
    answers(by_fork(|| 42u32));
    for refused in [by_zygote(), by_template()] {
        assert!(matches!(refused, Err(StartError::Os { .. })), "{refused:?}");
    }
    // It goes on as it was.
    answers(by_fork(|| 42u32));
}

fn without_clone3_there_are_no_fork_servers() -> Outcome {
    without(libc::SYS_clone3, no_fork_servers)
}

fn with_statx_forbidden_there_are_no_fork_servers() -> Outcome {
    // Where it is unknown, libc stands in for it.
    with_errno(libc::SYS_statx, libc::ENOSYS, everything_works);
    with_errno(libc::SYS_statx, libc::EPERM, no_fork_servers);
    Passed
}

fn without_pidfd_open_there_are_no_children() -> Outcome {
    without(libc::SYS_pidfd_open, || {
        for refused in [by_fork(|| 42u32), by_zygote(), by_template()] {
            assert!(matches!(refused, Err(StartError::Os { .. })), "{refused:?}");
        }
        assert_eq!(proc::children(std::process::id() as i32).len(), 0);
    })
}

fn no_shared_memory() {
    answers(by_fork(|| 42u32));
    assert!(matches!(SharedAtomics::new(1), Err(MemoryError::Os { .. })));
    assert!(Event::new().is_err());
    assert!(Mutex::new(5).is_err());
}

fn without_memfd_create_there_is_no_shared_memory() -> Outcome {
    without(libc::SYS_memfd_create, || {
        no_shared_memory();
        let long = by_fork(|| vec![0u8; 5000]).unwrap().output::<Vec<u8>>();
        assert!(matches!(long, Err(JoinError::Undeliverable(_))), "{long:?}");
    })
}

fn without_fallocate_there_is_no_shared_memory() -> Outcome {
    without(libc::SYS_fallocate, no_shared_memory)
}

fn without_eventfd_there_is_no_event_fd() -> Outcome {
    without(libc::SYS_eventfd2, || {
        answers(by_fork(|| 42u32));
        answers(by_zygote());
        answers(by_template());
        assert!(EventFd::new().is_err());
    })
}
