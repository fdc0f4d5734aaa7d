//! What is known of one child, shared by its handles, the reaper and the exit hook.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::Generation;
use crate::process::callbacks::{self, Callback, Exit, Queue};
use crate::process::errors::ChildError;
use crate::process::exit_hook::AtExit;
use crate::process::report::{Heard, Report};
use crate::process::signal::Signal;
use crate::process::state;
use crate::process::status::{ExitStatus, PANIC_EXIT_CODE};
use crate::sys;
use crate::sys::pidfd::{Look, RawStatus};

/// How long to wait before looking again at a child that has ended, but isn't this process's to
/// collect yet: somebody is tracing it.
pub(crate) const HELD_UP: Duration = Duration::from_millis(5);

/// What a child is to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One that the user has started.
    Child,
    /// One that makes children for the library.
    Server,
}

/// One child, from its fork until its last handle is gone.
pub(crate) struct Record {
    pub(crate) serial: u64,
    pub(crate) pid: i32,
    pub(crate) name: OsString,
    pub(crate) home: Generation,
    pub(crate) at_exit: AtExit,
    pub(crate) role: Role,
    /// It leads a process group of its own.
    pub(crate) leads_group: bool,
    pub(crate) max_output: usize,
    /// When it was started, if the program's exit doesn't stop it right away.
    pub(crate) head_start_from: Option<Instant>,
    /// How many handles there are; without one the reaper looks after the child.
    pub(crate) handles: AtomicUsize,
    /// The pidfd that a user has seen, open for as long as the record.
    pub(crate) exposed: OnceCell<Arc<PrivateFd>>,
    state: Mutex<State>,
}

struct State {
    life: Life,
    heard: Heard,
    /// Called where it is collected.
    hooks: Vec<Callback>,
    callbacks: Vec<Callback>,
    /// Where they were handed on to: from now on each new one is at once.
    due: Option<Arc<Queue>>,
    /// Whoever stops a group's leader means the group.
    kill_group_at_end: bool,
}

enum Life {
    /// Not collected; `status` is there once the kernel has given it, and what the child reported
    /// couldn't be read yet.
    Running { pidfd: Arc<PrivateFd>, reports: Arc<PrivateFd>, status: Option<Option<RawStatus>> },
    /// Collected, and what is left of it.
    Ended(Arc<Ended>),
}

/// What is left of a child: every waiter gets the same.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Its last report, or what was wrong with that.
    pub(crate) report: Result<Option<Report>, Arc<io::Error>>,
}

impl Ended {
    /// # Errors
    ///
    /// There is no descriptor or memory to be had for what the child has sent; it can be read later.
    fn new(
        raw: Option<RawStatus>,
        heard: &mut Heard,
        reports: BorrowedFd<'_>,
        max_output: usize,
    ) -> io::Result<Ended> {
        let report = match heard.hear(reports, max_output) {
            Ok(()) => heard.last.take().transpose(),
            Err(error) if sys::is_shortage(&error) => return Err(error),
            Err(error) => Err(Arc::new(error)),
        };
        Ok(Ended { status: status_from(raw, &report), report })
    }
}

impl Record {
    /// A child that was just forked; without a pidfd, one that has ended and that somebody who
    /// collects all children has collected already.
    #[expect(clippy::too_many_arguments, reason = "the fields of a record, named at its one call")]
    pub(crate) fn new(
        serial: u64,
        pid: i32,
        name: OsString,
        at_exit: AtExit,
        role: Role,
        leads_group: bool,
        max_output: usize,
        head_start_from: Option<Instant>,
        pidfd: Option<PrivateFd>,
        reports: PrivateFd,
    ) -> Record {
        let mut heard = Heard::default();
        let life = match pidfd {
            Some(pidfd) => Life::Running { pidfd: Arc::new(pidfd), reports: Arc::new(reports), status: None },
            None => {
                let ended = reports.get().map_err(io::Error::other);
                let ended = ended.and_then(|reports| Ended::new(None, &mut heard, reports, max_output));
                Life::Ended(Arc::new(ended.unwrap_or_else(|error| Ended {
                    status: ExitStatus::Unknown,
                    report: Err(Arc::new(error)),
                })))
            }
        };
        Record {
            serial,
            pid,
            name,
            home: Generation::current(),
            at_exit,
            role,
            leads_group,
            max_output,
            head_start_from,
            handles: AtomicUsize::new(0),
            exposed: OnceCell::new(),
            state: Mutex::new(State {
                life,
                heard,
                hooks: Vec::new(),
                callbacks: Vec::new(),
                due: None,
                kill_group_at_end: false,
            }),
        }
    }

