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

/// So many descriptors a message may carry: what the kernel takes at once.
pub(crate) use crate::sys::socket::FDS_MAX;
/// So many byte strings travel beside a message; more go into its bytes.
pub(crate) const BUFFERS_MAX: usize = 64;

/// What an encoded message takes along, if anything: most take nothing, and none of their ways is longer
/// for what others need.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) fds: Vec<(Arc<PrivateFd>, How)>,
    pub(crate) buffers: Vec<Bytes>,
}

impl Outgoing {
    /// What belongs to one process, and was claimed for this message.
    pub(crate) fn moved(&self) -> impl Iterator<Item = (&Arc<PrivateFd>, How)> {
        self.fds.iter().filter(|(_, how)| *how != How::Shared).map(|(fd, how)| (fd, *how))
    }

    /// The message was sent: what moved is gone from here.
    pub(crate) fn sent(mut self) {
        for (fd, how) in std::mem::take(&mut self.fds) {
            if how != How::Shared {
                fd.give_away();
            }
        }
    }
}

/// A message that isn't sent leaves everything where it was.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.moved().for_each(|(fd, _)| fd.unclaim());
    }
}

/// What came with a message and wasn't taken yet.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) fds: Vec<Option<PrivateFd>>,
    pub(crate) buffers: Vec<Option<Bytes>>,
    /// The longest frame that may come the way that this message came.
    pub(crate) max_frame: usize,
    /// Should it not be readable, all of it stays its sender's, who has kept copies: what is read of it until
    /// then tells nobody that it is here, nor, when it is dropped, that it is gone.
    pub(crate) provisional: bool,
    /// Its descriptors were closed: this process had no room for them.
    pub(crate) lost: bool,
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
    static INCOMING: RefCell<Incoming> = const { RefCell::new(Incoming { fds: Vec::new(), buffers: Vec::new(), max_frame: 0, provisional: false, lost: false }) };
}

/// Runs `encode`, which doesn't panic, and returns what its values want to take along. A value's `Serialize`
/// may itself send a message: each has a list of its own.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Option<Box<Outgoing>>) {
    let before = COLLECTING.replace(Collecting::Nothing);
    if before == Collecting::Something {
        return collect_within(encode);
    }
    let result = encode();
    let collected = COLLECTING.replace(before) == Collecting::Something;
    (result, collected.then(take_outgoing))
}

#[cold]
fn take_outgoing() -> Box<Outgoing> {
    Box::new(OUTGOING.take())
}

#[cold]
fn collect_within<R>(encode: impl FnOnce() -> R) -> (R, Option<Box<Outgoing>>) {
    let outer = OUTGOING.take();
    let result = encode();
    let collected = COLLECTING.replace(Collecting::Something) == Collecting::Something;
    let inner = OUTGOING.replace(outer);
    (result, collected.then(|| Box::new(inner)))
}

/// Runs `decode`, which doesn't panic, with what came along; whatever it doesn't take is dropped.
pub(crate) fn offer<R>(incoming: Incoming, decode: impl FnOnce() -> R) -> R {
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
    OUTGOING.with_borrow_mut(|outgoing| {
        // What is shared and occurs twice has two places: each is taken once, by whom it is for.
        if how != How::Shared && outgoing.fds.iter().any(|(known, _)| Arc::ptr_eq(known, fd)) {
            return Err("an end that belongs to one process is in the message twice");
        }
        fd.get().map_err(|_| match how {
            How::Shared => {
                "this process has it since it captured it, which isn't enough to send it on: \
                 it must be given as well, at the start (LaunchOptions::give)"
            }
            _ => "it belongs to another process, or was given away",
        })?;
        COLLECTING.set(Collecting::Something);
        if outgoing.fds.len() == FDS_MAX {
            return Err("a message carries 253 descriptors at the most");
        }
        if how != How::Shared {
            // From this moment on: what is encoded of it mustn't change any more.
            fd.claim().map_err(|_| "it was given away")?;
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
        if incoming.lost {
            return Err("this process had no room for the descriptors that came with the message");
        }
        let fd = incoming.fds.get_mut(place as usize).and_then(Option::take);
        fd.ok_or("the message names a descriptor that didn't come with it")
    })
}

/// The longest frame that may come the way that the message came that is being decoded.
pub(crate) fn max_frame() -> usize {
    INCOMING.with_borrow(|incoming| incoming.max_frame)
}

/// Whether the message that is being decoded is its sender's until it was read.
pub(crate) fn is_provisional() -> bool {
    INCOMING.with_borrow(|incoming| incoming.provisional)
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
