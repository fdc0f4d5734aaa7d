//! Starting a child by fork, with the discipline that makes it safe.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::codec;
use crate::link::poll::Deadline;
use crate::ownership::descriptors;
use crate::ownership::harmless;
use crate::process::child::Child;
use crate::process::child_side::{self, ChildStart};
use crate::process::errors::StartError;
use crate::process::exit_hook::{self, AtExit};
use crate::process::fork_rule::{self, Leave};
use crate::process::lifeline;
use crate::process::options::{DEFAULT_MAX_OUTPUT, Ends, LaunchOptions, ParentDeath, Prepared, ProcessGroup};
use crate::process::panic_report::ChildHook;
use crate::process::record::{Awaited, Record};
use crate::process::report::{self, OutputFailure, Report};
use crate::process::setup::SetupFailure;
use crate::process::signals::{self, ToReset};
use crate::process::state;
use crate::process::status::ExitStatus;
use crate::sys;
use crate::sys::fork::Forked;

/// How long a start waits for a child's word unless the options say otherwise.
const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a child that wasn't ready may take over its death before it is left to the reaper.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// The number of the next child without a name.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A start of a child: the options of the user and what the kind of child adds to them.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let words = vec!["moved", "by", "the", "fork"];
/// let child = Launch::new(&LaunchOptions::new().name("counter")).start(move || words.len())?;
/// assert_eq!(child.output::<usize>()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Launch<'a> {
    options: &'a LaunchOptions,
    kind: &'a str,
    wait_until_ready: bool,
    hold_stop_signals: bool,
    at_exit: AtExit,
}

impl<'a> Launch<'a> {
    /// A start with these options.
    pub fn new(options: &'a LaunchOptions) -> Launch<'a> {
        Launch {
            options,
            kind: "child",
            wait_until_ready: false,
            hold_stop_signals: false,
            at_exit: AtExit::default(),
        }
    }

    /// What a child without a name is named after: `kind` and a number.
    pub fn kind(mut self, kind: &'a str) -> Self {
        self.kind = kind;
        self
    }

    /// Has the start wait until the child is about to run its body.
    pub fn wait_until_ready(mut self, wait: bool) -> Self {
        self.wait_until_ready = wait;
        self
    }

    /// Keeps SIGTERM and, unless it is to be ignored, SIGINT blocked in the child from its first
    /// moment; its body takes them by [`StopSignals`](crate::process::StopSignals).
    pub fn hold_stop_signals(mut self, hold: bool) -> Self {
        self.hold_stop_signals = hold;
        self
    }

    /// What the program's exit does to the child.
    pub fn at_exit(mut self, at_exit: AtExit) -> Self {
        self.at_exit = at_exit;
        self
    }

    /// Forks a child that runs `body` and ends.
    ///
    /// The fork itself moves the body into the child, so it may capture anything. This process drops
    /// its copy when the child has been started; the child drops its own when the body returns. A
    /// value that does something when it is dropped (a temporary directory that deletes itself, a
    /// `BufWriter` with pending output) therefore does it in both: make it in the body.
    ///
    /// What the body returns is serialised in the child and read by [`Child::output`]. An `io::Result` can't be:
    /// return a `Result<T, RemoteError>`. A body that never returns is of a type that can't be either: write
    /// `|| -> () { .. }`.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. The body didn't run, or didn't get to its end.
    pub fn start<O, F>(&self, body: F) -> Result<Child, StartError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        let mut body = Some(body);
        let mut run = || {
            // Always there: the child runs this once, and never comes back.
            body.take().map_or_else(|| Ok(Vec::new()), |body| encode_output(&body()))
        };
        self.fork(&mut run)
    }

