//! A child: it takes requests out of a queue of its own, and puts what becomes of them into one that all share.
//!
//! It finishes what it is about before it ends, since it takes the request to stop itself; it says when it is ready,
//! and that it gets on. An error that it returns is a failure like a crash.

use std::error::Error;
use std::time::Duration;

use multiprocess::link::Queue;
use multiprocess::process::{self, LaunchOptions, StopSignals};
use multiprocess::supervisor::{Backoff, ChildSpec};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    pub n: u64,
}

#[derive(Serialize, Deserialize)]
pub enum Reply {
    /// Should the process die now, the request is lost.
    Taken { id: u64, pid: u32 },
    /// Of all chains up to the requested number the longest.
    Done { id: u64, pid: u32, start: u64, steps: u32 },
    /// What the service itself puts in, so that it comes after all that the dead process had put in.
    Died { child: String, pid: u32, cause: String },
}

/// It waits for a request, or for room for a reply, for so long before it looks about.
const BEAT: Duration = Duration::from_millis(50);

pub fn spec(name: &str, requests: &Queue<Request>, replies: &Queue<Reply>) -> ChildSpec {
    let options = LaunchOptions::new().give(requests).give(replies);
    let (requests, replies) = (requests.clone(), replies.clone());
    ChildSpec::new(name, move || work(&requests, &replies))
        .options(options)
        .backoff(Backoff::new(Duration::from_millis(10), Duration::from_millis(100)))
        .hold_stop_signals()
        .grace(Duration::from_secs(2))
        .ready_by_target()
        .ready_timeout(Duration::from_secs(5))
        .hang_timeout(Duration::from_secs(1))
}

fn work(requests: &Queue<Request>, replies: &Queue<Reply>) -> Result<(), Box<dyn Error>> {
    let (pid, stop) = (std::process::id(), StopSignals::held()?);
    process::ready();
    while !stop.wait_timeout(Duration::ZERO)? {
        process::progress();
        let Some(Request { id, n }) = requests.recv_timeout(BEAT)? else { continue };
        replies.send(&Reply::Taken { id, pid })?;
        let (start, steps) = longest_chain(n);
        replies.send(&Reply::Done { id, pid, start, steps })?;
    }
    Ok(())
}

/// From which number up to `n` it takes the most steps to 1, each of which halves an even number and makes an odd one
/// three times as large and one more.
fn longest_chain(n: u64) -> (u64, u32) {
    let mut longest = (1, 0);
    for start in 1..=n {
        process::progress();
        let (mut number, mut steps) = (start, 0);
        while number > 1 {
            number = if number % 2 == 1 { 3 * number + 1 } else { number / 2 };
            steps += 1;
        }
        if steps > longest.1 {
            longest = (start, steps);
        }
    }
    longest
}