    /// Right after the start: makes sure that the pidfd is the child's. Between the fork and the
    /// opening of the pidfd somebody who collects all children may have collected this one, and
    /// another process may have got its number; such a record ends here and never signals anyone.
    pub(crate) fn verify(&self) -> Result<(), ChildError> {
        let Some(pidfd) = self.pidfd() else { return Ok(()) };
        match sys::pidfd::look(pidfd.get()?, false) {
            Ok(Look::NotOurs) => self.collect().map(drop),
            _ => Ok(()),
        }
    }

    /// What is left of it, if it was collected.
    pub(crate) fn ended(&self) -> Option<Arc<Ended>> {
        match &self.state.lock().life {
            Life::Ended(ended) => Some(Arc::clone(ended)),
            Life::Running { .. } => None,
        }
    }

    /// Its pidfd, if it wasn't collected. The clone keeps the descriptor open for whoever polls it.
    pub(crate) fn pidfd(&self) -> Option<Arc<PrivateFd>> {
        match &self.state.lock().life {
            Life::Running { pidfd, .. } => Some(Arc::clone(pidfd)),
            Life::Ended(_) => None,
        }
    }

    /// As [`pidfd`](Record::pidfd), but gives up on a lock that doesn't come free.
    pub(crate) fn pidfd_within(&self, patience: Duration) -> Option<Arc<PrivateFd>> {
        match &self.state.try_lock_for(patience)?.life {
            Life::Running { pidfd, .. } => Some(Arc::clone(pidfd)),
            Life::Ended(_) => None,
        }
    }

