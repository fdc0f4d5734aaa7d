//! Every system call of an operation fails, one after another.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use crate::testing::SystemCall;
use crate::testing::injector::{Action, Fault, FaultInjector, Scope};

/// How many faults there were, by their calls.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    by_call: BTreeMap<&'static str, u32>,
}

impl Swept {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.by_call.values().sum()
    }

    /// Those of one call.
    #[must_use]
    pub fn of(&self, call: SystemCall) -> u32 {
        self.by_call.get(call.name()).copied().unwrap_or_default()
    }
}

/// As `12 faults: clone 2, mmap 10`.
impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults", self.total())?;
        for (number, (call, count)) in self.by_call.iter().enumerate() {
            write!(f, "{} {call} {count}", if number == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// An operation that makes more calls of one kind than this is taken to go on for ever.
const MOST: u32 = 10_000;

/// The faults of a sweep, one after another: made by [`FaultInjector::sweep`].
#[derive(Debug)]
pub struct Sweep {
    injector: FaultInjector,
    scope: Scope,
    /// The last one is the next one.
    left: Vec<(SystemCall, Action)>,
    /// Of the last fault that was handed out. 0: none was.
    nth: u32,
    swept: Swept,
}

/// One fault of a sweep: an operation has it between [`arm`](Probe::arm) and [`disarm`](Probe::disarm).
///
/// If it is dropped by a panic, it writes to standard error what it was.
#[derive(Debug)]
pub struct Probe {
    fault: Fault,
    injector: FaultInjector,
}

impl FaultInjector {
    /// For an operation that is done again and again, while the first call of a kind fails, then the second one, and so
    /// on until it makes no more of them; for each of these calls, and each of the [actions](Action) for it.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions};
    /// use common_ipc::testing::{Action, FaultInjector, Scope, SystemCall};
    ///
    /// let injector = FaultInjector::install(SystemCall::ALL)?;
    /// let calls = [SystemCall::Clone, SystemCall::Socketpair, SystemCall::PidfdOpen];
    /// let mut sweep = injector.sweep(&calls, Scope::Here, Action::plausible);
    /// for probe in sweep.by_ref() {
    ///     probe.arm();
    ///     let child = Launch::new(&LaunchOptions::new()).start(|| 7);
    ///     let provoked = probe.disarm();
    ///     match child {
    ///         Ok(child) => assert_eq!(child.output::<i32>()?, 7),
    ///         Err(error) => assert!(provoked, "{error}"),
    ///     }
    /// }
    /// // In this way one knows that it did anything.
    /// assert!(sweep.swept().of(SystemCall::Clone) > 0, "{}", sweep.swept());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sweep(
        &self,
        calls: &[SystemCall],
        scope: Scope,
        actions: impl Fn(SystemCall) -> Vec<Action>,
    ) -> Sweep {
        let each =
            |call: &SystemCall| actions(*call).into_iter().map(|action| (*call, action)).collect::<Vec<_>>();
        let mut left: Vec<_> = calls.iter().flat_map(each).collect();
        left.reverse();
        Sweep { injector: self.clone(), scope, left, nth: 0, swept: Swept::default() }
    }
}

impl Sweep {
    /// What has happened until now.
    #[must_use]
    pub fn swept(&self) -> &Swept {
        &self.swept
    }
}

impl Iterator for Sweep {
    type Item = Probe;

    /// # Panics
    ///
    /// For an operation that makes more than ten thousand calls of one kind.
    fn next(&mut self) -> Option<Probe> {
        let &(last, _) = self.left.last()?;
        if self.nth > 0 && self.injector.disarm() {
            *self.swept.by_call.entry(last.name()).or_default() += 1;
        } else if self.nth > 0 {
            // It made fewer of them than that: the next kind.
            self.left.pop();
            self.nth = 0;
        }
        let &(call, action) = self.left.last()?;
        self.nth += 1;
        assert!(self.nth < MOST, "more than {MOST} times {call}");
        let fault = Fault { call, nth: self.nth, scope: self.scope, action };
        Some(Probe { fault, injector: self.injector.clone() })
    }
}

impl Probe {
    /// From now on its calls are counted.
    pub fn arm(&self) {
        self.injector.arm(self.fault);
    }

    /// Nothing fails any more. Says whether it has happened. The last one of each kind in a sweep doesn't.
    #[must_use = "what nothing happened to isn't what was to be tested"]
    pub fn disarm(&self) -> bool {
        self.injector.disarm()
    }
}

impl Deref for Probe {
    type Target = Fault;

    fn deref(&self) -> &Fault {
        &self.fault
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while {}", self.fault);
        }
    }
}
