//! A pool whose workers keep something: how many tasks they have begun. Their results are awaited as futures, some of which
//! are dropped in the midst.

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use common_ipc::testing::Random;
use pkit::{StatePool, TaskHandle, WorkError, WorkerPool};

use crate::actors::workers::{end, is_of_a_fault, was_it_so};
use crate::model::deed::{Answer, Deed, Judge, Order, carry_out};
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "states";
const SIZE: usize = 2;
const LIMIT: Duration = Duration::from_millis(60);

/// Whose state it was, and the how manieth task of it.
type Begun = (u32, u64);

fn count(begun: &mut u64, order: Order) -> (Begun, Answer) {
    *begun += 1;
    ((std::process::id(), *begun), carry_out(order))
}

pub(crate) fn run(stage: &Stage) {
    let names = ["states, one", "states, two"];
    let pulses = names.map(|name| stage.watch.pulse(name));
    let mut randoms = names.map(|name| stage.random(name));
    let Ok(ledger) = Ledger::new(1 << 14) else { return };
    while !stage.is_over() {
        let pulse = pulses[0].here("make a pool");
        let builder =
            WorkerPool::builder(SIZE).options(options(NAME)).zygote(&stage.zygote).task_timeout(LIMIT);
        let pool = match builder.with_state(u64::default) {
            Ok(pool) => pool,
            Err(error) => {
                stage.not_started(NAME, &error, is_of_a_fault(stage, &error));
                continue;
            }
        };
        let round = Round::begin(stage);
        let seen: Vec<_> = std::thread::scope(|scope| {
            let clients = pulses.iter().zip(&mut randoms).map(|(pulse, random)| {
                let (pool, ledger, round) = (pool.clone(), &ledger, &round);
                scope.spawn(move || {
                    let judge = stage.judge(NAME, ledger);
                    let mut client = Client { stage, judge, ledger, pool, pulse, random, seen: Vec::new() };
                    pulse.here("begin");
                    while round.goes_on() && client.act() {
                        rest(client.random, Duration::from_millis(15));
                    }
                    pulse.over();
                    client.seen
                })
            });
            let clients: Vec<_> = clients.collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        // Numbers come back late only: a round is far too short for that.
        let different = seen.iter().collect::<HashSet<_>>().len();
        stage.tally.check(different == seen.len(), || {
            format!("{NAME}: a state has counted one task as another: {seen:?}")
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

struct Client<'a> {
    stage: &'a Stage,
    judge: Judge<'a>,
    ledger: &'a Ledger,
    pool: StatePool<u64>,
    pulse: &'a Pulse,
    random: &'a mut Random,
    seen: Vec<Begun>,
}

impl Client<'_> {
    /// Some tasks at once. Whether there is more to do in this round.
    fn act(&mut self) -> bool {
        let mut tasks = Vec::new();
        for _ in 0..1 + self.random.below(10) {
            let deed = if self.random.one_in(20) { Deed::any(self.random) } else { Deed::Return };
            let Some(slot) = self.ledger.take() else { return false };
            self.pulse.at("submit");
            match self.pool.submit(count, (self.ledger.marks(), slot, deed)) {
                Ok(task) => tasks.push((slot, deed, task)),
                Err(error) => {
                    was_it_so(self.stage, &self.judge, slot, deed, Err(error));
                    return false;
                }
            }
        }
        for (slot, deed, task) in tasks {
            self.pulse.at("await");
            // Once it has been asked for, and isn't there yet, it may be forgotten.
            let patience = if self.random.one_in(20) { 1 } else { u32::MAX };
            match awaited(task, patience) {
                Some(Ok((begun, answer))) => {
                    self.seen.push(begun);
                    was_it_so(self.stage, &self.judge, slot, deed, Ok(answer));
                }
                Some(Err(error)) => was_it_so(self.stage, &self.judge, slot, deed, Err(error)),
                None => self.stage.tally.one(Count::GivenUp),
            }
        }
        true
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What the future gives; nothing if it has been dropped after so many tries.
fn awaited<R>(task: TaskHandle<R>, tries: u32) -> Option<Result<R, WorkError>>
where
    TaskHandle<R>: Future<Output = Result<R, WorkError>>,
{
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut task = pin!(task);
    for _ in 0..tries {
        if let Poll::Ready(result) = task.as_mut().poll(&mut context) {
            return Some(result);
        }
        if tries > 1 {
            std::thread::park();
        }
    }
    None
}
