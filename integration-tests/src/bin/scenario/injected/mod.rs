//! What the scenarios about failing system calls share: each fault ends an operation in an error of its type or not at
//! all, and leaves nothing.

mod children;
mod first_starts;
mod links;
mod siblings;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common_ipc::process::Signal;
use common_ipc::testing::{Action, FaultInjector, InjectorError, Probe, Scope, SystemCall};
use integration_tests::proc;

use crate::Outcome;
use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[children::ALL, first_starts::ALL, links::ALL, siblings::ALL];

/// Has all system calls asked about; or why that can't be here.
pub(crate) fn injector() -> Result<FaultInjector, Outcome> {
    match FaultInjector::install(SystemCall::ALL) {
        Ok(injector) => Ok(injector),
        Err(InjectorError::Unavailable(_)) => Err(Outcome::Skipped("system calls can't be answered here")),
        Err(error) => panic!("{error}"),
    }
}

/// The injector, or the end of the scenario.
macro_rules! injected {
    () => {
        match $crate::injected::injector() {
            Ok(injector) => injector,
            Err(skipped) => return skipped,
        }
    };
}

pub(crate) use injected;

/// What an operation could leave: descriptors, children, mappings.
#[derive(Debug)]
struct Left {
    descriptors: Vec<(i32, PathBuf)>,
    children: Vec<(String, char)>,
    mappings: usize,
}

impl Left {
    fn look() -> Left {
        let me = std::process::id() as i32;
        // The reaper's epoll comes when the first child has to be waited for in the background.
        let is_counted = |(_, what): &(i32, PathBuf)| *what != Path::new("anon_inode:[eventpoll]");
        Left {
            descriptors: proc::descriptors(me).into_iter().filter(is_counted).collect(),
            children: proc::children(me).iter().map(|child| (proc::name(child.pid), child.state)).collect(),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        }
    }

    fn is_no_more_than(&self, other: &Left) -> bool {
        // Of mappings the allocator may have some more, for each thread of the library.
        self.descriptors.len() <= other.descriptors.len()
            && self.children.len() <= other.children.len()
            && self.mappings <= other.mappings + 40
    }
}

/// Whether something was done to the last run.
pub(crate) static PROVOKED: AtomicBool = AtomicBool::new(false);

/// What is done to an operation again and again.
pub(crate) struct Operation<'a, P, R, E> {
    /// What there has to be, without a fault.
    pub(crate) prepare: &'a mut dyn FnMut() -> P,
    /// With one.
    pub(crate) run: &'a mut dyn FnMut(&P) -> Result<R, E>,
    /// Without one again: what must be so, whatever has happened.
    pub(crate) finish: &'a mut dyn FnMut(P, Result<R, E>),
}

/// One for which nothing has to be there before.
pub(crate) type Life<'a, R, E> = Operation<'a, (), R, E>;

impl<P, R, E: Error> Operation<'_, P, R, E> {
    /// Every call of it fails once with each plausible error.
    pub(crate) fn fails_well(&mut self, injector: &FaultInjector, scope: Scope) {
        self.sweep(injector, scope, SystemCall::ALL, Action::plausible);
    }

    /// The same without those with which the standard library's threads begin: it aborts the program where these fail.
    pub(crate) fn fails_well_but_for_threads(&mut self, injector: &FaultInjector) {
        self.sweep(injector, Scope::Here, &not_of_threads(), Action::plausible);
    }

    /// As before, and each call with one error alone: for what starts whole programs.
    pub(crate) fn fails_well_as_program(&mut self, injector: &FaultInjector) {
        let one = |call| Action::plausible(call).pop().into_iter().collect();
        self.sweep(injector, Scope::Children, &not_of_threads(), one);
    }

    /// The processes that it starts are killed at each of their calls.
    pub(crate) fn is_killed_well(&mut self, injector: &FaultInjector, signals: &[Signal]) {
        let kill = |_| signals.iter().map(|signal| Action::Signal(*signal)).collect();
        self.sweep(injector, Scope::Children, SystemCall::ALL, kill);
    }

    fn sweep(
        &mut self,
        injector: &FaultInjector,
        scope: Scope,
        calls: &[SystemCall],
        actions: impl Fn(SystemCall) -> Vec<Action>,
    ) {
        // What is made once in a process is there afterwards.
        for _ in 0..2 {
            let prepared = (self.prepare)();
            let outcome = (self.run)(&prepared);
            assert!(outcome.is_ok(), "without a fault: {}", outcome.err().unwrap());
            (self.finish)(prepared, outcome);
        }
        let before = Left::look();
        let mut sweep = injector.sweep(calls, scope, actions);
        let mut failed = 0;
        for probe in sweep.by_ref() {
            failed += u32::from(self.once(&probe));
            let mut left = Left::look();
            let is_clean = proc::eventually(|| {
                left = Left::look();
                left.is_no_more_than(&before)
            });
            assert!(is_clean, "{}: {left:?}, and before {before:?}", *probe);
        }
        let swept = sweep.swept();
        eprintln!("{swept}; {failed} of them told");
        assert!(swept.total() >= 10, "hardly anything was provoked: {swept}");
    }

    /// Whether it failed.
    fn once(&mut self, probe: &Probe) -> bool {
        if std::env::var_os("INJECTED_TRACE").is_some() {
            eprintln!("{}", **probe);
        }
        let prepared = (self.prepare)();
        probe.arm();
        let outcome = (self.run)(&prepared);
        let provoked = probe.disarm();
        PROVOKED.store(provoked, Ordering::Relaxed);
        if let Err(error) = &outcome {
            assert!(provoked, "{}: {error}", **probe);
            assert!(!error.to_string().is_empty());
        }
        let failed = outcome.is_err();
        (self.finish)(prepared, outcome);
        failed
    }
}

fn not_of_threads() -> Vec<SystemCall> {
    // An interrupted futex is looked at again by whoever waits for it, and there are very many.
    use SystemCall::{Futex, Madvise, Mmap};
    let is_swept = |call: &SystemCall| !matches!(call, Futex | Madvise | Mmap);
    SystemCall::ALL.iter().copied().filter(is_swept).collect()
}

/// Any of several errors.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Any(Box<dyn Error>);

pub(crate) fn any<T>(result: Result<T, impl Error + 'static>) -> Result<T, Any> {
    result.map_err(|error| Any(Box::new(error)))
}
