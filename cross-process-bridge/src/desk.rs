//! In the object's process: what has come beside the call that is carried out.

use std::cell::RefCell;
use std::collections::VecDeque;

use common_ipc::link::{KeptRequest, LinkError, OpenRequest, OpenServer};

use crate::method;
use crate::reception::Reception;
use crate::reply::{Answer, Failure};

/// Where requests come in.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) server: &'a OpenServer,
    /// What has come while the object was occupied, and is carried out afterwards, before anything else.
    kept: RefCell<VecDeque<KeptRequest>>,
    pub(crate) reception: Reception,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(server: &'a OpenServer) -> Desk<'a> {
        Desk { server, kept: RefCell::default(), reception: Reception::default() }
    }

    /// The next request that is to be carried out.
    pub(crate) fn next<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<OpenRequest<'b>, LinkError> {
        let kept = self.kept.borrow_mut().pop_front();
        match kept {
            Some(kept) => Ok(kept.lend(buffer)),
            None => self.server.recv(buffer),
        }
    }

    /// They are carried out later.
    pub(crate) fn keep(&self, requests: impl IntoIterator<Item = KeptRequest>) {
        self.kept.borrow_mut().extend(requests);
    }
}

/// What becomes of a request that can't be carried out now, since a call of `by` occupies the object. One that nobody waits
/// for comes later: there are no more of them than threads that were about to send one when they couldn't know of the other
/// call.
pub(crate) fn turn_away(request: OpenRequest<'_>, by: &str) -> Option<KeptRequest> {
    let responder = match request.what() {
        // Of something that was over when it came.
        method::GIVE_UP => return None,
        method::NEXT | method::RESUME => {
            Answer::of(request.responder()).failure(Failure::Unknown);
            return None;
        }
        _ if request.wants_reply() => request.responder(),
        _ => return Some(request.keep()),
    };
    Answer::of(responder).failure(Failure::Busy { by: by.to_owned() });
    None
}
