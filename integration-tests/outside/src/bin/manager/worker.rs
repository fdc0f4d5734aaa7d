//! What runs in each of the workers' processes.

use std::sync::atomic::{AtomicU64, Ordering};

use multiprocess::memory::{MemoryError, SharedArray, SharedAtomics};
use multiprocess::{Backend, Context, RemoteError, Reply};
use serde::{Deserialize, Serialize};

/// How many elements a frame has.
pub const FRAME: usize = 64 * 64;

#[derive(Serialize, Deserialize)]
pub enum Command {
    /// Fills the shared array with this number.
    Fill { frame: u64 },
    /// Asks how many frames there were in this run.
    Count { nonce: u64, reply: Reply<Counted> },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Counted {
    pub nonce: u64,
    pub pid: u32,
    pub frames: u64,
}

/// A frame is in the array: the so-manieth one of this run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Filled {
    pub frame: u64,
    pub nth: u64,
    pub pid: u32,
}

/// Memory that a worker shares with the program. It outlives the worker's runs.
#[derive(Clone, Serialize, Deserialize)]
pub struct Shared {
    pub frame: SharedArray<u64>,
    sent: SharedAtomics,
}

impl Shared {
    pub fn new() -> Result<Shared, MemoryError> {
        Ok(Shared { frame: SharedArray::new(FRAME)?, sent: SharedAtomics::new(2)? })
    }

    /// How many events the run has begun to send. When it is killed, the last one has been sent or it hasn't.
    pub fn begun(&self) -> &AtomicU64 {
        &self.sent[0]
    }

    /// How many events the run has sent for certain.
    pub fn done(&self) -> &AtomicU64 {
        &self.sent[1]
    }
}

#[derive(Serialize, Deserialize)]
pub struct Worker {
    shared: Shared,
    frames: u64,
}

impl Worker {
    pub fn new(shared: Shared) -> Worker {
        Worker { shared, frames: 0 }
    }
}

impl Backend for Worker {
    type Command = Command;
    type Event = Filled;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        let pid = std::process::id();
        match command {
            Command::Fill { frame } => {
                for place in 0..FRAME {
                    self.shared.frame.set(place, frame)?;
                }
                self.frames += 1;
                self.shared.begun().fetch_add(1, Ordering::SeqCst);
                cx.send_out(&Filled { frame, nth: self.frames, pid })?;
                self.shared.done().fetch_add(1, Ordering::SeqCst);
            }
            Command::Count { nonce, reply } => reply.send(&Counted { nonce, pid, frames: self.frames })?,
        }
        Ok(())
    }
}
