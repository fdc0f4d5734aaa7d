//! `web_chaos [SECONDS]`: starts `web_service`, asks it from many sides for so long while it kills its children, and
//! looks whether anything is noticed that shouldn't be. Prints how often what happened; exit code 1 if anything is wrong:
//!
//! - each request has an answer in time, which is right or says why there is none,
//! - each child that was killed was started again; all run in the end, and answer,
//! - SIGTERM ends the service with exit code 0, and so does, in a second and shorter round, Ctrl-C,
//! - no process of it is left then.

mod client;
mod killing;
mod service;

use std::collections::HashSet;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::client::{Client, Seen};
use crate::killing::{kill_children, settle};
use crate::service::{Service, processes_of};

const CLIENTS: usize = 8;
const MOST: usize = 20_000;

#[derive(Deserialize)]
struct Work {
    child: String,
    start: u64,
    steps: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let wrong = tokio::select! {
        wrong = rounds(Duration::from_secs(seconds)) => wrong?,
        // What is dropped kills the service.
        _ = terminate.recv() => return Err("SIGTERM".into()),
        _ = tokio::signal::ctrl_c() => return Err("SIGINT".into()),
    };
    wrong.iter().for_each(|what| println!("WRONG: {what}"));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn rounds(time: Duration) -> Result<Vec<String>, Box<dyn Error>> {
    let mut wrong = round(time, Signal::SIGTERM, false).await?;
    wrong.extend(round(Duration::from_secs(2), Signal::SIGINT, true).await?);
    Ok(wrong)
}

/// What was wrong.
async fn round(time: Duration, last: Signal, to_all: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let mut service = Service::start().await?;
    let end = Instant::now() + time;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(work(service.address, end))).collect();
    clients.push(tokio::spawn(reload(service.address, end)));

    let mut client = Client::new(service.address);
    let killed = kill_children(service.pid, &mut client, end).await;
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await?);
    }
    let children = settle(&mut client, &killed.pids).await;
    all_answer(&mut client).await;
    seen.add(client.seen);
    let mut wrong = std::mem::take(&mut seen.wrong);
    let more = wrong.drain(wrong.len().min(10)..).count();
    if more > 0 {
        wrong.push(format!("and {more} times more"));
    }

    let restarts: u64 = children.iter().map(|child| child.restarts).sum();
    let kills = killed.pids.len() as u64;
    if restarts < kills {
        wrong.push(format!("{kills} children were killed, and only {restarts} started again"));
    }
    let before = processes_of(service.pid);
    if before.len() < children.len() || before.iter().any(|process| process.is_zombie()) {
        wrong.push(format!("before the end: {before:?}"));
    }
    let begin = Instant::now();
    match service.end(last, to_all).await {
        Ok(status) if status.success() => {}
        Ok(status) => wrong.push(format!("{last} ended the service with {status}")),
        Err(error) => wrong.push(format!("{last}: {error}")),
    }
    let ended_after = begin.elapsed();
    // Those that die with the service do so at the same time, not before it.
    let gone_by = Instant::now() + Duration::from_secs(2);
    while !processes_of(service.pid).is_empty() && Instant::now() < gone_by {
        sleep(Duration::from_millis(5)).await;
    }
    let left = processes_of(service.pid);
    if !left.is_empty() {
        wrong.push(format!("left of {before:?}: {left:?}"));
    }

    println!("{} s, then {last}, which took {ended_after:.1?}:", time.as_secs());
    for (what, count) in killed.how.iter().chain(&seen.answers) {
        println!("{count:8} {what}");
    }
    println!("{restarts:8} restarts after {kills} kills");
    println!("{:8} processes of the service before its end, {} after it", before.len(), left.len());
    println!("         the slowest answers: {:.1?}", seen.slowest);
    Ok(wrong)
}

/// Asks for work, and checks what comes.
async fn work(address: SocketAddr, end: Instant) -> Seen {
    let mut client = Client::new(address);
    let expected = longest_chains();
    while Instant::now() < end {
        let n = fastrand::usize(1..=MOST);
        check_work(&mut client, n, expected[n]).await;
        sleep(Duration::from_millis(5)).await;
    }
    client.seen
}

/// The child that has answered.
async fn check_work(client: &mut Client, n: usize, (start, steps): (u64, u32)) -> Option<String> {
    let (status, body) = client.ask("GET", &format!("/work?n={n}")).await?;
    if status != 200 {
        if !body.starts_with("worker-") {
            client.seen.wrong.push(format!("{status} without a cause: {body}"));
        }
        return None;
    }
    match serde_json::from_str::<Work>(&body) {
        Ok(work) if (work.start, work.steps) == (start, steps) => Some(work.child),
        _ => {
            client.seen.wrong.push(format!("{body} instead of {start}, {steps} for {n}"));
            None
        }
    }
}

/// For each number, from which up to it the chain of halves and triples to 1 is the longest, and how long that is.
fn longest_chains() -> Vec<(u64, u32)> {
    let length = |start: u64| {
        let next = |n: &u64| Some(if n % 2 == 1 { 3 * n + 1 } else { n / 2 });
        std::iter::successors(Some(start), next).take_while(|n| *n != 1).count() as u32
    };
    let mut longest = (1, 0);
    let chains = (1..=MOST as u64).map(|start| {
        let steps = length(start);
        if steps > longest.1 {
            longest = (start, steps);
        }
        longest
    });
    std::iter::once((1, 0)).chain(chains).collect()
}

/// Has all children replaced now and then.
async fn reload(address: SocketAddr, end: Instant) -> Seen {
    let mut client = Client::new(address);
    while Instant::now() + Duration::from_secs(1) < end {
        sleep(Duration::from_millis(fastrand::u64(500..3000))).await;
        client.ask("POST", "/reload").await;
    }
    client.seen
}

/// Each gives a request to another child while there is nothing else to do.
async fn all_answer(client: &mut Client) {
    let mut names = HashSet::new();
    for _ in 0..12 {
        // The longest up to 9 is of 9.
        names.extend(check_work(client, 9, (9, 19)).await);
    }
    if names.len() != 4 {
        client.seen.wrong.push(format!("in the end only {names:?} answer"));
    }
}
