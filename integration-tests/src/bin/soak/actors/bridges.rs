//! Several threads that call an object through one bridge. Whoever finds that its process is gone starts it again.

use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::SharedAtomics;
use common_ipc::testing::Random;
use cross_process_bridge::{BridgeError, Timeout, bridge};
use integration_tests::raw;

use crate::model::excuse;
use crate::model::ledger::{Ledger, mark};
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "bridges";
const CALLS: usize = 1 << 16;

/// Marks each call, and does something else.
struct Clerk {
    marks: SharedAtomics,
}

#[bridge]
impl Clerk {
    fn new(marks: SharedAtomics) -> Clerk {
        Clerk { marks }
    }

    fn enter(&mut self, slot: u32, micros: u64) -> u32 {
        mark(&self.marks, slot);
        if micros > 0 {
            std::thread::sleep(Duration::from_micros(micros));
        }
        slot
    }

    fn enter_long(&mut self, slot: u32, bytes: &[u8], long: usize) -> Result<Vec<u8>, usize> {
        mark(&self.marks, slot);
        let wrong = bytes.iter().filter(|byte| **byte != slot as u8).count();
        if wrong > 0 { Err(wrong) } else { Ok(vec![slot as u8; long]) }
    }

    #[bridge(one_way)]
    fn jot(&mut self, slot: u32) {
        mark(&self.marks, slot);
    }

    fn panic(&mut self, slot: u32) {
        mark(&self.marks, slot);
        std::panic::resume_unwind(Box::new(slot));
    }

    fn crash(&mut self, slot: u32) {
        mark(&self.marks, slot);
        raw::segfault();
    }

    fn finish(self, slot: u32) -> u32 {
        mark(&self.marks, slot);
        slot
    }
}

pub(crate) fn run(stage: &Stage) {
    let names = ["bridges, one", "bridges, two", "bridges, three", "bridges, four"];
    let pulses = names.map(|name| stage.watch.pulse(name));
    let mut randoms = names.map(|name| stage.random(name));
    let Ok(ledger) = Ledger::new(CALLS) else { return };
    while !stage.is_over() {
        let clerk = ClerkBridge::new(ledger.marks());
        clerk.process().launch_in(&stage.zygote).launch_with(options(NAME));
        let round = Round::begin(stage);
        std::thread::scope(|scope| {
            for (pulse, random) in pulses.iter().zip(&mut randoms) {
                let (clerk, ledger, round) = (&clerk, &ledger, &round);
                scope.spawn(move || {
                    pulse.here("begin");
                    let mut caller = Caller { stage, clerk, ledger, pulse, random };
                    while round.goes_on() {
                        let Some(slot) = ledger.take() else { break };
                        caller.call(slot);
                        if slot % 32 == 0 {
                            rest(caller.random, Duration::from_millis(20));
                        }
                    }
                    pulse.over();
                });
            }
        });
        let starts = clerk.process().generation();
        stage.tally.add(Count::Started, starts);
        stage.tally.add(Count::Ended, starts);
        let pulse = pulses[0].here("the end");
        if randoms[0].one_in(2) {
            // What ended it before is told by this.
            let _ = clerk.stop();
        }
        drop(clerk);
        pulse.at("wait for all");
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
        pulse.over();
    }
}

struct Caller<'a> {
    stage: &'a Stage,
    clerk: &'a ClerkBridge,
    ledger: &'a Ledger,
    pulse: &'a Pulse,
    random: &'a mut Random,
}

