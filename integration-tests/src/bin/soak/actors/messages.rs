//! A message process: commands from one thread, requests from two, events to another.

use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::SharedAtomics;
use common_ipc::testing::Random;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError, Reply};

use crate::model::excuse;
use crate::model::ledger::{Ledger, mark};
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "messages";

#[derive(Serialize, Deserialize)]
enum Command {
    /// An event says that it was done.
    Do {
        slot: u32,
    },
    Ask {
        slot: u32,
        micros: u64,
        reply: Reply<u32>,
    },
    Fail {
        slot: u32,
        reply: Reply<u32>,
    },
    Forget {
        slot: u32,
        reply: Reply<u32>,
    },
}

#[derive(Serialize, Deserialize)]
enum Event {
    Done(u32),
}

#[derive(Serialize, Deserialize)]
struct Desk {
    marks: SharedAtomics,
}

impl Backend for Desk {
    type Command = Command;
    type Event = Event;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Do { slot } => {
                mark(&self.marks, slot);
                cx.send_out(&Event::Done(slot))?;
            }
            Command::Ask { slot, micros, reply } => {
                mark(&self.marks, slot);
                if micros > 0 {
                    std::thread::sleep(Duration::from_micros(micros));
                }
                reply.send(&slot)?;
            }
            Command::Fail { slot, reply: _reply } => {
                mark(&self.marks, slot);
                return Err(RemoteError::msg("as it was told to"));
            }
            Command::Forget { slot, reply } => {
                mark(&self.marks, slot);
                drop(reply);
            }
        }
        Ok(())
    }
}

type Desks = MessageProcess<Desk>;

pub(crate) fn run(stage: &Stage) {
    let names = ["messages, commands", "messages, requests", "messages, more requests", "messages, events"];
    let pulses = names.map(|name| stage.watch.pulse(name));
    let mut randoms = names.map(|name| stage.random(name));
    let Ok(ledger) = Ledger::new(1 << 15) else { return };
    while !stage.is_over() {
        let desk = MessageProcess::new(NAME, Desk { marks: ledger.marks() });
        let desk = desk.launch_in(&stage.zygote).launch_with(options(NAME));
        pulses[0].here("start");
        if let Err(error) = desk.start() {
            stage.not_started(NAME, &error, is_of_a_fault(stage, &error));
            continue;
        }
        stage.tally.add_both(Count::Started, Count::Ended);
        let round = Round::begin(stage);
        std::thread::scope(|scope| {
            for (who, (pulse, random)) in pulses.iter().zip(&mut randoms).enumerate() {
                let front = Front { stage, desk: &desk, ledger: &ledger, pulse, random };
                let round = &round;
                scope.spawn(move || {
                    front.pulse.here("begin");
                    match who {
                        0 => front.commands(round),
                        3 => front.events(),
                        _ => front.requests(round),
                    }
                    pulse.over();
                });
            }
        });
        pulses[0].here("the end");
        drop(desk);
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
        pulses[0].over();
    }
}

fn is_of_a_fault(stage: &Stage, error: &ProcessError) -> bool {
    match error {
        ProcessError::Ended { .. } => true,
        ProcessError::Start(error) => excuse::start(&stage.record, error),
        ProcessError::Child(error) => excuse::child(&stage.record, error),
        ProcessError::Broken { .. } => excuse::descriptors(&stage.record),
        _ => false,
    }
}

struct Front<'a> {
    stage: &'a Stage,
    desk: &'a Desks,
    ledger: &'a Ledger,
    pulse: &'a Pulse,
    random: &'a mut Random,
}

