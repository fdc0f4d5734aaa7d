//! Deaths of the service's children, and whether they are got over.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::time::sleep;

use crate::client::Client;
use crate::service::signal_child;

#[derive(Deserialize)]
pub struct Child {
    name: String,
    status: String,
    pid: Option<i32>,
    pub restarts: u64,
    last_failure: Option<String>,
}

#[derive(Default)]
pub struct Killed {
    pub pids: HashSet<i32>,
    pub how: BTreeMap<String, u64>,
}

async fn children(client: &mut Client) -> Vec<Child> {
    match client.ask("GET", "/status").await {
        Some((200, body)) => serde_json::from_str(&body).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Kills about five a second, each process once.
pub async fn kill_children(service: i32, client: &mut Client, end: Instant) -> Killed {
    let mut killed = Killed::default();
    let mut later = Vec::new();
    while Instant::now() < end {
        sleep(Duration::from_millis(fastrand::u64(100..300))).await;
        let children = children(client).await;
        let pids = children.iter().filter_map(|child| child.pid).filter(|pid| !killed.pids.contains(pid));
        let Some(pid) = fastrand::choice(pids.collect::<Vec<_>>()) else { continue };
        let (signal, how) = match fastrand::u32(0..20) {
            0..8 => (Signal::SIGKILL, "SIGKILL"),
            8..13 => (Signal::SIGTERM, "SIGTERM"),
            13..18 => (Signal::SIGSTOP, "SIGSTOP, then SIGKILL"),
            _ => (Signal::SIGSTOP, "SIGSTOP alone"),
        };
        if !signal_child(service, pid, signal) {
            continue;
        }
        if how == "SIGSTOP, then SIGKILL" {
            later.push(tokio::spawn(async move {
                sleep(Duration::from_millis(fastrand::u64(20..600))).await;
                signal_child(service, pid, Signal::SIGKILL);
            }));
        }
        killed.pids.insert(pid);
        *killed.how.entry(how.to_owned()).or_default() += 1;
    }
    for kill in later {
        let _ = kill.await;
    }
    killed
}

/// Waits until all children run that weren't killed.
pub async fn settle(client: &mut Client, killed: &HashSet<i32>) -> Vec<Child> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let children = children(client).await;
        let runs =
            |child: &Child| child.status == "Ready" && child.pid.is_some_and(|pid| !killed.contains(&pid));
        if children.len() == 4 && children.iter().all(runs) {
            return children;
        }
        if Instant::now() > end {
            for Child { name, status, pid, last_failure, .. } in &children {
                let why = last_failure.as_deref().unwrap_or_default();
                client.seen.wrong.push(format!("in the end {name} is {status} ({pid:?}; {why})"));
            }
            client.seen.wrong.push(format!("not all run, of {} children", children.len()));
            return children;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
