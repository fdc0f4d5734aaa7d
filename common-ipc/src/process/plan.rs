//! A start as it was worked out before anything is made: what is common to all ways of starting a child.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::link::poll::Deadline;
use crate::ownership::descriptors::PrivateFd;
use crate::process::child::Child;
use crate::process::errors::{ChildError, StartError};
use crate::process::exit_hook::{self, AtExit};
use crate::process::fork_rule::Refusal;
use crate::process::options::{
    COMM_MAX, DEFAULT_MAX_OUTPUT, LaunchOptions, ParentDeath, Prepared, ProcessGroup,
};
use crate::process::record::{Awaited, Record, Role};
use crate::process::report::{Heard, OutputFailure, Report};
use crate::process::setup::{SetupFailure, SetupStep};
use crate::process::signals::Held;
use crate::process::state::State;
use crate::process::status::ExitStatus;

/// How long a child that wasn't ready may take over its death before it is left to the reaper.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// The number of the next child without a name.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a child is to be like and how its start goes.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) options: &'a LaunchOptions,
    pub(crate) name: OsString,
    pub(crate) prepared: Prepared<'a>,
    pub(crate) parent_death: ParentDeath,
    pub(crate) at_exit: AtExit,
    pub(crate) role: Role,
    pub(crate) held: Held,
    /// The start is over when the child is about to run its body.
    pub(crate) wait_until_ready: bool,
    /// The child says when it is set up, and the start waits for that.
    pub(crate) handshake: bool,
    /// The child says when it is about to run its body, whether the start waits for that or not.
    pub(crate) announce_ready: bool,
    /// What it logs the program's logger is handed, if the relay is installed.
    pub(crate) relays_records: bool,
}

/// A child that is there, and that nobody knows of yet.
pub(crate) struct Newborn {
    pub(crate) pid: i32,
    /// None if somebody who collects all children has collected it already.
    pub(crate) pidfd: Option<PrivateFd>,
    pub(crate) reports: PrivateFd,
}