impl Front<'_> {
    /// Commands without a reply; in the end the back end is told to stop, or is killed.
    fn commands(self, round: &Round<'_>) {
        let mut sent = Vec::new();
        let mut ended = false;
        while round.goes_on() && !ended {
            let Some(slot) = self.ledger.take() else { break };
            self.pulse.at("send");
            match self.desk.send(&Command::Do { slot }) {
                Ok(_) => sent.push(slot),
                Err(error) => {
                    ended = error.ended().is_some();
                    self.ledger.told(slot, error.execution());
                    self.ledger.note(slot, &error);
                    self.stage.tally.failed(error.execution());
                    self.stage.tally.check(is_of_a_fault(self.stage, &error), || format!("{NAME}: {error}"));
                }
            }
            if self.random.one_in(16) {
                rest(self.random, Duration::from_millis(15));
            }
        }
        self.stage.tally.add(Count::Messages, sent.len() as u64);
        self.pulse.at("stop");
        if self.random.one_in(4) {
            if let Ok(child) = self.desk.child() {
                self.stage.record.kill(&child);
            }
        } else if let Err(error) = self.desk.stop() {
            self.stage.tally.check(is_of_a_fault(self.stage, &error), || format!("{NAME}: stop: {error}"));
        }
        self.pulse.at("wait_stop");
        match self.desk.wait_stop() {
            // It has handled all that came before.
            Ok(end) if end.is_clean() => {
                sent.into_iter().for_each(|slot| self.ledger.told(slot, Execution::Ran))
            }
            Ok(_) => {}
            Err(error) => {
                self.stage
                    .tally
                    .check(is_of_a_fault(self.stage, &error), || format!("{NAME}: wait: {error}"));
            }
        }
    }

    fn requests(self, round: &Round<'_>) {
        while round.goes_on() {
            let Some(slot) = self.ledger.take() else { break };
            if self.random.one_in(16) {
                rest(self.random, Duration::from_millis(15));
            }
            let (pid, began) = (self.desk.pid(), Instant::now());
            self.pulse.at("request");
            let micros = if self.random.one_in(100) { self.random.below(3_000) } else { 0 };
            let result = match self.random.below(300) {
                0 => self.desk.request(|reply| Command::Fail { slot, reply }),
                1 => self.desk.request(|reply| Command::Forget { slot, reply }),
                2..8 => {
                    let time = self.random.up_to(Duration::from_millis(1));
                    self.desk.request_timeout(time, |reply| Command::Ask { slot, micros, reply })
                }
                _ => self.desk.request(|reply| Command::Ask { slot, micros, reply }),
            };
            let error = match result {
                Ok(same) => {
                    self.stage.tally.fine();
                    self.ledger.told(slot, Execution::Ran);
                    self.stage.tally.check(same == slot, || format!("{NAME}: {slot} gave {same}"));
                    continue;
                }
                Err(error) => error,
            };
            self.stage.tally.failed(error.execution());
            self.ledger.told(slot, error.execution());
            self.ledger.note(slot, &error);
            if error.ended().is_some() {
                if let Some(pid) = pid {
                    self.stage.blocked.note(NAME, &self.stage.record, pid, began);
                }
                // Until the next start there is nobody to ask.
                return;
            }
            let is_true = matches!(
                error,
                ProcessError::Failed(_) | ProcessError::Unanswered | ProcessError::TimedOut { .. }
            );
            let is_true = is_true || is_of_a_fault(self.stage, &error);
            self.stage.tally.check(is_true, || format!("{NAME}: {error}"));
        }
    }

    /// An event says that its command was handled: there is one for each, if the back end lives.
    fn events(self) {
        loop {
            self.pulse.at("recv");
            match self.desk.recv() {
                Ok(Event::Done(slot)) => {
                    self.stage.tally.one(Count::Messages);
                    let ran = self.ledger.ran(slot);
                    self.stage
                        .tally
                        .check(ran == 1, || format!("{NAME}: {slot} is done, and ran {ran} times"));
                }
                Err(error) if error.ended().is_some() => return,
                // Of a request that was told to fail.
                Err(ProcessError::Failed(_)) => {}
                Err(error) => {
                    let is_true = is_of_a_fault(self.stage, &error);
                    self.stage.tally.check(is_true, || format!("{NAME}: recv: {error}"));
                    if matches!(error, ProcessError::Child(_)) {
                        return;
                    }
                }
            }
        }
    }
}
