//! The handle of a supervisor.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::builder::SupervisorBuilder;
use super::core::{Child, Command, Status, Token};
use super::errors::SupervisorError;
use super::event::{Ended, Failure};
use super::shared::{Message, Shared};
use super::subscribers::Events;

/// How a child of a supervisor is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildState {
    /// Its name.
    pub name: Arc<str>,
    /// What it is about.
    pub status: Status,
    /// Since when.
    pub since: Instant,
    /// The process that serves or is about to; in a rolling restart the old one, until the new one is ready.
    pub pid: Option<u32>,
    /// Which of its processes that is, or was: 1 for the first. A start that fails uses up a number.
    pub generation: u64,
    /// How often it was started again, for whatever reason.
    pub restarts: u64,
    /// How it failed last, if it has.
    pub last_failure: Option<Failure>,
}

/// A supervisor: it keeps children running.
///
/// It lives on a thread of the library's, beside which the program may go on to fork. All methods may be called from
/// several threads at once; to share it, put it into an `Arc`. In a forked copy of the process each is
/// [`SupervisorError::WrongProcess`].
///
/// ```
/// use pkit::supervisor::{Backoff, ChildSpec, Ended, Supervisor};
/// use std::time::Duration;
///
/// let fails = || std::process::exit(3);
/// let at_once = Backoff::new(Duration::ZERO, Duration::ZERO);
/// let supervisor = Supervisor::builder()
///     .intensity(2, Duration::from_secs(60))
///     .child(ChildSpec::new("fails", move || -> () { fails() }).backoff(at_once))
///     .start()?;
/// // Two restarts haven't helped.
/// let ended = supervisor.wait()?;
/// assert!(matches!(&ended, Ended::Failed { history, .. } if history.len() == 3));
/// println!("{}", ended.into_result().unwrap_err());
/// # Ok::<(), pkit::supervisor::SupervisorError>(())
/// ```
///
/// The methods that do something with a child wait until it is done. How long that takes at the most follows from the
/// child's spec: its grace, its time to be ready. A template or zygote that doesn't answer is waited for as well, for up
/// to [`LaunchOptions::ready_timeout`](common_ipc::process::LaunchOptions::ready_timeout).
///
/// The supervisor's thread calls the program's logger. A logger that blocks keeps it from its work, and the program from
/// forks; one that calls methods that wait for the supervisor gets [`SupervisorError::OnItsThread`].
///
/// **Dropping** it asks the supervisor to stop all children, in order, and doesn't wait for that. Call
/// [`stop`](Supervisor::stop) to wait. The program's exit stops children that still run in any case, all at once.
pub struct Supervisor {
    pub(super) shared: Arc<Shared>,
}

impl Supervisor {
    /// A supervisor without children yet.
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Supervisor {
        Supervisor { shared }
    }

    /// How all children are, in the order of their declaration.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`].
    pub fn children(&self) -> Result<Vec<ChildState>, SupervisorError> {
        self.shared.home.check()?;
        Ok(self.shared.core.lock().children().iter().map(|child| self.state(child)).collect())
    }

    /// How one child is.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::UnknownChild`], [`SupervisorError::WrongProcess`].
    pub fn child(&self, name: &str) -> Result<ChildState, SupervisorError> {
        let index = self.find(name)?;
        Ok(self.state(&self.shared.core.lock().children()[index]))
    }

    fn state(&self, child: &Child) -> ChildState {
        let main = child.main_process();
        ChildState {
            name: Arc::clone(child.name()),
            status: child.status(),
            since: self.shared.begin + child.since(),
            pid: main.map(|(pid, _)| pid),
            generation: main.map_or(child.generation(), |(_, generation)| generation),
            restarts: child.restarts(),
            last_failure: child.last_failure().cloned(),
        }
    }

    /// Starts a child that doesn't run, and waits until it is ready. One that waits for its restart is started now;
    /// nothing happens to one that is ready.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Child`] if it fails before it is ready; it is then restarted as after any failure.
    /// [`SupervisorError::Interrupted`] if somebody stops it; [`SupervisorError::Ended`],
    /// [`SupervisorError::UnknownChild`], [`SupervisorError::WrongProcess`].
    pub fn start_child(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(name, Command::Start)
    }

    /// Stops a child, and waits for its end: SIGTERM, its grace, SIGKILL. It isn't started again but by
    /// [`start_child`](Supervisor::start_child), [`restart`](Supervisor::restart) or
    /// [`rolling_restart`](Supervisor::rolling_restart); also not with its group. A restart that it waits for is
    /// called off. Nothing happens to one that doesn't run.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Ended`], [`SupervisorError::UnknownChild`], [`SupervisorError::WrongProcess`].
    pub fn stop_child(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(name, Command::Stop)
    }