impl<'a> Plan<'a> {
    /// With what most children have.
    pub(crate) fn new(options: &'a LaunchOptions, kind: &str) -> Result<Plan<'a>, StartError> {
        if exit_hook::is_exiting() {
            return Err(StartError::Exiting);
        }
        let name = options.name.clone().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            OsString::from(format!("{kind}-{number}"))
        });
        let prepared = Prepared::new(options, OsStr::new(&name))?;
        Ok(Plan {
            options,
            name,
            parent_death: options.parent_death.unwrap_or_default(),
            at_exit: AtExit::default(),
            role: Role::Child,
            held: Held::Nothing,
            wait_until_ready: false,
            handshake: prepared.can_fail(options),
            announce_ready: false,
            relays_records: true,
            prepared,
        })
    }

    /// A process that makes children for the library, and runs nothing that a signal is meant for.
    ///
    /// # Errors
    ///
    /// Children of this process get numbers of another pid namespace, in which it doesn't see them.
    pub(crate) fn of_server(options: &'a LaunchOptions) -> Result<Plan<'a>, StartError> {
        let namespace = |of| std::fs::read_link(format!("/proc/thread-self/ns/{of}")).ok();
        if namespace("pid") != namespace("pid_for_children") {
            let source =
                io::Error::new(io::ErrorKind::Unsupported, "its children are in another pid namespace");
            return Err(StartError::Os { step: "make a process that makes children of this one", source });
        }
        Ok(Plan {
            // It has nothing to finish.
            at_exit: AtExit::Stop { grace: Duration::ZERO },
            role: Role::Server,
            held: Held::All,
            relays_records: false,
            ..Plan::new(options, "server")?
        })
    }

    /// Its name, if the kernel doesn't keep all of it.
    pub(crate) fn long_name(&self) -> Option<&OsStr> {
        (self.name.len() > COMM_MAX).then_some(&self.name)
    }

    /// Takes the child in.
    pub(crate) fn take_in(&self, process: &mut State, newborn: Newborn) -> Child {
        let Newborn { pid, pidfd, reports } = newborn;
        let collected = pidfd.is_none();
        let survives = self.parent_death == ParentDeath::Survive;
        let record = Arc::new(Record::new(
            process.next_serial(),
            pid,
            self.name.clone(),
            if survives { AtExit::Leave } else { self.at_exit },
            self.role,
            self.options.own.process_group != ProcessGroup::Inherit,
            self.options.own.max_output.unwrap_or(DEFAULT_MAX_OUTPUT),
            // A loop has its beginning and its end however early the request comes.
            (self.wait_until_ready && self.held == Held::Nothing).then(Instant::now),
            pidfd,
            reports,
        ));
        if !collected {
            process.add(Arc::clone(&record));
        }
        Child::new(record)
    }

    /// The rest of the start: makes sure that it is our child, and waits for its word if it gives one.
    pub(crate) fn see_to(&self, child: &Child, word: Option<Deadline>) -> Result<(), StartError> {
        if let Err(error) = child.record().verify() {
            child.kill()?;
            return Err(error.into());
        }
        word.map_or(Ok(()), |deadline| self.wait_for_word(child, deadline))
    }

    /// How long the start may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.options.ready_within()
    }

    /// Waits until the child says that it is set up, or why not.
    fn wait_for_word(&self, child: &Child, deadline: Deadline) -> Result<(), StartError> {
        let timeout = self.timeout();
        let record = child.record();
        let spoken = |heard: &Heard| heard.was_ready || heard.last.is_some();
        let failed = match record.wait_to_hear(spoken, deadline) {
            Ok(Awaited::Nothing) => StartError::NotReady { timeout },
            // No more is heard here: it may be garbled by now, and the child is started all the same.
            Ok(Awaited::Heard | Awaited::End) if record.was_ready() => return Ok(()),
            Ok(Awaited::Heard | Awaited::End) => match record.last_report() {
                // Of a hook after the fork. It may not be collected yet, so the status is made here.
                Ok(Some(Report::Panicked(report))) => {
                    StartError::EndedEarly { status: ExitStatus::Panicked(Arc::new(report)) }
                }
                Ok(Some(report)) => match self.failure(&report) {
                    Some(failed) => failed,
                    None => return Ok(()),
                },
                Ok(None) => match record.ended() {
                    Some(ended) => StartError::EndedEarly { status: ended.status.clone() },
                    None => return Ok(()),
                },
                Err(error) => {
                    let source = io::Error::new(error.kind(), error);
                    StartError::Child(ChildError::Os { step: "receive its first report", source })
                }
            },
            Err(error) => StartError::Child(error),
        };
        // A child that couldn't give up rights that this process hasn't can't be killed, but ends by itself.
        let _ = child.kill();
        if child.wait_timeout(DEATH_PATIENCE)?.is_none() {
            log::warn!("child {} doesn't die of SIGKILL; it is collected when it does", child.id());
        }
        Err(failed)
    }

    /// Why the body didn't run, if this is what a child says of that.
    fn failure(&self, report: &Report) -> Option<StartError> {
        Some(match report {
            Report::SetupFailed(SetupFailure { step: SetupStep::ProgramState(what), errno }) => {
                let source = Some(io::Error::from_raw_os_error(*errno));
                StartError::ZygoteStale { what: *what, source }
            }
            Report::SetupFailed(SetupFailure { step, errno }) => StartError::Setup {
                step: *step,
                action: step.describe(self.options),
                source: io::Error::from_raw_os_error(*errno),
            },
            Report::NoOutput(OutputFailure::Argument { message }) => {
                StartError::Argument { message: message.clone() }
            }
            Report::NoOutput(OutputFailure::Threads { count }) => {
                StartError::Refused(Refusal::ThreadsOfPreload { count: *count })
            }
            _ => return None,
        })
    }
}
