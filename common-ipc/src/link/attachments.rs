//! What travels beside a message: descriptors, and long byte strings that nobody copies on the way.
//!
//! A value's `Serialize` can only write bytes. So while a message is encoded, a list of this thread's
//! takes what doesn't go into the bytes, and the bytes hold its place in the list; while it is decoded,
//! another list gives it out again. Outside of a message there are no lists: descriptors are then an
//! error of the value's, and byte strings go into the bytes.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::link::bytes::Bytes;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;

/// So many descriptors a message may carry: what the kernel takes at once (SCM_MAX_FD).
pub(crate) const FDS_MAX: usize = 253;
/// So many byte strings travel beside a message; more go into its bytes.
pub(crate) const BUFFERS_MAX: usize = 64;

/// What an encoded message takes along.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) fds: Vec<(Arc<PrivateFd>, How)>,
    pub(crate) buffers: Vec<Bytes>,
}

/// What came with a message and wasn't taken yet.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) fds: Vec<Option<PrivateFd>>,
    pub(crate) buffers: Vec<Option<Bytes>>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.buffers.is_empty()
    }
}

impl Incoming {
    pub(crate) fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.buffers.is_empty()
    }
}

/// Cheap to ask: most messages take nothing along.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Collecting {
    No,
    Nothing,
    Something,
}

thread_local! {
    static COLLECTING: Cell<Collecting> = const { Cell::new(Collecting::No) };
    static OUTGOING: RefCell<Outgoing> = const { RefCell::new(Outgoing { fds: Vec::new(), buffers: Vec::new() }) };
    static INCOMING: RefCell<Incoming> = const { RefCell::new(Incoming { fds: Vec::new(), buffers: Vec::new() }) };
}

/// Runs `encode`, which doesn't panic, and returns what its values want to take along. A value's `Serialize`
/// may itself send a message: each has a list of its own.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Outgoing) {
    let before = COLLECTING.replace(Collecting::Nothing);
    if before == Collecting::Something {
        return collect_within(encode);
    }
    let result = encode();
    let outgoing = match COLLECTING.replace(before) {
        Collecting::Something => OUTGOING.take(),
        _ => Outgoing::default(),
    };
    (result, outgoing)
}

#[cold]
fn collect_within<R>(encode: impl FnOnce() -> R) -> (R, Outgoing) {
    let outer = OUTGOING.take();
    let result = encode();
    COLLECTING.set(Collecting::Something);
    (result, OUTGOING.replace(outer))
}

/// Runs `decode`, which doesn't panic, with what came along; whatever it doesn't take is dropped.
#[inline]
pub(crate) fn offer<R>(incoming: Incoming, decode: impl FnOnce() -> R) -> R {
    if incoming.is_empty() {
        return decode();
    }
    let outer = INCOMING.replace(incoming);
    let result = decode();
    drop(INCOMING.replace(outer));
    result
}

/// Has the message that is being encoded take a descriptor along, and returns its place.
///
/// # Errors
///
/// What to tell the user: there is no such message, or it has too many.
pub(crate) fn attach(fd: &Arc<PrivateFd>, how: How) -> Result<u32, &'static str> {
    if COLLECTING.get() == Collecting::No {
        return Err("it has descriptors, which only a Connection or a Queue carries to another process");
    }
    fd.get().map_err(|_| "it belongs to another process, or was given away")?;
    OUTGOING.with_borrow_mut(|outgoing| {
        COLLECTING.set(Collecting::Something);
        // A shared one comes as often as it is there: each place is taken once.
        if how != How::Shared && outgoing.fds.iter().any(|(known, _)| Arc::ptr_eq(known, fd)) {
            return Err("an end that belongs to one process is in the message twice");
        }
        if outgoing.fds.len() == FDS_MAX {
            return Err("a message carries 253 descriptors at the most");
        }
        outgoing.fds.push((Arc::clone(fd), how));
        Ok(outgoing.fds.len() as u32 - 1)
    })
}

/// The descriptor at that place of the message that is being decoded. It can be taken once.
///
/// # Errors
///
/// What to tell the user: there is none.
pub(crate) fn take(place: u32) -> Result<PrivateFd, &'static str> {
    INCOMING.with_borrow_mut(|incoming| {
        let fd = incoming.fds.get_mut(place as usize).and_then(Option::take);
        fd.ok_or("the message names a descriptor that didn't come with it")
    })
}

/// As [`attach`], for bytes. `None`: they go into the message.
pub(crate) fn attach_bytes(bytes: &Bytes) -> Option<u32> {
    if COLLECTING.get() == Collecting::No {
        return None;
    }
    OUTGOING.with_borrow_mut(|outgoing| {
        if outgoing.buffers.len() == BUFFERS_MAX {
            return None;
        }
        COLLECTING.set(Collecting::Something);
        outgoing.buffers.push(bytes.clone());
        Some(outgoing.buffers.len() as u32 - 1)
    })
}

/// As [`take`], for bytes.
pub(crate) fn take_bytes(place: u32) -> Result<Bytes, &'static str> {
    INCOMING.with_borrow_mut(|incoming| {
        let bytes = incoming.buffers.get_mut(place as usize).and_then(Option::take);
        bytes.ok_or("the message names bytes that didn't come with it")
    })
}
