//! A process that has children of each kind, all of them busy, and that is killed in the midst of it, or ends by itself.
//! Nothing may be left below it: what is comes to the outer process of the soak, which counts it.

use std::time::{Duration, Instant};

use common_ipc::link::Queue;
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Stdio, Zygote, init};
use cross_process_bridge::bridge;
use cross_process_bridge::manager::Manager;
use offspring::spawn_in;
use pkit::supervisor::{ChildSpec, Supervisor};
use pkit::{Process, ProcessPool, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::model::deed::{Deed, carry_out};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::{Count, Tally};
use crate::model::watch::Pulse;
use crate::stage::{Stage, options, rest};

const NAME: &str = "nested";
const LONG: Deed = Deed::Sleep(3_600_000_000);
/// What it has when all are there: two for its fork servers, which nobody has started by name.
const CHILDREN: u64 = 9;

pub(crate) struct Echo;

#[bridge]
impl Echo {
    pub(crate) fn new() -> Echo {
        Echo
    }

    pub(crate) fn echo(&self, number: u64) -> u64 {
        number
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Square {
    number: u64,
    reply: Reply<u64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Squares;

impl Backend for Squares {
    type Command = Square;
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, Square { number, reply }: Square) -> Result<(), RemoteError> {
        Ok(reply.send(&(number * number))?)
    }
}

impl Square {
    pub(crate) fn asked(number: u64) -> impl FnOnce(Reply<u64>) -> Square {
        move |reply| Square { number, reply }
    }
}

#[derive(Serialize, Deserialize)]
struct Plan {
    tally: Tally,
    pulse: Pulse,
    /// One that counts runs, and one that says when all are there.
    marks: SharedAtomics,
    micros: u64,
}

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let inner = stage.watch.pulse("nested, within");
    let Ok(ledger) = Ledger::new(2) else { return };
    while !stage.is_over() {
        let micros = random.below(40_000);
        let plan = Plan { tally: stage.tally.clone(), pulse: inner.clone(), marks: ledger.marks(), micros };
        pulse.at("start");
        let since = Instant::now();
        let options = options(NAME).stderr(Stdio::Inherit);
        let task = match spawn_in(&stage.zygote, options, live, plan) {
            Ok(task) => task,
            Err(error) => {
                stage.not_started(NAME, &error, excuse::start(&stage.record, &error));
                continue;
            }
        };
        stage.tally.one(Count::Started);
        // Half of them end by themselves, unless the monkey comes first.
        if random.one_in(2) {
            pulse.at("wait for a moment");
            let patience = random.up_to(Duration::from_millis(60));
            if !matches!(task.wait_timeout(patience), Ok(None)) {
                pulse.at("it has ended");
            } else if let Some(child) = task.process() {
                stage.record.kill(child);
            }
        }
        pulse.at("wait");
        let (pid, began) = (task.id().unwrap_or(0), Instant::now());
        match task.wait() {
            Ok(failed) => failed.into_iter().for_each(|text| {
                stage.tally.check(false, || format!("{NAME}: {text}"));
            }),
            Err(error) => stage.not_ended(NAME, pid, &error, [since, began]),
        }
        stage.tally.one(Count::Ended);
        inner.over();
        drop(task);
        rest(&mut random, Duration::from_millis(100));
    }
    pulse.over();
}

/// In the process. Returns what was wrong.
fn live(plan: Plan) -> Vec<String> {
    let begun = Instant::now();
    match try_to_live(&plan, begun) {
        Ok(()) => Vec::new(),
        Err(error) => vec![error.to_string()],
    }
}

fn try_to_live(plan: &Plan, begun: Instant) -> Result<(), Box<dyn std::error::Error>> {
    let (pulse, tally) = (&plan.pulse, &plan.tally);
    pulse.here("init");
    init()?;
    let zygote = Zygote::global();
    let order = |deed| (plan.marks.clone(), 0, deed);
    pulse.at("a task");
    let task = spawn_in(&zygote, options("below"), carry_out, order(LONG))?;
    pulse.at("a process");
    let process =
        Process::builder().options(options("below")).build_function_in(&zygote, carry_out, order(LONG));
    process.start()?;
    pulse.at("a pool");
    let pool = ProcessPool::new(2)?.options(options("below"));
    let pooled = pool.execute_in(&zygote, carry_out, &order(LONG))?;
    pulse.at("workers");
    let workers = WorkerPool::builder(2).options(options("below")).build()?;
    pulse.at("a supervisor");
    let spec = ChildSpec::in_zygote("below", &zygote, |order| drop(carry_out(order)), order(LONG));
    let supervisor = Supervisor::builder().child(spec.options(options("below"))).start()?;
    pulse.at("a bridge");
    let echo = EchoBridge::new();
    echo.process().launch_in(&zygote).launch_with(options("below"));
    echo.start()?;
    pulse.at("a message process");
    let squares = MessageProcess::new("below", Squares).launch_in(&zygote).launch_with(options("below"));
    squares.start()?;
    pulse.at("a manager");
    let manager = Manager::builder().options(options("below")).start_in(&zygote)?;
    let queue = Queue::<u64>::new()?;
    let list = manager.list::<u64>()?;
    tally.add(Count::Started, CHILDREN);
    // All of them are busy until it is killed, or its time is over.
    let mut number = 0;
    while begun.elapsed() < Duration::from_micros(plan.micros) {
        number += 1;
        pulse.at("busy");
        let all = (
            echo.echo(number)?,
            squares.request(Square::asked(number))?,
            workers.submit(|number: u64| number, number)?.join()?,
        );
        list.append(&number)?;
        queue.send(&number)?;
        if all != (number, number * number, number) || queue.recv()? != number {
            return Err(format!("{number} gave {all:?}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
        tally.add(Count::Calls, 4);
        tally.add(Count::Fine, 4);
    }
    // In order, or by being dropped.
    if number % 2 == 0 {
        pulse.at("the end of all");
        echo.stop()?;
        squares.stop()?;
        workers.close()?;
        manager.stop()?;
        supervisor.stop()?;
        pool.terminate(Duration::ZERO)?;
        task.kill()?;
        process.kill()?;
    }
    pulse.at("the end");
    drop(pooled);
    tally.add(Count::Ended, CHILDREN);
    Ok(())
}
