//! The back end's way in.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use common_ipc::link::{LinkError, OpenRequest, OpenServer};
use serde::de::DeserializeOwned;

use crate::message_process::reply::{Asked, AtWork, decoding};
use crate::message_process::wire::{COMMAND, STOP};

/// Commands, as they come from the link.
#[derive(Debug)]
pub(crate) struct Inbox<C> {
    link: OpenServer,
    buffer: Vec<u8>,
    of: PhantomData<fn() -> C>,
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Arrived<C> {
    Command {
        number: u64,
        command: C,
        request: Option<AtWork>,
    },
    /// The text says why.
    Unreadable(String, Option<AtWork>),
    Stop,
}

impl<C: DeserializeOwned> Inbox<C> {
    pub(crate) fn new(link: OpenServer) -> Inbox<C> {
        Inbox { link, buffer: Vec::new(), of: PhantomData }
    }

    /// The next command; `None` if `beside` is readable or the time is over.
    pub(crate) fn next(
        &mut self,
        beside: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Option<Arrived<C>>, LinkError> {
        Ok(self.link.recv_beside(&mut self.buffer, beside, timeout)?.map(read))
    }
}

pub(crate) fn read<C: DeserializeOwned>(request: OpenRequest<'_>) -> Arrived<C> {
    match request.what() {
        COMMAND => {
            let asked = request.wants_reply().then(Asked::default);
            let at_work = asked.as_ref().map(Asked::begin_work);
            let slot = asked.as_ref().map(Asked::slot);
            let (read, responder) = decoding(slot, || request.decode::<(u64, C)>());
            if let Some(asked) = &asked {
                asked.put(responder);
            }
            match read {
                Ok((number, command)) => Arrived::Command { number, command, request: at_work },
                Err(error) => Arrived::Unreadable(error.to_string(), at_work),
            }
        }
        STOP => Arrived::Stop,
        other => Arrived::Unreadable(format!("a message of the unknown kind {other}"), None),
    }
}
