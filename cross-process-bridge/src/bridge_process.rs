//! A bridge's process: how it is started, whether it is there, how it is ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{Child, LaunchOptions, Stopped, Zygote};

use crate::error::BridgeError;
use crate::life::{Life, STOP_GRACE, Way};

/// The process of a bridge: what `process()` of each bridge gives. Clones, and clones of the bridge, share it.
///
/// How the process is started holds from the next start on:
///
/// ```
/// use cross_process_bridge::{BridgeError, LaunchOptions, bridge};
///
/// struct Place;
///
/// #[bridge]
/// impl Place {
///     fn new() -> Place {
///         Place
///     }
///     fn now(&self) -> std::path::PathBuf {
///         std::env::current_dir().unwrap_or_default()
///     }
/// }
///
/// let place = PlaceBridge::new();
/// place.process().launch_with(LaunchOptions::new().name("elsewhere").cwd("/proc"));
/// place.start()?;
/// assert_eq!(place.now()?, std::path::Path::new("/proc"));
/// assert_ne!(place.process().pid(), Some(std::process::id()));
/// let first = place.process().pid();
/// place.process().restart()?; // the same handle, a new process, a new object
/// assert_ne!(place.process().pid(), first);
/// # Ok::<(), BridgeError>(())
/// ```
#[derive(Clone)]
pub struct BridgeProcess {
    life: Arc<Life>,
}

impl BridgeProcess {
    pub(crate) fn new(life: Arc<Life>) -> BridgeProcess {
        BridgeProcess { life }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Has the process started with these options: working directory, user, limits, name and so on. How long `start`
    /// waits for the constructor is its [`ready_timeout`](LaunchOptions::ready_timeout), 60 s unless set.
    pub fn launch_with(&self, options: LaunchOptions) -> &BridgeProcess {
        if self.life.check().is_ok() {
            self.life.manner().options = options;
        }
        self
    }

    /// Has the process started from a zygote, which can be done beside any threads, and costs the same however large
    /// the program is. The process has none of the program's memory; all that it needs is in the constructor's arguments.
    pub fn launch_in(&self, zygote: &Zygote) -> &BridgeProcess {
        if self.life.check().is_ok() {
            self.life.manner().way = Way::Zygote(zygote.clone());
        }
        self
    }

    /// Makes a template now, with the options that were set before, from which the process is started every time: also
    /// beside threads, with the memory that the program has now.
    ///
    /// ```
    /// use cross_process_bridge::{BridgeError, bridge};
    ///
    /// struct Pid;
    ///
    /// #[bridge]
    /// impl Pid {
    ///     fn new() -> Pid {
    ///         Pid
    ///     }
    ///     fn get(&self) -> u32 {
    ///         std::process::id()
    ///     }
    /// }
    ///
    /// let pid = PidBridge::new();
    /// pid.process().launch_from_template()?;
    /// std::thread::spawn(move || {
    ///     pid.start()?;
    ///     let first = pid.get()?;
    ///     pid.process().restart()?;
    ///     assert_ne!(pid.get()?, first);
    ///     Ok::<(), BridgeError>(())
    /// })
    /// .join()
    /// .unwrap()?;
    /// # Ok::<(), BridgeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BridgeError::Start`], beside other threads for example.
    pub fn launch_from_template(&self) -> Result<&BridgeProcess, BridgeError> {
        self.life.make_template()?;
        Ok(self)
    }

    /// How many bytes the encoded arguments, or the result, of one call may have; 64 MiB unless set, and at most 4 GiB.
    pub fn max_message(&self, bytes: usize) -> &BridgeProcess {
        if self.life.check().is_ok() {
            self.life.manner().max_message = bytes;
        }
        self
    }

    /// Its process id; `None` when it doesn't run, and in another process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let child = self.life.child()?;
        child.is_alive().unwrap_or(false).then(|| child.id())
    }

    /// Whether it runs at this moment.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid().is_some()
    }

    /// The handle of the process itself, to wait for it, signal it, or be told of its end; `None` before `start` and after
    /// `stop`. One that has ended by itself is there until then, with its status.
    #[must_use]
    pub fn child(&self) -> Option<Child> {
        self.life.child()
    }

    /// How often it was started.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.life.generation()
    }

    /// Ends the process: calls that came before are carried out, the object is dropped; a `stop` of the class's own isn't
    /// called. If that takes longer than
    /// `grace`, SIGTERM, and half a second later SIGKILL. Returns what it took, and how the process ended, which may have
    /// been earlier.
    ///
    /// # Errors
    ///
    /// [`BridgeError::NotStarted`] if there is none; [`BridgeError::Child`] if it runs as another user whom this process may not signal.
    pub fn stop_timeout(&self, grace: Duration) -> Result<Stopped, BridgeError> {
        self.life.stop(grace)
    }

    /// Kills the process, by SIGKILL, and returns when it is dead. Calls that wait for it end with
    /// [`BridgeError::PeerDied`]; `start` starts a new one. If there is none, that is no error. (In a task of a runtime:
    /// it takes moments, but isn't `async`; [`restart`](BridgeProcess::restart) and
    /// [`stop_timeout`](BridgeProcess::stop_timeout) may block for long.)
    ///
    /// # Errors
    ///
    /// [`BridgeError::Child`] if it runs as another user whom this process may not signal.
    pub fn kill(&self) -> Result<(), BridgeError> {
        self.life.kill()
    }

    /// Stops the process, if it runs, and starts a new one, with a new object made by the same constructor of the same
    /// arguments. A `start` and a `stop` of the class's own aren't called: `stop()` and `start()` of the bridge do that.
    ///
    /// # Errors
    ///
    /// As for `start`.
    pub fn restart(&self) -> Result<(), BridgeError> {
        self.life.restart(STOP_GRACE)
    }

    /// As [`restart`](BridgeProcess::restart), with another grace than 5 s for the old process: see
    /// [`stop_timeout`](BridgeProcess::stop_timeout).
    ///
    /// # Errors
    ///
    /// As for `start`.
    pub fn restart_timeout(&self, grace: Duration) -> Result<(), BridgeError> {
        self.life.restart(grace)
    }
}

impl fmt::Debug for BridgeProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeProcess")
            .field("object", &self.life.object)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
