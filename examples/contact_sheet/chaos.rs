//! Workers killed at random.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use multiprocess::{WorkerPool, active_children};

/// So long is waited between two kills, on average.
const EVERY: Duration = Duration::from_millis(15);
/// So many more workers are killed than there are files done: what takes long comes to its end as well.
const MORE: u64 = 4;

pub(crate) struct Chaos {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Chaos {
    pub(crate) fn start(pool: WorkerPool) -> Chaos {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        Chaos { is_over, thread: thread::spawn(move || kill_some(&pool, &flag)) }
    }

    /// Says how many were killed.
    pub(crate) fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn kill_some(pool: &WorkerPool, is_over: &AtomicBool) -> u64 {
    let mut killed = 0;
    for turn in 0u64.. {
        let random = RandomState::new().hash_one(turn);
        thread::sleep(EVERY.mul_f64((random >> 32) as f64 / f64::from(1u32 << 31)));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let Ok(counts) = pool.statistics() else { break };
        if killed >= counts.answered + MORE {
            continue;
        }
        let Ok(pids) = pool.pids() else { break };
        let Some(pid) = pids.get(random as usize % pids.len().max(1)) else { continue };
        // By its handle: its number could be another process's by now.
        let victim = active_children().into_iter().find(|child| child.id() == *pid);
        killed += u64::from(victim.is_some_and(|child| child.kill().is_ok()));
    }
    killed
}
