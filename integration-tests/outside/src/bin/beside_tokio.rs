//! `beside_tokio SECONDS`: a program with an async runtime that starts, restarts and loses children for so long, from
//! several tasks at once, and whose zygote is killed now and then. Prints what became of them; exit code 1 if
//! anything went another way than it should, or is left.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use offspring::link::Connection;
use offspring::{Handle, JoinError, LaunchOptions, StartError, Subprocess, Zygote, spawn_in};
use serde::{Deserialize, Serialize};

/// What a child does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
enum Fate {
    Returns(u64),
    Panics,
    Exits,
    Aborts,
    Sleeps,
}

impl Subprocess for Fate {
    type Output = u64;

    fn run(&mut self) -> u64 {
        match self {
            Fate::Returns(number) => *number,
            Fate::Panics => panic!("as told"),
            Fate::Exits => std::process::exit(3),
            Fate::Aborts => std::process::abort(),
            Fate::Sleeps => {
                std::thread::sleep(Duration::from_secs(600));
                0
            }
        }
    }
}

type Counts = BTreeMap<&'static str, u64>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Before `init`, so that children have it.
    std::panic::set_hook(Box::new(|_| {}));
    offspring::init()?;
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let mut kept = offspring::spawn_restartable(LaunchOptions::new(), std::process::id)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build()?;
    let (counts, wrong) = runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut workers: Vec<_> =
            (0..4).map(|seed| tokio::task::spawn_blocking(move || work(seed, end))).collect();
        workers.push(tokio::task::spawn_blocking(move || kill_zygotes(end)));
        workers.push(tokio::task::spawn_blocking(move || restart(&mut kept, end)));
        // The runtime has work of its own meanwhile.
        let ticks = tokio::spawn(async move {
            let mut ticks = 0;
            while Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(10)).await;
                ticks += 1;
            }
            ticks
        });
        let (mut counts, mut wrong) = (Counts::new(), Vec::new());
        for worker in workers {
            match worker.await {
                Ok(Ok(more)) => more.into_iter().for_each(|(what, n)| *counts.entry(what).or_default() += n),
                Ok(Err(error)) => wrong.push(error),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        counts.insert("ticks of the runtime", ticks.await.unwrap_or_default());
        (counts, wrong)
    });
    for (what, count) in &counts {
        println!("{count:8} {what}");
    }
    wrong.iter().for_each(|error| println!("WRONG: {error}"));
    let left = offspring::active_children();
    left.iter().for_each(|child| println!("LEFT: {child:?}"));
    Ok(if wrong.is_empty() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts tasks of all fates, and restarts each.
fn work(seed: u64, end: Instant) -> Result<Counts, String> {
    let zygote = Zygote::global();
    let mut counts = Counts::new();
    for number in seed.. {
        if Instant::now() > end {
            break;
        }
        let fates = [Fate::Returns(number), Fate::Panics, Fate::Exits, Fate::Aborts, Fate::Sleeps];
        let fate = fates[number as usize % fates.len()];
        let Some(mut task) = unless_lost(fate.spawn_in(&zygote, LaunchOptions::new()), &mut counts)? else {
            continue;
        };
        *counts.entry(outcome(fate, &task)?).or_default() += 1;
        if unless_lost(task.restart(), &mut counts)?.is_some() {
            *counts.entry("restarted").or_default() += 1;
            *counts.entry(outcome(fate, &task)?).or_default() += 1;
        }
        talk(&zygote, number, &mut counts)?;
    }
    Ok(counts)
}

/// The zygote may have been killed at this very moment.
fn unless_lost<T>(started: Result<T, StartError>, counts: &mut Counts) -> Result<Option<T>, String> {
    match started {
        Ok(started) => Ok(Some(started)),
        Err(StartError::ServerDied { .. }) => {
            *counts.entry("starts that lost their zygote").or_default() += 1;
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn outcome(fate: Fate, task: &Handle<u64, Fate>) -> Result<&'static str, String> {
    if let Fate::Sleeps = fate {
        task.kill().map_err(|error| error.to_string())?;
    }
    match (fate, task.wait_timeout(PATIENCE)) {
        (Fate::Returns(number), Ok(Some(output))) if output == number => Ok("returned"),
        (Fate::Panics, Err(JoinError::Panicked(_))) => Ok("panicked"),
        (Fate::Exits, Err(JoinError::Died(status))) if status.code() == Some(3) => Ok("exited"),
        (Fate::Aborts | Fate::Sleeps, Err(JoinError::Died(status))) if status.signal().is_some() => {
            Ok("killed")
        }
        (_, other) => Err(format!("{fate:?}: {other:?}")),
    }
}

/// With one that is talked to.
fn talk(zygote: &Zygote, number: u64, counts: &mut Counts) -> Result<(), String> {
    let (here, there) = Connection::<u64, u64>::pair().map_err(|error| error.to_string())?;
    let answer =
        |there: Connection<u64, u64>| while there.recv().is_ok_and(|n| there.send(&(n + 1)).is_ok()) {};
    let Some(task) = unless_lost(spawn_in(zygote, LaunchOptions::new(), answer, there), counts)? else {
        return Ok(());
    };
    for n in number..number + 10 {
        here.send(&n).map_err(|error| error.to_string())?;
        let answer = here.recv_timeout(PATIENCE).map_err(|error| error.to_string())?;
        if answer != Some(n + 1) {
            return Err(format!("{answer:?} instead of {}", n + 1));
        }
    }
    drop(here);
    task.join().map_err(|error| error.to_string())?;
    *counts.entry("talked to").or_default() += 1;
    Ok(())
}

fn kill_zygotes(end: Instant) -> Result<Counts, String> {
    let mut killed = 0;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(300));
        if let Some(pid) = Zygote::global().id() {
            let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            killed += u64::from(kill.is_ok_and(|status| status.success()));
        }
    }
    Ok(Counts::from([("zygotes killed", killed)]))
}

fn restart(task: &mut Handle<u32>, end: Instant) -> Result<Counts, String> {
    let mut restarted = 0;
    while Instant::now() < end {
        let pid = task.wait().map_err(|error| error.to_string())?;
        if Some(pid) != task.id() {
            return Err(format!("{pid} is not {:?}", task.id()));
        }
        task.restart().map_err(|error| error.to_string())?;
        restarted += 1;
    }
    task.wait().map_err(|error| error.to_string())?;
    Ok(Counts::from([("restarted from a template", restarted)]))
}
