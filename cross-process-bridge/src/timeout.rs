//! How long a call may take.

use std::time::Duration;

/// How long a call may take, and what becomes of a process that takes longer. A `Duration` converts into one.
///
/// It holds for methods, from when their arguments were encoded. Of a method that is lent a closure it is the time for the whole
/// call, with all that the closure takes (which isn't interrupted: the time is looked at when it returns). Of a stream each
/// wait for an item has it, and the call that opens it. For `start`, and with it the constructor, there is
/// [`ready_timeout`](crate::LaunchOptions::ready_timeout) of the options, and `stop` has a time of its own.
///
/// ```
/// use std::time::Duration;
/// use cross_process_bridge::{BridgeError, Timeout, bridge};
///
/// struct Sleeper;
///
/// #[bridge]
/// impl Sleeper {
///     fn new() -> Sleeper {
///         Sleeper
///     }
///     fn sleep(&self, milliseconds: u64) {
///         std::thread::sleep(Duration::from_millis(milliseconds));
///     }
/// }
///
/// let sleeper = SleeperBridge::new();
/// sleeper.start()?;
/// let hasty = sleeper.with_timeout(Duration::from_millis(20));
/// assert!(matches!(hasty.sleep(100), Err(BridgeError::Timeout { killed: false, .. })));
/// sleeper.sleep(0)?; // waits for the one before, and is answered
///
/// let ruthless = sleeper.with_timeout(Timeout::after(Duration::from_millis(20)).and_kill());
/// assert!(matches!(ruthless.sleep(60_000), Err(BridgeError::Timeout { killed: true, .. })));
/// sleeper.start()?; // a new process, a new object
/// # Ok::<(), BridgeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    pub(crate) after: Duration,
    pub(crate) kills: bool,
}

impl Timeout {
    /// A call that has no reply after this time is given up. The method goes on; its late reply is dropped by the next
    /// call that waits for one (a task's runtime does that at once). Until then late replies of more than 256 KiB in all
    /// have the process wait: `one_way` calls alone aren't begun meanwhile.
    #[must_use]
    pub const fn after(time: Duration) -> Timeout {
        Timeout { after: time, kills: false }
    }

    /// Has the process killed as well, by SIGKILL: for methods that may never return. All other calls that wait for it
    /// end with [`BridgeError::PeerDied`](crate::BridgeError::PeerDied).
    ///
    /// With `RUST_BACKTRACE` the first panic of the process reads the program's symbols for its report, 0.1 to 0.3 s in a
    /// debug build: with a time below that it is a [`BridgeError::Timeout`](crate::BridgeError::Timeout).
    #[must_use]
    pub const fn and_kill(self) -> Timeout {
        Timeout { kills: true, ..self }
    }
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Timeout {
        Timeout::after(time)
    }
}
