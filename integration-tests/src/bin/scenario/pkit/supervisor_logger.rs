//! A supervisor beside loggers that call it, and panic.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use integration_tests::proc;
use nix::sys::signal::Signal::SIGKILL;
use nix::unistd::{Uid, setresuid};
use pkit::supervisor::{Ended, Supervisor, SupervisorError};

use crate::Outcome::{self, Passed, Skipped};
use crate::pkit::supervisor::{builder, child, hear, is_ready_again, kill, pid};
use crate::processes::children::sleep_for_long;
use crate::servers;

scenarios!(a_panic_of_the_logger_ends_no_supervisor, a_supervisor_is_not_waited_for_by_its_logger);

/// A logger with opinions, on the supervisor's thread: it counts its calls, and those after which all was as it should be.
struct Meddles {
    supervisor: OnceLock<Supervisor>,
    calls: AtomicUsize,
    good: AtomicUsize,
}

impl log::Log for Meddles {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let (Some(supervisor), "pkit") = (self.supervisor.get(), record.target()) else { return };
        self.calls.fetch_add(1, Relaxed);
        // What doesn't wait is as everywhere.
        assert_eq!(supervisor.children().unwrap().len(), 2);
        assert!(supervisor.try_wait().unwrap().is_none());
        let errors = [
            supervisor.start_child("a").err(),
            supervisor.stop_child("b").err(),
            supervisor.rolling_restart_all().err(),
            supervisor.wait_timeout(Duration::from_secs(600)).err(),
            supervisor.wait().err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, Some(SupervisorError::OnItsThread))), "{errors:?}");
        self.good.fetch_add(1, Relaxed);
        panic!("on purpose");
    }

    fn flush(&self) {}
}

fn a_supervisor_is_not_waited_for_by_its_logger() -> Outcome {
    static LOGGER: Meddles =
        Meddles { supervisor: OnceLock::new(), calls: AtomicUsize::new(0), good: AtomicUsize::new(0) };
    let supervisor =
        builder().child(child("a", sleep_for_long)).child(child("b", sleep_for_long)).start().unwrap();
    let events = supervisor.events().unwrap();
    LOGGER.supervisor.set(supervisor).unwrap();
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let supervisor = LOGGER.supervisor.get().unwrap();
    kill(supervisor, "a");
    hear(&events, |event| is_ready_again(event, "a"));
    supervisor.restart("b").unwrap();
    supervisor.stop().unwrap();
    let calls = LOGGER.calls.load(Relaxed);
    assert!(calls >= 7, "{calls}");
    assert_eq!(LOGGER.good.load(Relaxed), calls);
    Passed
}

/// Panics whatever it is told.
struct Panics;

impl log::Log for Panics {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        panic!("{}", record.args());
    }

    fn flush(&self) {}
}

fn a_panic_of_the_logger_ends_no_supervisor() -> Outcome {
    if !Uid::effective().is_root() {
        return Skipped("only root can start what it can't stop then");
    }
    let soon = Duration::from_millis(50);
    let spec = |name| child(name, sleep_for_long).grace(soon);
    let supervisor = builder().child(spec("a")).child(spec("b")).start().unwrap();
    let (a, b) = (pid(&supervisor, "a"), pid(&supervisor, "b"));
    log::set_logger(&Panics).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let (root, nobody) = (Uid::from_raw(0), Uid::from_raw(65534));
    setresuid(nobody, nobody, root).unwrap();
    // It can't be signalled, which is said; it is given up in the end.
    supervisor.stop_child("a").unwrap();
    setresuid(root, root, root).unwrap();
    assert_eq!((pid(&supervisor, "b"), supervisor.try_wait().unwrap().is_none()), (b, true));
    servers::kill(a, SIGKILL);
    assert!(proc::eventually(|| !proc::runs(a)));
    let Ended::Stopped { children } = supervisor.stop().unwrap() else { panic!() };
    assert_eq!(children.len(), 1, "{children:?}");
    Passed
}
