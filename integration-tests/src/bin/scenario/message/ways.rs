//! A back end as most scenarios need it, and its process by each way of starting it.

use std::time::Duration;

use common_ipc::link::Bytes;
use common_ipc::memory::SharedArray;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, Failure, MessageProcess, Policy, ProcessError, RemoteError, Reply,
};

use crate::bridge::ways::{Awkward, Death, die};
use crate::servers::zygote;

/// The counters that a back end shares with its program.
pub(crate) type Tally = SharedArray<u64>;

/// How often `pre_run` and `post_run` were called.
pub(crate) const PRE_RUN: usize = 0;
pub(crate) const POST_RUN: usize = 1;
/// How many commands were handled.
pub(crate) const HANDLED: usize = 2;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// To be sent back.
    Number(u64),
    Bytes(Bytes),
    /// The sum of all so far.
    Add {
        number: i64,
        reply: Reply<i64>,
    },
    /// To be dropped.
    Drop {
        reply: Reply<()>,
    },
    /// To be answered at the next `AnswerKept`.
    Keep {
        reply: Reply<u64>,
    },
    /// The same, and then it fails.
    KeepAndFail {
        reply: Reply<u64>,
    },
    AnswerKept(u64),
    /// To be answered by something that can't be written, or read.
    AnswerBy {
        value: u8,
        reply: Reply<Awkward>,
    },
    Awkward(Awkward),
    Fail(String),
    FailWith {
        reply: Reply<()>,
    },
    Panic,
    Report,
    Die(Death),
    Sleep(u64),
    /// So many numbers are to be sent.
    Flood(u64),
    Stop,
    Pid {
        reply: Reply<u32>,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Number(u64),
    Bytes(Bytes),
    Awkward(Awkward),
    /// From `post_run`.
    Last,
}

/// How the back end is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Made {
    Well,
    /// `pre_run` fails like this.
    ByError,
    ByPanic,
    By(Death),
    Never,
    /// It dies of its first failure.
    Delicate,
    /// `post_run` fails.
    BadEnd,
    /// Its policy panics.
    Undecided,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Probe {
    tally: Tally,
    made: Made,
    total: i64,
    #[serde(skip)]
    kept: Vec<Reply<u64>>,
}

impl Probe {
    pub(crate) fn new(made: Made) -> Probe {
        Probe { tally: SharedArray::new(3).unwrap(), made, total: 0, kept: Vec::new() }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    fn count(&self, place: usize) {
        self.tally.set(place, self.tally.get(place).unwrap() + 1).unwrap();
    }
}

impl Backend for Probe {
    type Command = Command;
    type Event = Event;

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        self.count(PRE_RUN);
        match self.made {
            Made::ByError => return Err(RemoteError::msg("not ready for that")),
            Made::ByPanic => panic!("before it ran"),
            Made::By(death) => die(death),
            Made::Never => std::thread::sleep(Duration::from_secs(600)),
            Made::Well | Made::Delicate | Made::BadEnd | Made::Undecided => {}
        }
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        self.count(HANDLED);
        match command {
            Command::Number(number) => cx.send_out(&Event::Number(number))?,
            Command::Bytes(bytes) => cx.send_out(&Event::Bytes(bytes))?,
            Command::Add { number, reply } => {
                self.total += number;
                reply.send(&self.total)?;
            }
            Command::Drop { reply } => drop(reply),
            Command::Keep { reply } => self.kept.push(reply),
            Command::KeepAndFail { reply } => {
                self.kept.push(reply);
                return Err(RemoteError::msg("after it was kept"));
            }
            Command::AnswerKept(number) => {
                for reply in self.kept.drain(..) {
                    reply.send(&number)?;
                }
            }
            Command::AnswerBy { value, reply } => reply.send(&match value {
                0 => Awkward::Plain,
                1 => Awkward::CannotBeRead,
                2 => Awkward::CannotBeWritten,
                _ => Awkward::PanicsWhenWritten,
            })?,
            Command::Awkward(value) => cx.send_out(&Event::Awkward(value))?,
            Command::Fail(text) => return Err(RemoteError::msg(text)),
            Command::FailWith { reply } => {
                std::fs::read("/does/not/exist")?;
                reply.send(&())?;
            }
            Command::Panic => panic!("in the handler"),
            Command::Report => cx.report(RemoteError::msg("only told")),
            Command::Die(death) => die(death),
            Command::Sleep(time) => std::thread::sleep(Duration::from_millis(time)),
            Command::Flood(count) => {
                for number in 0..count {
                    cx.send_out(&Event::Number(number))?;
                }
            }
            Command::Stop => cx.stop(),
            Command::Pid { reply } => reply.send(&std::process::id())?,
        }
        Ok(())
    }

    fn post_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        self.count(POST_RUN);
        if self.made == Made::BadEnd {
            return Err(RemoteError::msg("a bad end"));
        }
        // Nobody may be there any more.
        let _ = cx.try_send_out(&Event::Last);
        Ok(())
    }

    fn policy(&mut self, _: &Failure) -> Policy {
        match self.made {
            Made::Delicate => Policy::Die,
            Made::Undecided => panic!("undecided"),
            _ => Policy::GoOn,
        }
    }
}

/// The program keeps its own, of which it makes the others.
pub(crate) struct Watched {
    pub(crate) process: MessageProcess<Probe>,
    pub(crate) tally: Tally,
}

/// By a fork, from a template and from a zygote; not started.
pub(crate) fn all_ways(made: Made) -> [Watched; 3] {
    let [forked, copied, sent] = [(); 3].map(|()| Probe::new(made));
    let tallies = [forked.tally(), copied.tally(), sent.tally()];
    let processes = [
        MessageProcess::new("forked", forked),
        MessageProcess::new("copied", copied).launch_from_template().unwrap(),
        MessageProcess::new("sent", sent).launch_in(&zygote()),
    ];
    let mut tallies = tallies.into_iter();
    processes.map(|process| Watched { process, tally: tallies.next().unwrap() })
}

/// By a fork, and started.
pub(crate) fn started(made: Made) -> Watched {
    let probe = Probe::new(made);
    let tally = probe.tally();
    let process = MessageProcess::new("probe", probe);
    process.start().unwrap();
    Watched { process, tally }
}

impl Watched {
    pub(crate) fn count(&self, place: usize) -> u64 {
        self.tally.get(place).unwrap()
    }

    pub(crate) fn add(&self, number: i64) -> Result<i64, ProcessError> {
        self.process.request(|reply| Command::Add { number, reply })
    }
}
