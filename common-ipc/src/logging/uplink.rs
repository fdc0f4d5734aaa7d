//! A child's side: its records are sent to the program.
//!
//! The socket is open for the life of the process, and is its children's as well, so it isn't one of the descriptors
//! that a fork takes away. It is known by what stands behind its number: a child that closes all numbers above 2, and
//! opens others, sends nothing to those. All of this is plain words, which a copy of the process has as it has the
//! socket.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use log::{LevelFilter, Record};
use nix::poll::{PollFd, PollFlags};
use nix::sys::stat::fstat;

use crate::link::poll::{Deadline, wait_until};
use crate::logging::InstallError;
use crate::logging::cutting::beginning;
use crate::logging::record::{Entry, NAME_MAX, Packet};
use crate::ownership::generation::Generation;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// The socket's number; -1: this is no child, or one of a program without the relay.
static NUMBER: AtomicI32 = AtomicI32::new(-1);
static DEVICE: AtomicU64 = AtomicU64::new(u64::MAX);
static INODE: AtomicU64 = AtomicU64::new(u64::MAX);
/// The process whose name the program knows, for it has started that itself.
static KNOWN: AtomicU64 = AtomicU64::new(u64::MAX);
/// How a process finds out its name.
static NAME: OnceLock<fn() -> Option<OsString>> = OnceLock::new();

/// What one process couldn't send.
struct Unsent {
    lost: AtomicU64,
    /// There has been no room for so long that nobody waits for it any more.
    impatient: AtomicBool,
}

impl Unsent {
    const fn new() -> Unsent {
        Unsent { lost: AtomicU64::new(0), impatient: AtomicBool::new(false) }
    }
}

static UNSENT: PerProcess<Unsent> = PerProcess::new(Unsent::new(), Unsent::new);

/// How long a record waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a child that ends waits for room to tell what was lost.
const LAST_PATIENCE: Duration = Duration::from_millis(100);
/// How often it looks: the kernel wakes nobody before most of the room is free again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// In a new child of the program, by a fork: its records go this way. `name` tells what it is called.
pub(crate) fn adopt(socket: OwnedFd, name: fn() -> Option<OsString>) {
    set(socket, name);
    KNOWN.store(Generation::current().number(), Ordering::Relaxed);
}

/// As [`adopt`], in a child of a zygote or template, which was made in another state than the program's. Of a link that
/// is `shared` the program doesn't know who this is.
pub(crate) fn adopt_from_zygote(
    socket: OwnedFd,
    shared: bool,
    level: LevelFilter,
    name: fn() -> Option<OsString>,
) {
    if shared {
        set(socket, name);
    } else {
        adopt(socket, name);
    }
    // If it has another logger, of its own preload, that stays, at its level.
    if matches!(super::become_the_logger(), Ok(()) | Err(InstallError::Installed)) {
        log::set_max_level(level);
    }
}

fn set(socket: OwnedFd, name: fn() -> Option<OsString>) {
    // A descriptor that is open can be looked at.
    let Ok(behind) = fstat(&socket) else { return };
    DEVICE.store(behind.st_dev, Ordering::Relaxed);
    INODE.store(behind.st_ino, Ordering::Relaxed);
    NUMBER.store(sys::descriptors::leak(socket).as_raw_fd(), Ordering::Relaxed);
    let _ = NAME.set(name);
}

/// In a new process that runs nothing of the user's: it lets go of its parent's way to the program.
pub(crate) fn cut_off() {
    if is_set() {
        if let Some(socket) = socket() {
            let number = socket.as_raw_fd();
            sys::descriptors::close_range(number, number);
        }
        NUMBER.store(-1, Ordering::Relaxed);
    }
}

/// Whether the records of this process go to a program.
#[inline]
pub(super) fn is_set() -> bool {
    NUMBER.load(Ordering::Relaxed) >= 0
}

/// The socket, if it is open.
pub(super) fn socket() -> Option<BorrowedFd<'static>> {
    let number = NUMBER.load(Ordering::Relaxed);
    if number < 0 {
        return None;
    }
    let socket = sys::descriptors::standing(number);
    let behind = fstat(socket).ok()?;
    let same =
        behind.st_dev == DEVICE.load(Ordering::Relaxed) && behind.st_ino == INODE.load(Ordering::Relaxed);
    same.then_some(socket)
}

/// Sends a record, or counts it.
pub(super) fn send(record: &Record<'_>) {
    let Some(socket) = socket() else { return };
    deliver(socket, Some(Entry::of(record)), PATIENCE);
}

/// Tells how many were lost, if any were and there is room now or soon.
#[inline]
pub(crate) fn tell_losses() {
    if is_set() {
        tell_what_was_lost();
    }
}

#[cold]
fn tell_what_was_lost() {
    let Some(socket) = socket() else { return };
    if UNSENT.own().lost.load(Ordering::Relaxed) > 0 {
        deliver(socket, None, LAST_PATIENCE);
    }
}

fn deliver(socket: BorrowedFd<'_>, entry: Option<Entry<'_>>, patience: Duration) {
    let unsent = UNSENT.own();
    let process = match KNOWN.load(Ordering::Relaxed) == Generation::current().number() {
        true => Cow::Borrowed(""),
        false => Cow::Owned(name()),
    };
    let one = u64::from(entry.is_some());
    let packet = Packet { lost: unsent.lost.swap(0, Ordering::Relaxed), process, entry };
    // What a record waits for is also what ends its patience; the last word of all has its own.
    let may_wait = || one == 0 || !unsent.impatient.load(Ordering::Relaxed);
    let sent = packet.encode().map_or(Sent::NoRoom, |bytes| send_within(socket, &bytes, patience, may_wait));
    match sent {
        Sent::Yes => unsent.impatient.store(false, Ordering::Relaxed),
        Sent::NobodyThere => {}
        Sent::NoRoom => {
            unsent.impatient.store(true, Ordering::Relaxed);
            unsent.lost.fetch_add(packet.lost + one, Ordering::Relaxed);
        }
    }
}

fn name() -> String {
    let name = NAME.get().and_then(|name| name()).unwrap_or_default();
    beginning(&name.to_string_lossy(), NAME_MAX).to_owned()
}

#[derive(PartialEq, Eq)]
enum Sent {
    Yes,
    NoRoom,
    /// The program has ended.
    NobodyThere,
}

fn send_within(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    patience: Duration,
    may_wait: impl Fn() -> bool,
) -> Sent {
    let mut deadline = None;
    loop {
        let error = match sys::socket::send_with(socket, bytes, &[]) {
            Ok(()) => return Sent::Yes,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::WouldBlock if may_wait() => {
                let deadline = *deadline.get_or_insert_with(|| Deadline::after(patience));
                if deadline.has_passed() {
                    return Sent::NoRoom;
                }
                let room = [PollFd::new(socket, PollFlags::POLLOUT)];
                if wait_until(&mut { room }, deadline.or_after(LOOK_AGAIN)).is_err() {
                    // Who may have no descriptors may not poll one either.
                    deadline.pause(LOOK_AGAIN);
                }
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Sent::NobodyThere,
            _ => return Sent::NoRoom,
        }
    }
}
