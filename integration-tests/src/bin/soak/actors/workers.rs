//! A pool of workers: several threads submit tasks, map, cancel and give up.

use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::testing::Random;
use pkit::{TaskHandle, WorkError, WorkerPool, Workers};

use crate::model::deed::{Answer, Deed, Judge, carry_out};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "workers";
const SIZE: usize = 3;
const ATTEMPTS: u32 = 3;
const LIMIT: Duration = Duration::from_millis(60);

pub(crate) fn run(stage: &Stage) {
    let names = ["workers, one", "workers, two", "workers, three"];
    let pulses = names.map(|name| stage.watch.pulse(name));
    let mut randoms = names.map(|name| stage.random(name));
    let Ok(ledger) = Ledger::new(1 << 15) else { return };
    while !stage.is_over() {
        let pulse = pulses[0].here("make a pool");
        let builder = WorkerPool::builder(SIZE).options(options(NAME)).zygote(&stage.zygote);
        let pool = match builder.recycle_after_tasks(3_000).task_timeout(LIMIT).build() {
            Ok(pool) => pool,
            Err(error) => {
                stage.not_started(NAME, &error, is_of_a_fault(stage, &error));
                continue;
            }
        };
        let round = Round::begin(stage);
        std::thread::scope(|scope| {
            for (pulse, random) in pulses.iter().zip(&mut randoms) {
                let (pool, ledger, round) = (pool.clone(), &ledger, &round);
                scope.spawn(move || {
                    let mut client =
                        Client { stage, judge: stage.judge(NAME, ledger), ledger, pool, pulse, random };
                    pulse.here("begin");
                    while round.goes_on() && client.act() {
                        rest(client.random, Duration::from_millis(15));
                    }
                    pulse.over();
                });
            }
        });
        pulse.at("end");
        end(stage, NAME, &pool, &mut randoms[0]);
        drop(pool);
        pulse.at("wait for all");
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
        pulse.over();
    }
}

/// The pool is closed, or ended, or will be dropped. Then each task that was taken is in one of its counts.
pub(super) fn end(stage: &Stage, who: &str, pool: &Workers, random: &mut Random) {
    let failed = match random.below(4) {
        0 => pool.close().err(),
        1 => pool.terminate(random.up_to(Duration::from_millis(5))).err(),
        2 => pool.close_timeout(random.up_to(Duration::from_millis(20))).err(),
        _ => None,
    };
    if let Some(error) = failed {
        stage.tally.check(is_of_a_fault(stage, &error), || format!("{who}: end: {error}"));
    }
    if let Ok(counts) = pool.statistics() {
        stage.tally.add(Count::Started, counts.started);
        stage.tally.add(Count::Ended, counts.started);
        let all = counts.answered + counts.cancelled + counts.timed_out + counts.lost + counts.given_up;
        let all = all + (counts.waiting + counts.under_way) as u64;
        stage.tally.check(all == counts.submitted, || format!("{who}: the sum isn't right: {counts}"));
    }
}

pub(super) fn is_of_a_fault(stage: &Stage, error: &WorkError) -> bool {
    match error {
        WorkError::Start(error) => excuse::start(&stage.record, error),
        WorkError::Child(error) => excuse::child(&stage.record, error),
        // Three that were killed one after another.
        WorkError::NotReady { .. } => true,
        WorkError::Argument(_) | WorkError::Lost { .. } => excuse::descriptors(&stage.record),
        // A pool that has no worker, and can't have one, ends.
        WorkError::Ended { .. } | WorkError::Closed => true,
        _ => false,
    }
}

struct Client<'a> {
    stage: &'a Stage,
    judge: Judge<'a>,
    ledger: &'a Ledger,
    pool: WorkerPool,
    pulse: &'a Pulse,
    random: &'a mut Random,
}