    /// Waits for its end until the deadline; `None` when that came first.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<Option<Arc<Ended>>, ChildError> {
        loop {
            let Some(pidfd) = self.pidfd() else { return Ok(self.ended()) };
            let fd = pidfd.get()?;
            let ended = wait_until(&mut [PollFd::new(fd, PollFlags::POLLIN)], deadline)
                .map_err(|source| ChildError::Os { step: "poll its pidfd", source })?;
            if !ended {
                return Ok(None);
            }
            if !self.collect()? && !deadline.pause(HELD_UP) {
                return Ok(None);
            }
        }
    }

    /// Collects it if it has ended, and says whether it is collected. This one place serves all:
    /// waiters, the reaper, the exit hook. It never blocks for the child, so holding the lock
    /// meanwhile is short.
    pub(crate) fn collect(&self) -> Result<bool, ChildError> {
        let mut state = self.state.lock();
        let State { life, heard, kill_group_at_end, .. } = &mut *state;
        let Life::Running { pidfd, reports, status } = life else { return Ok(true) };
        let fd = pidfd.get()?;
        let look = |reap| {
            sys::pidfd::look(fd, reap).map_err(|source| ChildError::Os { step: "collect its status", source })
        };
        // A group is killed while its dead leader still holds the number that names it.
        if *kill_group_at_end && status.is_none() && matches!(look(false)?, Look::Ended(_)) {
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(self.pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let raw = match *status {
            Some(raw) => raw,
            None => *status.insert(match look(true)? {
                Look::Running => return Ok(false),
                Look::Ended(raw) => Some(raw),
                Look::NotOurs => sys::pidfd::status_after_theft(fd),
            }),
        };
        let ended = Ended::new(raw, heard, reports.get()?, self.max_output)
            .map_err(|source| ChildError::Os { step: "receive its output", source })?;
        let status = ended.status.clone();
        let announced = state.callbacks.len();
        if announced > 0 {
            // Before anybody can know of the end: whoever does and then waits for callbacks waits for these.
            state::lock().callbacks_pending += announced;
        }
        let State { life, .. } = &mut *state;
        let before = std::mem::replace(life, Life::Ended(Arc::new(ended)));
        let hooks = std::mem::take(&mut state.hooks);
        drop(state);
        // From here on every wait returns. The descriptors go, then the hooks and the callbacks come.
        let mut process = state::lock();
        let removed = process.remove(self.serial);
        if let (Some(epoll), Life::Running { pidfd, .. }) = (&process.reaper, &before) {
            if let (Ok(epoll), Ok(pidfd)) = (epoll.get(), pidfd.get()) {
                sys::epoll::forget(epoll, pidfd);
            }
        }
        drop(process);
        drop((before, removed));
        for hook in hooks {
            callbacks::call(hook, &self.exit(&status));
        }
        let mut state = self.state.lock();
        if !state.callbacks.is_empty() {
            let callbacks = std::mem::take(&mut state.callbacks);
            let due = Arc::clone(self.due(&mut state.due, &status));
            drop(state);
            callbacks::enqueue(&due, callbacks, announced);
        }
        Ok(true)
    }

    fn exit(&self, status: &ExitStatus) -> Exit {
        Exit { pid: self.pid as u32, name: self.name.clone(), status: status.clone() }
    }

    /// The queue of its callbacks that are due.
    fn due<'a>(&self, due: &'a mut Option<Arc<Queue>>, status: &ExitStatus) -> &'a Arc<Queue> {
        due.get_or_insert_with(|| Arc::new(Queue::new(self.exit(status))))
    }

    /// Sends a signal, unless it was collected: through the pidfd, so never to a stranger.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ChildError> {
        let Some(pidfd) = self.pidfd() else { return Ok(()) };
        send(&pidfd, signal)
    }

    /// As [`signal`](Record::signal), to the whole group if the child leads one; `to_the_end` also
    /// kills what is left of the group when its leader has ended.
    pub(crate) fn signal_group(&self, signal: Signal, to_the_end: bool) -> Result<(), ChildError> {
        if !self.leads_group {
            return self.signal(signal);
        }
        let mut state = self.state.lock();
        let State { life: Life::Running { pidfd, .. }, kill_group_at_end, .. } = &mut *state else {
            return Ok(());
        };
        *kill_group_at_end |= to_the_end;
        let fd = pidfd.get()?;
        let look = sys::pidfd::look(fd, false)
            .map_err(|source| ChildError::Os { step: "look at its status", source })?;
        if look == Look::NotOurs {
            // Somebody else has collected it: the number may name another group by now.
            return Ok(());
        }
        let group = nix::unistd::Pid::from_raw(self.pid);
        // Not collected, so the number is still its own: one that has moved to another group gets the
        // signal on its own.
        if nix::unistd::getpgid(Some(group)) != Ok(group) {
            send(pidfd, signal)?;
        }
        let known = nix::sys::signal::Signal::try_from(signal.as_raw()).ok();
        match nix::sys::signal::killpg(group, known) {
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(errno) => Err(ChildError::Os { step: "signal its group", source: errno.into() }),
        }
    }

    /// From now on its end is that of its group, if it leads one, also if it has ended already.
    pub(crate) fn end_with_group(&self) {
        self.state.lock().kill_group_at_end |= self.leads_group;
    }

    /// Whether anybody but its handles is interested in its end.
    pub(crate) fn needs_reaper(&self) -> bool {
        let is_waited_for = || {
            let state = self.state.lock();
            !state.callbacks.is_empty() || !state.hooks.is_empty()
        };
        self.handles.load(Ordering::Acquire) == 0 || is_waited_for()
    }

    /// Has `callback` called at its end, or now if that has come.
    pub(crate) fn on_exit(&self, callback: Callback) {
        let mut state = self.state.lock();
        let State { life, callbacks, due, .. } = &mut *state;
        match life {
            // Those that are there already go with the one that has collected it, and before this one.
            Life::Ended(ended) if callbacks.is_empty() => {
                let due = Arc::clone(self.due(due, &ended.status));
                drop(state);
                callbacks::enqueue(&due, vec![callback], 0);
            }
            _ => callbacks.push(callback),
        }
    }

    /// Has `hook` called where it is collected, or here if it was.
    pub(crate) fn on_collected(&self, hook: Callback) {
        let mut state = self.state.lock();
        match &state.life {
            Life::Running { .. } => state.hooks.push(hook),
            Life::Ended(ended) => {
                let exit = self.exit(&ended.status);
                drop(state);
                callbacks::call(hook, &exit);
            }
        }
    }

    /// Waits until what was heard from it fulfils `condition`.
    pub(crate) fn wait_to_hear(
        &self,
        condition: fn(&Heard) -> bool,
        deadline: Deadline,
    ) -> Result<Awaited, ChildError> {
        let os = |source| ChildError::Os { step: "wait for its report", source };
        let (mut listening, mut has_ended) = (true, false);
        loop {
            let mut state = self.state.lock();
            let State { life, heard, .. } = &mut *state;
            let Life::Running { pidfd, reports, .. } = life else {
                return Ok(if condition(heard) { Awaited::Heard } else { Awaited::End });
            };
            // The clones keep them open for the polling: another thread may collect it meanwhile.
            let (pidfd, reports) = (Arc::clone(pidfd), Arc::clone(reports));
            // Under the lock: whoever collects the child receives as well. What came before an output for which there is
            // no descriptor was heard.
            let listened = heard.hear(reports.get()?, self.max_output);
            if condition(heard) {
                return Ok(Awaited::Heard);
            }
            listened.map_err(os)?;
            if let Some(last) = &heard.last {
                if let Err(error) = last {
                    return Err(os(io::Error::new(error.kind(), Arc::clone(error))));
                }
                // Nothing that it may still say counts.
                listening = false;
            }
            if deadline.has_passed() && !has_ended {
                return Ok(Awaited::Nothing);
            }
            if has_ended {
                // What it sent before that would have been there.
                drop(state);
                if !self.collect()? && !deadline.pause(HELD_UP) {
                    return Ok(Awaited::Nothing);
                }
                continue;
            }
            drop(state);
            let mut fds = [
                PollFd::new(pidfd.get()?, PollFlags::POLLIN),
                PollFd::new(reports.get()?, if listening { PollFlags::POLLIN } else { PollFlags::empty() }),
            ];
            let watched = if listening { &mut fds[..] } else { &mut fds[..1] };
            if !wait_until(watched, deadline).map_err(os)? {
                return Ok(Awaited::Nothing);
            }
            if fds[1].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                listening = !fds[1].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
                continue;
            }
            has_ended = fds[0].any().unwrap_or(false);
        }
    }

    /// How its body, or its start, ended, as far as it has said so.
    pub(crate) fn last_report(&self) -> Result<Option<Report>, Arc<io::Error>> {
        let state = self.state.lock();
        match &state.life {
            Life::Running { .. } => state.heard.last.clone().transpose(),
            Life::Ended(ended) => ended.report.clone(),
        }
    }

    /// Whether it was heard that it is set up, as far as somebody has listened.
    pub(crate) fn was_ready(&self) -> bool {
        self.state.lock().heard.was_ready
    }

    /// What was heard from it until now, as far as `look` asks. A last word that can't be read is told to whoever asks for
    /// its output.
    pub(crate) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> Result<T, ChildError> {
        let mut state = self.state.lock();
        let State { life, heard, .. } = &mut *state;
        if let Life::Running { reports, .. } = life {
            match heard.hear(reports.get()?, self.max_output) {
                // An output waits where it is; all that came before it was heard.
                Err(error) if sys::is_shortage(&error) => {}
                heard => heard.map_err(|source| ChildError::Os { step: "receive its report", source })?,
            }
        }
        Ok(look(heard))
    }
}

/// What became of waiting for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Heard,
    /// The child has ended before.
    End,
    /// The deadline passed.
    Nothing,
}

/// Sends a signal by a pidfd; a process that has ended takes none, and needs none.
pub(crate) fn send(pidfd: &PrivateFd, signal: Signal) -> Result<(), ChildError> {
    match sys::pidfd::send_signal(pidfd.get()?, signal.as_raw()) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            Err(ChildError::Os { step: "send it a signal", source: error })
        }
        _ => Ok(()),
    }
}

/// The kernel's word first; what the child reported adds to it, and stands in where it is missing.
fn status_from(raw: Option<RawStatus>, report: &Result<Option<Report>, Arc<io::Error>>) -> ExitStatus {
    let reported = report.as_ref().ok().and_then(Option::as_ref);
    match (raw, reported) {
        (None | Some(RawStatus::Exited(PANIC_EXIT_CODE)), Some(Report::Panicked(report))) => {
            ExitStatus::Panicked(Arc::new(report.clone()))
        }
        (Some(raw), _) => ExitStatus::from_raw(raw),
        (None, Some(Report::Output(_) | Report::NoOutput(_))) => ExitStatus::Exited(0),
        (None, _) => ExitStatus::Unknown,
    }
}