impl Caller<'_> {
    fn call(&mut self, slot: u32) {
        let clerk = match self.random.below(40) {
            0 => self.clerk.with_timeout(self.random.up_to(Duration::from_millis(2))),
            1 if self.random.one_in(20) => {
                self.clerk.with_timeout(Timeout::after(Duration::from_micros(500)).and_kill())
            }
            _ => self.clerk.clone(),
        };
        let pid = clerk.process().pid();
        let began = Instant::now();
        let result = match self.random.below(1_000) {
            0 => {
                self.pulse.at("call of crash");
                clerk.crash(slot)
            }
            1 => {
                self.pulse.at("call of finish");
                clerk.finish(slot).map(drop)
            }
            2..6 => {
                self.pulse.at("call of panic");
                clerk.panic(slot)
            }
            6..16 => self.long(&clerk, slot),
            16..60 => {
                self.pulse.at("call of jot");
                match clerk.jot(slot) {
                    // It may not come to that.
                    Ok(()) => return self.stage.tally.fine(),
                    error => error,
                }
            }
            60 => return self.meddle(slot),
            number => {
                self.pulse.at("call of enter");
                let micros = if number < 70 { self.random.below(1_500) } else { 0 };
                clerk.enter(slot, micros).map(|same| {
                    self.stage.tally.check(same == slot, || format!("{NAME}: {slot} gave {same}"));
                })
            }
        };
        match result {
            Ok(()) => {
                self.stage.tally.fine();
                self.ledger.told(slot, Execution::Ran);
            }
            Err(error) => self.failed(slot, &error, pid, began),
        }
    }

    fn long(&mut self, clerk: &ClerkBridge, slot: u32) -> Result<(), BridgeError> {
        self.pulse.at("call of enter_long");
        let (there, back) = (1 << self.random.below(20), 1 << self.random.below(20));
        let answer = clerk.enter_long(slot, &vec![slot as u8; there], back)?;
        let is_right =
            answer.is_ok_and(|bytes| bytes.len() == back && bytes.iter().all(|byte| *byte == slot as u8));
        self.stage.tally.check(is_right, || format!("{NAME}: {there} bytes there and {back} back"));
        Ok(())
    }

    fn failed(&mut self, slot: u32, error: &BridgeError, pid: Option<u32>, began: Instant) {
        self.stage.tally.failed(error.execution());
        self.ledger.told(slot, error.execution());
        self.ledger.note(slot, error);
        let is_true = match error {
            BridgeError::PeerDied { .. } => {
                if let Some(pid) = pid {
                    self.stage.blocked.note(NAME, &self.stage.record, pid, began);
                }
                true
            }
            BridgeError::NotStarted { .. } | BridgeError::Panicked { .. } | BridgeError::Timeout { .. } => {
                true
            }
            error => self.is_of_a_fault(error),
        };
        self.stage.tally.check(is_true, || format!("{NAME}: {error}"));
        if error.needs_start() {
            self.start();
        }
    }

    fn is_of_a_fault(&self, error: &BridgeError) -> bool {
        match error {
            BridgeError::Start(error) => excuse::start(&self.stage.record, error),
            BridgeError::Child(error) => excuse::child(&self.stage.record, error),
            // A long message takes descriptors.
            BridgeError::Broken { .. } | BridgeError::Encode { .. } | BridgeError::Decode { .. } => {
                excuse::descriptors(&self.stage.record)
            }
            // By another thread meanwhile.
            BridgeError::PeerDied { .. } | BridgeError::NotStarted { .. } => true,
            _ => false,
        }
    }

    fn start(&self) {
        self.pulse.at("start");
        if let Err(error) = self.clerk.start() {
            self.stage.not_started(NAME, &error, self.is_of_a_fault(&error));
        }
    }

    /// With the process, while others call.
    fn meddle(&mut self, slot: u32) {
        self.ledger.told(slot, Execution::NotRun);
        let process = self.clerk.process();
        let done = match self.random.below(5) {
            0 => {
                self.pulse.at("stop_timeout");
                process.stop_timeout(self.random.up_to(Duration::from_millis(3))).map(drop)
            }
            1 => {
                self.pulse.at("restart_timeout");
                process.restart_timeout(self.random.up_to(Duration::from_millis(3)))
            }
            2 => {
                self.pulse.at("stop");
                self.clerk.stop()
            }
            _ => {
                self.pulse.at("kill");
                process.kill()
            }
        };
        if let Err(error) = done {
            self.stage.tally.check(self.is_of_a_fault(&error), || format!("{NAME}: {error}"));
        }
    }
}