    /// Stops a child, if it runs, then starts it, and waits until it is ready. No sibling is touched.
    ///
    /// # Errors
    ///
    /// As for [`start_child`](Supervisor::start_child).
    pub fn restart(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(name, Command::Restart)
    }

    /// Starts a new process of a child beside the one that serves, waits until it is ready, then stops the old one and
    /// waits for its end. If the new one fails, the old one goes on. A child that doesn't run is started.
    ///
    /// So for a while there are two processes of the child. What only one can have at a time - a lock, an address that
    /// isn't shared - the new one doesn't get before the old one has ended: restart such a child by
    /// [`restart`](Supervisor::restart).
    ///
    /// # Errors
    ///
    /// [`SupervisorError::NotReplaced`] with the reason if the new one fails; [`SupervisorError::Busy`] if the child is
    /// being started, stopped or replaced; [`SupervisorError::Child`] if the new one had taken over and fails;
    /// otherwise as for [`start_child`](Supervisor::start_child).
    pub fn rolling_restart(&self, name: &str) -> Result<(), SupervisorError> {
        self.ask(name, Command::Roll)
    }

    /// A [`rolling_restart`](Supervisor::rolling_restart) of all children that run, one after another. One that is being
    /// started is waited for instead, and one that waits for its restart is left to that.
    ///
    /// # Errors
    ///
    /// That of the first child that couldn't be replaced, which it names, when all the others have been.
    pub fn rolling_restart_all(&self) -> Result<(), SupervisorError> {
        self.shared.home.check()?;
        self.shared.ask(Command::RollAll)
    }

    /// What happens from now on. Each call makes a subscriber of its own; so does
    /// [`SupervisorBuilder::events`], which hears of the first starts as well. They end when the supervisor has.
    ///
    /// Up to 8,192 events wait for a subscriber. When one doesn't keep up, the newer ones are lost to it, and it is told
    /// at that place by [`Event::Lost`](super::Event::Lost) how many. Dropping them ends the subscription. They are of no use in a
    /// forked copy of the process.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`].
    pub fn events(&self) -> Result<Events, SupervisorError> {
        self.shared.home.check()?;
        Ok(self.shared.subscribers.lock().add())
    }

    /// Waits for its end, for as long as it takes, and says what that was: `Ok` also if it has failed, which is an error by
    /// [`into_result`](Ended::into_result).
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`], [`SupervisorError::OnItsThread`].
    pub fn wait(&self) -> Result<Ended, SupervisorError> {
        self.shared.home.check()?;
        self.shared.may_wait()?;
        loop {
            if let Some(ended) = self.shared.wait(None) {
                return Ok(ended);
            }
        }
    }

    /// How it ended, without waiting; `Ok(None)`: it goes on.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`].
    pub fn try_wait(&self) -> Result<Option<Ended>, SupervisorError> {
        self.shared.home.check()?;
        Ok(self.shared.wait(Some(Duration::ZERO)))
    }

    /// Waits for its end for up to `timeout`; `Ok(None)`: it goes on.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`], [`SupervisorError::OnItsThread`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Ended>, SupervisorError> {
        self.shared.home.check()?;
        self.shared.may_wait()?;
        Ok(self.shared.wait(Some(timeout)))
    }

    /// Stops all children in the reverse order of their declaration, each when the one before has ended: SIGTERM, its
    /// grace, SIGKILL. Restarts that are waited for are called off. It returns when all have ended, so after the sum of
    /// their graces at the most, and says what it took. If the supervisor has ended before, it says how that was. Only a
    /// process that the kernel can't end at this moment, in the midst of a read from a disk that doesn't answer, say,
    /// is waited for longer.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::WrongProcess`]; [`SupervisorError::OnItsThread`], though it is stopped.
    pub fn stop(&self) -> Result<Ended, SupervisorError> {
        self.shared.home.check()?;
        // If nobody listens it has ended.
        let _ = self.shared.inbox.send(Message::Stop);
        self.wait()
    }

    pub(super) fn find(&self, name: &str) -> Result<usize, SupervisorError> {
        self.shared.home.check()?;
        let known = self.shared.names.get(name).copied();
        known.ok_or_else(|| SupervisorError::UnknownChild { name: name.to_owned() })
    }

    fn ask(&self, name: &str, command: impl FnOnce(usize, Token) -> Command) -> Result<(), SupervisorError> {
        let index = self.find(name)?;
        self.shared.ask(|token| command(index, token))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.shared.home.check().is_ok() {
            let _ = self.shared.inbox.send(Message::Stop);
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("children", &self.shared.names.len()).finish_non_exhaustive()
    }
}
