//! A pool of `pkit`, each of whose tasks has a process of its own.

use std::time::Duration;

use common_ipc::testing::Random;
use pkit::{PoolError, ProcessPool, TaskError};

use crate::model::deed::{Answer, Deed, Judge, carry_out};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "pools";
const LIMIT: Duration = Duration::from_millis(40);

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let Ok(ledger) = Ledger::new(4_096) else { return };
    while !stage.is_over() {
        let Ok(pool) = ProcessPool::new(3) else { return };
        let pool = pool.options(options(NAME)).task_timeout(LIMIT);
        let round = Round::begin(stage);
        while round.goes_on() {
            rest(&mut random, Duration::from_millis(400));
            let judge = stage.judge(NAME, &ledger);
            let orders: Vec<_> = (0..1 + random.below(40))
                .map_while(|_| ledger.take())
                .map(|slot| (slot, one(&mut random)))
                .collect();
            if orders.is_empty() {
                break;
            }
            pulse.at("map");
            let items = orders.iter().map(|(slot, deed)| (ledger.marks(), *slot, *deed));
            // Dropped in its midst, a map leaves alone what runs, and begins nothing more.
            let wanted = if random.one_in(5) { random.below(20) as usize } else { usize::MAX };
            let mut results = pool.map_in(&stage.zygote, items, carry_out);
            let mut count = 0;
            while count < wanted {
                pulse.at("next result");
                let Some(result) = results.next() else { break };
                if let Some((slot, deed)) = orders.get(count) {
                    look(stage, &judge, *slot, *deed, result);
                }
                count += 1;
            }
            if count < wanted && count != orders.len() {
                stage.tally.wrong(Count::Lost, || format!("{NAME}: {count} results of {}", orders.len()));
            }
        }
        pulse.at("close");
        if let Err(error) = pool.close() {
            let is_explained =
                matches!(&error, PoolError::Child(error) if excuse::child(&stage.record, error));
            stage.tally.check(is_explained, || format!("{NAME}: close: {error}"));
        }
        pulse.at("wait for all");
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
    }
    pulse.over();
}

/// Some take too long.
fn one(random: &mut Random) -> Deed {
    if random.one_in(40) { Deed::Sleep(LIMIT.as_micros() as u64 * 4) } else { Deed::any(random) }
}

fn look(stage: &Stage, judge: &Judge<'_>, slot: u32, deed: Deed, result: Result<Answer, TaskError>) {
    // By which number a task ran isn't told; but that children of this name are killed is known.
    let killed = |_| stage.record.killed_named(NAME) > 0;
    let error = match result {
        Ok(answer) => {
            judge.answered(slot, deed, &answer);
            return stage.tally.add_both(Count::Started, Count::Ended);
        }
        Err(error) => error,
    };
    match &error {
        TaskError::TimedOut { .. } => {
            judge.failed(slot, common_ipc::link::Execution::Unknown, &error);
            stage.tally.add_both(Count::Started, Count::Ended);
        }
        TaskError::Join(error) => {
            judge.unanswered(slot, deed, error, killed);
            stage.tally.add_both(Count::Started, Count::Ended);
        }
        TaskError::Start(error) => {
            judge.not_begun(slot, error);
            let is_explained = match error {
                PoolError::Start(error) => excuse::start(&stage.record, error),
                PoolError::Child(error) => excuse::child(&stage.record, error),
                _ => false,
            };
            stage.tally.check(is_explained, || format!("{NAME}: {error}"));
        }
        _ => stage.tally.check(false, || format!("{NAME}: {error}")),
    }
}
