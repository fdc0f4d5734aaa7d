//! The back end's way in.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use common_ipc::link::{LinkError, OpenRequest, OpenServer};
use serde::de::DeserializeOwned;

use crate::message_process::reply::{ReplySlot, decoding};
use crate::message_process::wire::{COMMAND, STOP};

/// Commands: those that wait in the link, and before them those that were taken from it by a handler which had to wait
/// itself until there was room for its events.
#[derive(Debug)]
pub(crate) struct Inbox<C> {
    link: OpenServer,
    buffer: Vec<u8>,
    taken_in: VecDeque<(Arrived<C>, usize)>,
    /// How many bytes those had.
    held: usize,
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Arrived<C> {
    Command {
        number: u64,
        command: C,
        reply: Option<ReplySlot>,
    },
    /// The text says why.
    Unreadable(String, Option<ReplySlot>),
    Stop,
}

/// Those that are taken in may have had as many bytes as this, the last one on top.
const HELD_MOST: usize = 64 << 20;

impl<C: DeserializeOwned> Inbox<C> {
    pub(crate) fn new(link: OpenServer) -> Inbox<C> {
        Inbox { link, buffer: Vec::new(), taken_in: VecDeque::new(), held: 0 }
    }

    /// The next command; `None` if `beside` is readable or the time is over.
    pub(crate) fn next(
        &mut self,
        beside: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Option<Arrived<C>>, LinkError> {
        if let Some((arrived, length)) = self.taken_in.pop_front() {
            self.held -= length;
            return Ok(Some(arrived));
        }
        let request = self.link.recv_beside(&mut self.buffer, beside, timeout)?;
        Ok(request.map(read))
    }

    /// Takes in what is there, and says whether there may be more later.
    pub(crate) fn take_in(&mut self) -> bool {
        let mut buffer = Vec::new();
        while self.held < HELD_MOST {
            match self.link.try_recv(&mut buffer) {
                Ok(Some(request)) => {
                    let arrived = read(request);
                    self.held += buffer.len();
                    self.taken_in.push_back((arrived, buffer.len()));
                }
                Ok(None) => return true,
                // It is found again by whoever receives next.
                Err(_) => return false,
            }
        }
        false
    }
}

fn read<C: DeserializeOwned>(request: OpenRequest<'_>) -> Arrived<C> {
    match request.what() {
        COMMAND => {
            let slot = request.wants_reply().then(ReplySlot::default);
            let (read, responder) = decoding(slot.clone(), || request.decode::<(u64, C)>());
            if let Some(slot) = &slot {
                slot.put(responder);
            }
            match read {
                Ok((number, command)) => Arrived::Command { number, command, reply: slot },
                Err(error) => Arrived::Unreadable(error.to_string(), slot),
            }
        }
        STOP => Arrived::Stop,
        other => Arrived::Unreadable(format!("a message of the unknown kind {other}"), None),
    }
}