impl Client<'_> {
    /// Whether there is more to do in this round.
    fn act(&mut self) -> bool {
        match self.random.below(10) {
            0 => self.map(),
            1 => self.many_attempts(),
            _ => self.some(),
        }
    }

    fn order(&mut self) -> Option<(u32, Deed)> {
        let deed = match self.random.below(400) {
            0 => Deed::Sleep(LIMIT.as_micros() as u64 * 4),
            1..20 => Deed::any(self.random),
            _ => Deed::Return,
        };
        Some((self.ledger.take()?, deed))
    }

    /// Some tasks at once, whose results are waited for one after another.
    fn some(&mut self) -> bool {
        let mut handles = Vec::new();
        for _ in 0..1 + self.random.below(20) {
            let Some((slot, deed)) = self.order() else { return false };
            self.pulse.at("submit");
            let began = Instant::now();
            match self.pool.submit(carry_out, (self.ledger.marks(), slot, deed)) {
                Ok(task) => handles.push((slot, deed, began, task)),
                Err(error) => {
                    self.look(slot, deed, Err(error));
                    return false;
                }
            }
        }
        for (slot, deed, _, task) in handles {
            self.one(slot, deed, task);
        }
        true
    }

    fn one(&mut self, slot: u32, deed: Deed, mut task: TaskHandle<Answer>) {
        match self.random.below(60) {
            0 => {
                self.pulse.at("cancel");
                if let Err(error) = task.cancel() {
                    self.stage.tally.check(false, || format!("{NAME}: cancel: {error}"));
                }
            }
            // The task goes on, and nobody hears of it; or it is ended by this.
            1 => return self.stage.tally.one(Count::GivenUp),
            2 => {
                self.stage.tally.one(Count::GivenUp);
                return drop(task.cancel_on_drop());
            }
            3 => {
                self.pulse.at("join for a moment");
                match task.join_timeout(self.random.up_to(Duration::from_micros(200))) {
                    Ok(None) => {}
                    Ok(Some(answer)) => return self.look(slot, deed, Ok(answer)),
                    Err(error) => return self.look(slot, deed, Err(error)),
                }
            }
            _ => {}
        }
        self.pulse.at("join");
        let result = task.join();
        self.look(slot, deed, result);
    }

    /// A task that may be begun by several workers, one after another.
    fn many_attempts(&mut self) -> bool {
        let Some((slot, deed)) = self.order() else { return false };
        self.ledger.say(slot, 0, ATTEMPTS);
        self.pulse.at("submit, with attempts");
        let pool = self.pool.clone().attempts(ATTEMPTS);
        let result = pool.submit(carry_out, (self.ledger.marks(), slot, deed)).and_then(|task| {
            self.pulse.at("join, with attempts");
            task.join()
        });
        let execution = result.as_ref().map_or_else(WorkError::execution, |_| Execution::Ran);
        self.look(slot, deed, result);
        match execution {
            Execution::Ran => self.ledger.say(slot, 1, ATTEMPTS),
            Execution::Unknown => self.ledger.say(slot, 0, ATTEMPTS),
            Execution::NotRun => {}
        }
        true
    }

    /// One for each item, until there are as many results as are wanted.
    fn map(&mut self) -> bool {
        let orders: Vec<_> = (0..1 + self.random.below(60)).map_while(|_| self.order()).collect();
        let marks = self.ledger.marks();
        let items = orders.iter().map(|(slot, deed)| (marks.clone(), *slot, *deed));
        let wanted = if self.random.one_in(4) { self.random.below(20) as usize } else { orders.len() };
        let mut results = self.pool.map(items, carry_out);
        for (count, (slot, deed)) in orders.iter().enumerate().take(wanted) {
            self.pulse.at("next result");
            match results.next() {
                Some(result) => self.look(*slot, *deed, result),
                None => self
                    .stage
                    .tally
                    .wrong(Count::Lost, || format!("{NAME}: {count} results of {}", orders.len())),
            }
        }
        !orders.is_empty()
    }

    fn look(&self, slot: u32, deed: Deed, result: Result<Answer, WorkError>) {
        was_it_so(self.stage, &self.judge, slot, deed, result);
    }
}

/// Judges what became of a task of a pool of workers.
pub(super) fn was_it_so(
    stage: &Stage,
    judge: &Judge<'_>,
    slot: u32,
    deed: Deed,
    result: Result<Answer, WorkError>,
) {
    let error = match result {
        Ok(answer) => return judge.answered(slot, deed, &answer),
        Err(error) => error,
    };
    let killed = stage.record.killed_named(judge.who) > 0;
    let is_true = match &error {
        WorkError::Panicked(_) => deed == Deed::Panic,
        WorkError::Died { status, .. } => deed.ends(status) || (killed && status.signal().is_some()),
        WorkError::TimedOut { .. } => true,
        WorkError::Cancelled { .. } => true,
        error => is_of_a_fault(stage, error),
    };
    stage.tally.check(is_true, || format!("{}: {deed:?} ended so: {error}", judge.who));
    judge.failed(slot, error.execution(), &error);
}