    fn fork(&self, body: &mut dyn FnMut() -> Result<Vec<u8>, OutputFailure>) -> Result<Child, StartError> {
        let os = |step| move |source| StartError::Os { step, source };
        let options = self.options;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                OsString::from(format!("{}-{number}", self.kind))
            }
        };
        let prepared = Prepared::new(options, OsStr::new(&name))?;
        let parent_death = options.parent_death.unwrap_or(match self.hold_stop_signals {
            true => ParentDeath::Stop { grace: ParentDeath::LOOP_GRACE },
            false => ParentDeath::default(),
        });
        let handshake = self.wait_until_ready || prepared.can_fail();
        // What every process needs once. Children inherit them.
        let null = harmless::null().map_err(os("open /dev/null"))?;
        harmless::prepare_always_ready().map_err(os("make a socket pair"))?;
        exit_hook::register();

        // From here to the fork: nobody else forks, and no library thread holds a lock.
        let Leave { gate, others } = fork_rule::close_gate(options.fork_rule)?;
        // Beside other threads (where that is allowed) locks are taken in the order in which those may
        // hold them: a panic hook writes to a stream, and whoever writes may call the library.
        let hook = ChildHook::install();
        // Nothing is left in the buffers for both to write. It fails where the output leads nowhere;
        // that is its writer's trouble, not the child's.
        let _ = io::stdout().flush();
        sys::fork::flush_c_streams(others);
        // Nor is anybody else half way through a line. Never standard input: its buffer may be in
        // use by this very thread.
        let streams = others.then(|| (io::stdout().lock(), io::stderr().lock()));

        let mut process = state::lock();
        process.open_status_file();
        let ends = Ends::claim(options).map_err(StartError::GivenTwice)?;
        let parents_link = child_side::report_link();
        let mut registry = descriptors::registry();

        let (ours, theirs) = report::pair().map_err(os("make a socket pair"))?;
        let ours = descriptors::above_stderr(ours).map_err(os("make a socket pair"))?;
        let theirs = descriptors::above_stderr(theirs).map_err(os("make a socket pair"))?;
        lifeline::prepare(theirs.as_fd(), parent_death).map_err(os("arm the lifeline"))?;
        let on_main_thread = lifeline::on_main_thread();

        let mask = signals::block_all().map_err(os("block signals"))?;
        let to_reset = ToReset::find(process.status_file());

        let pid = match sys::fork::fork() {
            Ok(Forked::Child) => {
                registry.settle_in_child(ends.for_child(), null);
                ends.announce();
                // The last of its handles closes an end. The gate, the state and the registry stay as
                // they are: this process has its own.
                drop(ends);
                drop(streams);
                // The parent's end of the link: should anybody else hold it, the parent's death
                // would go unnoticed. And the parent's own, if it is a child itself: what comes
                // through that is its word.
                sys::descriptors::close(ours);
                if let Some(link) = parents_link {
                    sys::descriptors::close_range(link.as_raw_fd(), link.as_raw_fd());
                }
                hook.keep_in_child();
                child_side::run(
                    ChildStart {
                        prepared: &prepared,
                        null,
                        reports: theirs,
                        to_reset,
                        parent_death,
                        forked_by_main_thread: on_main_thread,
                        handshake,
                        hold_stop_signals: self.hold_stop_signals,
                    },
                    body,
                )
            }
            Ok(Forked::Parent(pid)) => Ok(pid),
            Err(error) => Err(error),
        };
        // This process goes on as before.
        drop(streams);
        // The number that this frees is the one that the pidfd needs.
        drop(theirs);
        // Signals stay blocked until the pidfd is there: a handler that collects all children could
        // otherwise collect this one before.
        let pidfd = pid.as_ref().ok().map(|&pid| sys::pidfd::open(pid).and_then(descriptors::above_stderr));
        signals::restore(&mask);
        let pid = pid.map_err(os("fork"))?;
        let pidfd = match pidfd {
            Some(Ok(pidfd)) => Some(registry.list(pidfd)),
            // SIGCHLD is ignored, or another thread collects all children, and this one was quick.
            Some(Err(error)) if error.raw_os_error() == Some(libc::ESRCH) => None,
            None => None,
            Some(Err(source)) => {
                kill_unwatched(pid);
                return Err(StartError::Os { step: "open a pidfd", source });
            }
        };
        let reports = registry.list(ours);
        // A record closes descriptors of its own, which takes this lock.
        drop(registry);
        let collected = pidfd.is_none();
        let record = Arc::new(Record::new(
            process.next_serial(),
            pid,
            name,
            if parent_death == ParentDeath::Survive { AtExit::Leave } else { self.at_exit },
            options.process_group != ProcessGroup::Inherit,
            options.max_output.unwrap_or(DEFAULT_MAX_OUTPUT),
            // A loop has its beginning and its end however early the request comes.
            (self.wait_until_ready && !self.hold_stop_signals).then(Instant::now),
            pidfd,
            reports,
        ));
        if !collected {
            process.add(Arc::clone(&record));
        }
        drop(process);
        drop(hook);
        drop(gate);
        let child = Child::new(record);
        if let Err(error) = child.record().verify() {
            child.kill()?;
            return Err(error.into());
        }
        if handshake {
            self.wait_for_word(&child)?;
        }
        ends.give_away();
        Ok(child)
    }

    /// Waits until the child says that it is set up, or why not.
    fn wait_for_word(&self, child: &Child) -> Result<(), StartError> {
        let timeout = self.options.ready_timeout.unwrap_or(DEFAULT_READY_TIMEOUT);
        let awaited = child.record().wait_for_report(Deadline::after(timeout));
        let failed = match awaited {
            Ok(Awaited::Report(Report::Ready)) => return Ok(()),
            Ok(Awaited::Report(Report::SetupFailed(failure))) => self.setup_error(failure),
            Ok(Awaited::Report(Report::Panicked(report))) => {
                // Of a hook after the fork. The report was taken from the link, so the status is made here.
                StartError::EndedEarly { status: ExitStatus::Panicked(Arc::new(report)) }
            }
            Ok(Awaited::Report(_)) => return Ok(()),
            Ok(Awaited::End) => match child.record().ended() {
                Some(ended) if ended.was_ready => return Ok(()),
                Some(ended) => match &ended.report {
                    Ok(Some(Report::SetupFailed(failure))) => self.setup_error(*failure),
                    _ => StartError::EndedEarly { status: ended.status.clone() },
                },
                None => return Ok(()),
            },
            Ok(Awaited::Nothing) => StartError::NotReady { timeout },
            Err(error) => StartError::Child(error),
        };
        child.kill()?;
        if child.wait_timeout(DEATH_PATIENCE)?.is_none() {
            log::warn!("child {} doesn't die of SIGKILL; it is collected when it does", child.id());
        }
        Err(failed)
    }
}

impl Launch<'_> {
    fn setup_error(&self, failure: SetupFailure) -> StartError {
        StartError::Setup {
            step: failure.step,
            action: failure.step.describe(self.options),
            source: io::Error::from_raw_os_error(failure.errno),
        }
    }
}

/// The pidfd couldn't be had: this child can be had by its number only, and mustn't stay.
fn kill_unwatched(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    // It is not collected yet, so the number is still its own - unless somebody collects all
    // children, who then has collected this one, too, and the number was free for less than the
    // time since the fork.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = sys::retry(|| Ok(nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::__WALL))?));
}

/// In the child: the output, whole, before anything of it is sent.
fn encode_output<O: Serialize + DeserializeOwned>(output: &O) -> Result<Vec<u8>, OutputFailure> {
    codec::encode_checked(output).map_err(|error| OutputFailure::Encode {
        type_name: error.type_name.to_owned(),
        message: error.message,
    })
}
