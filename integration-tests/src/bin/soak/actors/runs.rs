//! Processes of `pkit` that are started again and again by two threads at once, and whose ends are told to callbacks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common_ipc::testing::Random;
use pkit::{ExitStatus, Process, ProcessBuilder, RestartPolicy, StartError};

use crate::model::deed::{Answer, Deed, Order, carry_out};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options, rest};

const NAME: &str = "runs";
const DEEDS: [Deed; 4] = [Deed::Return, Deed::Sleep(4_000), Deed::Exit(5), Deed::Panic];

/// How often the end of each run was told, and how it was.
type Told = Arc<Mutex<BTreeMap<u64, (u32, u32, ExitStatus)>>>;

pub(crate) fn run(stage: &Stage) {
    let pulses = [stage.watch.pulse(NAME), stage.watch.pulse(NAME)];
    let names = ["runs, one", "runs, two"];
    let mut randoms = names.map(|name| stage.random(name));
    let mut random = stage.random(NAME);
    let Ok(ledger) = Ledger::new(1) else { return };
    while !stage.is_over() {
        let deed = DEEDS[random.below(DEEDS.len() as u64) as usize];
        let (Some(slot), told, begun) = (ledger.take(), Told::default(), Instant::now()) else { return };
        ledger.say(slot, 0, 0xffff);
        let process = build(stage, (ledger.marks(), slot, deed), &told);
        std::thread::scope(|scope| {
            for (pulse, random) in pulses.iter().zip(&mut randoms) {
                let round = Round::begin(stage);
                let process = &process;
                scope.spawn(move || {
                    pulse.here("begin");
                    while round.goes_on() {
                        act(stage, process, deed, pulse, random);
                        rest(random, Duration::from_millis(15));
                    }
                    pulse.over();
                });
            }
        });
        let pulse = pulses[0].here("the last one's end");
        let _ = process.kill();
        let _ = process.join();
        let runs = process.generation();
        pulse.at("callbacks");
        while told.lock().unwrap_or_else(PoisonError::into_inner).len() < runs as usize {
            std::thread::sleep(Duration::from_millis(1));
        }
        look(stage, runs, deed, begun, &told, ledger.ran(slot));
        ledger.settle(NAME, &stage.tally);
        pulse.over();
    }
}

fn build(stage: &Stage, order: Order, told: &Told) -> Process<Answer> {
    let told = Arc::clone(told);
    let builder: ProcessBuilder<Answer> = Process::builder();
    builder
        .name(NAME)
        .options(options(NAME))
        .on_exit(move |exit| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = told.entry(exit.generation()).or_insert((0, exit.pid(), exit.status().clone()));
            entry.0 += 1;
        })
        .build_function_in(&stage.zygote, carry_out, order)
}

/// One thing of those that can be done with it. The other thread does something else at the same time.
fn act(stage: &Stage, process: &Process<Answer>, deed: Deed, pulse: &Pulse, random: &mut Random) {
    let started = |result: Result<u32, StartError>| match result {
        Ok(_) => stage.tally.add_both(Count::Started, Count::Ended),
        Err(StartError::StillRunning) => {}
        // It was started, and may have ended by itself.
        Err(StartError::EndedEarly { .. }) => stage.tally.add_both(Count::Started, Count::Ended),
        Err(error) => stage.not_started(NAME, &error, excuse::start(&stage.record, &error)),
    };
    match random.below(16) {
        0..5 => {
            pulse.at("start");
            started(process.start());
        }
        5..7 => {
            pulse.at("start_wait");
            started(process.start_wait());
        }
        7 => {
            pulse.at("restart, terminate");
            started(process.restart(RestartPolicy::Terminate));
        }
        8 => {
            pulse.at("restart, join");
            started(process.restart(RestartPolicy::Join));
        }
        9 => {
            pulse.at("stop");
            let _ = process.stop(random.up_to(Duration::from_millis(3)));
        }
        10 => {
            pulse.at("kill");
            let _ = process.kill();
        }
        11 => {
            pulse.at("join for a moment");
            let _ = process.join_timeout(random.up_to(Duration::from_millis(3)));
        }
        _ => {
            pulse.at("join");
            let (Some(run), began) = (process.open(), Instant::now()) else { return };
            if !run.is_alive().unwrap_or(false) {
                return;
            }
            match run.output() {
                Ok(answer) => {
                    stage.tally.fine();
                    stage.tally.check(
                        answer.bulk.is_empty() && matches!(deed, Deed::Return | Deed::Sleep(_)),
                        || format!("{NAME}: {deed:?} gave {answer:?}"),
                    );
                }
                Err(_) => {
                    stage.blocked.note(NAME, &stage.record, run.pid(), began);
                    stage.tally.failed(common_ipc::link::Execution::Unknown);
                }
            }
        }
    }
}

/// Each end was told once, and is one that can be; the deed was done so often.
fn look(stage: &Stage, runs: u64, deed: Deed, begun: Instant, told: &Told, done: u64) {
    let mut certain = 0;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    for generation in 1..=runs {
        let Some((count, pid, status)) = told.get(&generation) else {
            stage.tally.wrong(Count::Lost, || format!("{NAME}: the end of run {generation} wasn't told"));
            continue;
        };
        stage.tally.one(Count::Callbacks);
        certain += u64::from(status.signal().is_none());
        if *count > 1 {
            stage.tally.wrong(Count::Double, || format!("{NAME}: run {generation} ended {count} times"));
        }
        let is_true = match status {
            ExitStatus::Exited(0) => matches!(deed, Deed::Return | Deed::Sleep(_)),
            ExitStatus::Panicked(_) => deed == Deed::Panic,
            status if deed.ends(status) => true,
            // This actor sends SIGTERM and SIGKILL itself, and doesn't tell.
            status => status.signal().is_some_and(|signal| {
                [nix::libc::SIGTERM, nix::libc::SIGKILL].contains(&signal.as_raw())
                    || excuse::death(&stage.record, *pid, begun, signal.as_raw())
            }),
        };
        stage.tally.check(is_true, || format!("{NAME}: {deed:?} ended so: {status}"));
    }
    let more = told.keys().filter(|generation| **generation > runs).count();
    stage.tally.check((certain..=runs).contains(&done), || {
        format!("{NAME}: {runs} runs, {certain} of which certainly began, began {done} times")
    });
    stage.tally.check(more == 0, || format!("{NAME}: {more} ends of runs that never were"));
}
