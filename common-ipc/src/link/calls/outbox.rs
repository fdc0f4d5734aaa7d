//! Replies that wait for room, where nobody else may.
//!
//! Whoever replies tries once. What has no room is kept, and a bell rings for the thread that receives: that one waits
//! for room, and while it does, more is kept. So the order of replies, which nobody needs, is that in which they had
//! room.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::{Condvar, Mutex};

use crate::link::attachments::Outgoing;
use crate::link::connection::End;
use crate::link::connection::room::Patience;
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::ownership::descriptors::PrivateFd;

/// What the clones of a server share.
#[derive(Debug)]
pub(super) struct Outbox {
    kept: Mutex<Kept>,
    /// So many bytes are kept at most.
    max: usize,
    /// Whether anything is kept: looked at without the lock.
    is_used: AtomicBool,
    bell: PrivateFd,
    /// Less is kept than before.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    replies: VecDeque<Reply>,
    bytes: usize,
    /// One was lost.
    is_over: bool,
}

#[derive(Debug)]
struct Reply {
    bytes: Vec<u8>,
    outgoing: Option<Box<Outgoing>>,
}

impl Reply {
    fn length(&self) -> usize {
        length(&self.bytes, &self.outgoing)
    }
}

/// What a reply keeps in memory.
fn length(bytes: &[u8], outgoing: &Option<Box<Outgoing>>) -> usize {
    let beside = outgoing.iter().flat_map(|outgoing| &outgoing.buffers);
    beside.fold(bytes.len() + size_of::<Reply>(), |sum, buffer| sum + buffer.len())
}

/// Between two looks at who waits without an end.
const LONGEST: Duration = Duration::from_secs(3600);

impl Outbox {
    pub(super) fn new(max: usize) -> io::Result<Outbox> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = PrivateFd::new(|| Ok(EventFd::from_value_and_flags(0, flags)?.into()))?;
        Ok(Outbox {
            kept: Mutex::default(),
            max,
            is_used: AtomicBool::new(false),
            bell,
            room: Condvar::new(),
        })
    }

    /// Sends a reply, or keeps it; where too much is kept already, once there is less of it, until `deadline`.
    pub(super) fn send(
        &self,
        end: &Arc<End>,
        bytes: &[u8],
        outgoing: &mut Option<Box<Outgoing>>,
        deadline: Deadline,
    ) -> Result<(), LinkError> {
        match end.send_bytes(bytes, outgoing, Patience::None) {
            Ok(_) => return Ok(()),
            Err(LinkError::Full) => {}
            // For the ring, not for the connection.
            Err(LinkError::TooLarge(error)) if error.max < end.max_frame() => {}
            Err(error) => return Err(error),
        }
        let length = length(bytes, outgoing);
        let mut kept = self.kept.lock();
        // One that could never be kept isn't waited for.
        while kept.bytes > 0 && !kept.is_over && kept.bytes.saturating_add(length) > self.max {
            let left = deadline.left().unwrap_or(LONGEST);
            if left.is_zero() || self.room.wait_for(&mut kept, left).timed_out() {
                break;
            }
        }
        if kept.is_over {
            return Err(LinkError::Full);
        }
        if kept.bytes.saturating_add(length) > self.max {
            // Somebody waits for a reply that won't come: whoever receives is to end it.
            kept.is_over = true;
            self.is_used.store(true, Ordering::SeqCst);
            return Err(LinkError::Full);
        }
        kept.bytes += length;
        kept.replies.push_back(Reply { bytes: bytes.to_vec(), outgoing: outgoing.take() });
        self.is_used.store(true, Ordering::SeqCst);
        drop(kept);
        // It fails when it is readable already.
        let _ = nix::unistd::write(self.bell.get()?, &1u64.to_ne_bytes());
        Ok(())
    }

    /// Sends all that is kept, waiting for room, and lends what is readable when there is more.
    pub(super) fn send_all(&self, end: &Arc<End>) -> Result<BorrowedFd<'_>, LinkError> {
        let bell = self.bell.get()?;
        while self.is_used.load(Ordering::SeqCst) {
            // Before the look: what is kept after it rings again.
            let _ = nix::unistd::read(bell, &mut [0; 8]);
            let mut kept = self.kept.lock();
            if kept.is_over {
                return Err(LinkError::Full);
            }
            let Some(mut reply) = kept.replies.pop_front() else {
                self.is_used.store(false, Ordering::SeqCst);
                break;
            };
            drop(kept);
            let length = reply.length();
            let sent = end.send_bytes(&reply.bytes, &mut reply.outgoing, Patience::Until(Deadline::NEVER));
            let mut kept = self.kept.lock();
            kept.bytes -= length;
            kept.is_over |= sent.is_err();
            drop(kept);
            self.room.notify_all();
            sent?;
        }
        Ok(bell)
    }
}
