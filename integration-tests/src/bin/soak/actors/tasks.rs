//! Tasks of `offspring`, several at once, each with an end of its own; some are waited for, some dropped, some killed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common_ipc::testing::Random;
use offspring::{Handle, spawn_in};

use crate::model::deed::{Answer, Deed, Judge, Order, carry_out, limited};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "tasks";
const AT_ONCE: usize = 4;

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let Ok(ledger) = Ledger::new(4_096) else { return };
    while !stage.is_over() {
        let mut tasks = Tasks {
            stage,
            judge: stage.judge(NAME, &ledger),
            ledger: &ledger,
            pulse: &pulse,
            running: VecDeque::new(),
            callbacks: Vec::new(),
        };
        let round = Round::begin(stage);
        while round.goes_on() {
            let Some(slot) = ledger.take() else { break };
            tasks.begin(slot, &mut random);
            rest(&mut random, Duration::from_millis(20));
            while tasks.running.len() > AT_ONCE {
                tasks.end(&mut random);
            }
        }
        while !tasks.running.is_empty() {
            tasks.end(&mut random);
        }
        tasks.look_at_callbacks();
        pulse.at("wait for those whose handles were dropped");
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
    }
    pulse.over();
}

/// One that runs.
struct Running {
    slot: u32,
    deed: Deed,
    since: Instant,
    task: Handle<Answer, Order>,
}

struct Tasks<'a> {
    stage: &'a Stage,
    judge: Judge<'a>,
    ledger: &'a Ledger,
    pulse: &'a Pulse,
    running: VecDeque<Running>,
    /// How often the callback of each that has one was called.
    callbacks: Vec<Arc<AtomicU32>>,
}

impl Tasks<'_> {
    fn begin(&mut self, slot: u32, random: &mut Random) {
        let (deed, options) = match random.below(50) {
            0 => (Deed::Devour, limited(options(NAME))),
            _ => (Deed::any(random), options(NAME)),
        };
        self.pulse.at("start");
        let since = Instant::now();
        match spawn_in(&self.stage.zygote, options, carry_out, (self.ledger.marks(), slot, deed)) {
            Ok(task) => {
                self.stage.tally.one(Count::Started);
                if random.one_in(4) {
                    self.have_called_back(&task);
                }
                self.running.push_back(Running { slot, deed, since, task });
            }
            Err(error) => {
                self.judge.not_begun(slot, &error);
                let is_explained = excuse::start(&self.stage.record, &error);
                self.stage.tally.check(is_explained, || format!("{NAME}: not started: {error}"));
            }
        }
    }

    fn have_called_back(&mut self, task: &Handle<Answer, Order>) {
        let called = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&called);
        let Some(child) = task.process() else { return };
        match child.on_exit(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }) {
            Ok(()) => self.callbacks.push(called),
            Err(error) => self
                .stage
                .tally
                .check(excuse::child(&self.stage.record, &error), || format!("{NAME}: no callback: {error}")),
        }
    }

    /// The oldest one.
    fn end(&mut self, random: &mut Random) {
        let Some(Running { slot, deed, since, mut task }) = self.running.pop_front() else { return };
        let (stage, pid) = (self.stage, task.id().unwrap_or(0));
        match random.below(20) {
            // It goes on by itself, and may or may not have run.
            0 => {
                stage.tally.one(Count::GivenUp);
                stage.tally.one(Count::Ended);
                return;
            }
            1 => {
                if let Some(child) = task.process() {
                    stage.record.kill(child);
                }
            }
            2 => {
                self.pulse.at("wait for a moment");
                let _ = task.wait_timeout(Duration::from_micros(random.below(2_000)));
            }
            _ => {}
        }
        self.pulse.at("wait");
        let began = Instant::now();
        match task.wait() {
            Ok(answer) => {
                self.judge.answered(slot, deed, &answer);
                stage.tally.one(Count::Ended);
                if random.one_in(10) {
                    self.again(slot, deed, &mut task);
                }
            }
            Err(error) => {
                stage.blocked.note(NAME, &stage.record, pid, began);
                self.judge.unanswered_by(slot, deed, &error, pid, since);
            }
        }
    }

    /// It has run once, and is to run once more.
    fn again(&self, slot: u32, deed: Deed, task: &mut Handle<Answer, Order>) {
        self.pulse.at("restart");
        self.ledger.say(slot, 1, 2);
        let since = Instant::now();
        if let Err(error) = task.restart() {
            self.ledger.say(slot, 1, 1);
            let is_explained = excuse::start(&self.stage.record, &error);
            return self.stage.tally.check(is_explained, || format!("{NAME}: not restarted: {error}"));
        }
        self.stage.tally.one(Count::Started);
        let pid = task.id().unwrap_or(0);
        self.pulse.at("wait after a restart");
        match task.wait() {
            Ok(answer) => {
                self.judge.answered(slot, deed, &answer);
                self.stage.tally.one(Count::Ended);
                self.ledger.say(slot, 2, 2);
            }
            Err(error) => {
                self.judge.unanswered_by(slot, deed, &error, pid, since);
                self.ledger.say(slot, 1, 2);
            }
        }
    }

    /// Each end is told once, a moment later.
    fn look_at_callbacks(&mut self) {
        self.pulse.at("callbacks");
        let called = |count: &Arc<AtomicU32>| count.load(Ordering::SeqCst);
        while self.callbacks.iter().any(|count| called(count) == 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        for count in self.callbacks.drain(..) {
            self.stage.tally.one(Count::Callbacks);
            if called(&count) > 1 {
                self.stage.tally.wrong(Count::Double, || format!("{NAME}: {} callbacks", called(&count)));
            }
        }
    }
}
