//! Items that come one by one, and closures that are called from the other process: until it dies.

use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::SharedAtomics;
use common_ipc::testing::Random;
use cross_process_bridge::{BridgeError, bridge};

use crate::model::excuse;
use crate::model::ledger::{Ledger, mark};
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "streams";

struct Source {
    marks: SharedAtomics,
}

#[bridge]
impl Source {
    fn new(marks: SharedAtomics) -> Source {
        Source { marks }
    }

    /// Numbers from `first` on; some with bytes.
    fn numbers(&mut self, slot: u32, first: u64, many: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
        mark(&self.marks, slot);
        (first..first + many).map(|number| (number, vec![number as u8; (number % 64) as usize]))
    }

    /// Until the closure has enough.
    fn visit(&mut self, slot: u32, many: u64, mut found: impl FnMut(u64) -> bool) -> u64 {
        mark(&self.marks, slot);
        (0..many).take_while(|number| found(*number)).count() as u64
    }
}

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let Ok(ledger) = Ledger::new(1 << 13) else { return };
    while !stage.is_over() {
        let source = SourceBridge::new(ledger.marks());
        source.process().launch_in(&stage.zygote).launch_with(options(NAME));
        let round = Round::begin(stage);
        while round.goes_on() {
            let Some(slot) = ledger.take() else { break };
            rest(&mut random, Duration::from_millis(4));
            let mut reader = Reader { stage, source: &source, pulse: &pulse, random: &mut random };
            let (pid, began) = (source.process().pid(), Instant::now());
            match if slot % 2 == 0 { reader.stream(slot) } else { reader.closure(slot) } {
                Ok(()) => {
                    stage.tally.fine();
                    stage.tally.one(Count::Streams);
                    ledger.told(slot, Execution::Ran);
                }
                Err(error) => {
                    stage.tally.failed(error.execution());
                    ledger.told(slot, error.execution());
                    ledger.note(slot, &error);
                    if let (BridgeError::PeerDied { .. }, Some(pid)) = (&error, pid) {
                        stage.blocked.note(NAME, &stage.record, pid, began);
                    }
                    stage.tally.check(is_of_a_fault(stage, &error), || format!("{NAME}: {error}"));
                    if error.needs_start() {
                        start(stage, &source, &pulse);
                    }
                }
            }
        }
        stage.tally.add(Count::Started, source.process().generation());
        stage.tally.add(Count::Ended, source.process().generation());
        pulse.at("the end");
        drop(source);
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
    }
    pulse.over();
}

fn start(stage: &Stage, source: &SourceBridge, pulse: &Pulse) {
    pulse.at("start");
    if let Err(error) = source.start() {
        stage.not_started(NAME, &error, is_of_a_fault(stage, &error));
    }
}

fn is_of_a_fault(stage: &Stage, error: &BridgeError) -> bool {
    match error {
        BridgeError::PeerDied { .. } | BridgeError::NotStarted { .. } => true,
        BridgeError::Start(error) => excuse::start(&stage.record, error),
        BridgeError::Child(error) => excuse::child(&stage.record, error),
        BridgeError::Broken { .. } => excuse::descriptors(&stage.record),
        _ => false,
    }
}

struct Reader<'a> {
    stage: &'a Stage,
    source: &'a SourceBridge,
    pulse: &'a Pulse,
    random: &'a mut Random,
}

impl Reader<'_> {
    /// Reads to the end, or drops it before.
    fn stream(&mut self, slot: u32) -> Result<(), BridgeError> {
        let (first, many) = (self.random.below(1_000), self.random.below(400));
        let wanted = if self.random.one_in(4) { self.random.below(many) } else { u64::MAX };
        self.pulse.at("open a stream");
        let mut items = self.source.numbers(slot, first, many)?;
        let mut count = 0;
        while count < wanted {
            self.pulse.at("next item");
            // It was opened, so it has run; an error in its midst is told as one of the call.
            let Some(item) = items.next().transpose()? else { break };
            let expected = (first + count, vec![(first + count) as u8; ((first + count) % 64) as usize]);
            self.stage
                .tally
                .check(item == expected, || format!("{NAME}: item {count} of {first} is {}", item.0));
            count += 1;
        }
        self.stage.tally.add(Count::Messages, count);
        if wanted > many && count != many {
            self.stage.tally.wrong(Count::Lost, || format!("{NAME}: {count} items of {many}, and no error"));
        }
        self.pulse.at("drop a stream");
        Ok(())
    }

    /// Has a closure called for each number, and counts.
    fn closure(&mut self, slot: u32) -> Result<(), BridgeError> {
        let (many, enough) = (self.random.below(60), self.random.below(80));
        let (mut called, mut in_order) = (0, true);
        self.pulse.at("call with a closure");
        let visited = self.source.visit(slot, many, |number| {
            in_order &= number == called;
            called += 1;
            number + 1 < enough
        });
        self.stage.tally.add(Count::Messages, called);
        self.stage.tally.check(in_order, || format!("{NAME}: a closure was called out of order"));
        let visited = visited?;
        let (calls, found) = (many.min(enough.max(1)), many.min(enough.saturating_sub(1)));
        self.stage.tally.check((called, visited) == (calls, found), || {
            format!("{NAME}: of {many}, until {enough}: called {called} times, found {visited}")
        });
        Ok(())
    }
}
