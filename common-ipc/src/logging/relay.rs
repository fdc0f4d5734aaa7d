//! The program's side: the links of its children, and the way from there to its logger.
//!
//! A thread of the library's does the work, round by round: it waits until something has arrived, takes some of each
//! link, and hands it over. Whoever wants to be certain that what is there was handed over has it make a round of all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::Log;
use parking_lot::{Condvar, Mutex};

use crate::link::poll::Deadline;
use crate::logging::INNER;
use crate::logging::link::{self, Arrived, Buffer};
use crate::logging::record::{Entry, Packet};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::harmless;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// The relay of this process. A copy that other code forked has none before it starts a child itself.
static RELAY: PerProcess<Mutex<Option<Arc<Relay>>>> = PerProcess::new(Mutex::new(None), Mutex::default);

/// How long whoever flushes waits.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// So much of one link is handed over before another one has its turn.
const TURN: usize = 32;
const TURN_TIME: Duration = Duration::from_millis(5);
/// A link from which so many came has given what was there at first: there is room for no more at once, unless a child
/// with the rights to do so has made more.
const ALL: usize = 1024;

/// Wakes the thread; no link has this number.
const WAKE: u64 = 0;

thread_local! {
    /// This thread is in the program's logger: it can't wait for itself.
    static HANDS_OVER: Cell<bool> = const { Cell::new(false) };
}

/// The links of one process's children.
pub(crate) struct Relay {
    epoll: PrivateFd,
    links: Mutex<Links>,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
    has_thread: AtomicBool,
}

#[derive(Default)]
struct Links {
    last: u64,
    by_number: BTreeMap<u64, Arc<Link>>,
}

#[derive(Default)]
struct Flushes {
    asked: u64,
    done: u64,
    /// The logger is to be flushed as well.
    with_logger: bool,
}

struct Link {
    number: u64,
    socket: PrivateFd,
    /// Of the child that the link was made for.
    pid: u32,
    process: String,
    told_of_garbage: AtomicBool,
}

/// What the thread is about: the links that have something, those that are there, and how often they have had a turn.
pub(crate) struct Round {
    tokens: Vec<u64>,
    buffer: Buffer,
}

/// What is left of a link after a turn.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    End,
}

/// Has the records that come by this link handed over. The relay is returned if it needs a thread, which is then
/// expected to come.
pub(crate) fn watch(socket: PrivateFd, pid: i32, process: &OsStr) -> io::Result<Option<Arc<Relay>>> {
    let mut current = RELAY.own().lock();
    let relay = match &*current {
        Some(relay) => relay,
        None => current.insert(Arc::new(Relay::new()?)),
    };
    let mut links = relay.links.lock();
    links.last += 1;
    let number = links.last;
    let link = Link {
        number,
        socket,
        pid: pid as u32,
        process: process.to_string_lossy().into_owned(),
        told_of_garbage: AtomicBool::new(false),
    };
    sys::epoll::watch(at_home(&relay.epoll)?, at_home(&link.socket)?, number)?;
    links.by_number.insert(number, Arc::new(link));
    drop(links);
    let has_one = relay.has_thread.swap(true, Ordering::Relaxed);
    Ok((!has_one).then(|| Arc::clone(relay)))
}

fn at_home(fd: &PrivateFd) -> io::Result<std::os::fd::BorrowedFd<'_>> {
    fd.get().map_err(io::Error::other)
}

/// Waits until what is there now was handed over, if there is a thread that does that, for a bounded time.
pub(super) fn flush() {
    flush_within(Deadline::after(FLUSH_PATIENCE), false);
}

/// As [`flush`], and the logger is flushed on the relay's thread: this one may have lost its thread-locals by now. No lock
/// is waited for without a bound.
pub(crate) fn drain_at_exit() {
    flush_within(Deadline::after(FLUSH_PATIENCE), true);
}

fn flush_within(deadline: Deadline, with_logger: bool) {
    if HANDS_OVER.get() {
        return;
    }
    let Some(relay) = deadline.lock(RELAY.own()).and_then(|current| current.clone()) else { return };
    let Some(mut flushes) = deadline.lock(&relay.flushes) else { return };
    flushes.asked += 1;
    flushes.with_logger |= with_logger;
    let mine = flushes.asked;
    if !relay.has_thread.load(Ordering::Relaxed) || relay.wake().is_err() {
        return;
    }
    while flushes.done < mine {
        let left = deadline.left().unwrap_or(FLUSH_PATIENCE);
        if relay.flushed.wait_for(&mut flushes, left).timed_out() {
            return;
        }
    }
}

impl Relay {
    fn new() -> io::Result<Relay> {
        Ok(Relay {
            epoll: PrivateFd::new(sys::epoll::create)?,
            links: Mutex::default(),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
            has_thread: AtomicBool::new(false),
        })
    }

    /// There is no thread after all; the next child's start tries again.
    pub(crate) fn has_no_thread(&self) {
        self.has_thread.store(false, Ordering::Relaxed);
    }

    /// Its epoll is no good any more. The next child gets a new relay.
    pub(crate) fn give_up(self: &Arc<Relay>) {
        let mut current = RELAY.own().lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, self)) {
            *current = None;
        }
    }

    /// Has the thread's wait return, by a descriptor that is always ready. The caller has the flushes locked.
    fn wake(&self) -> io::Result<()> {
        let (epoll, ready) = (at_home(&self.epoll)?, harmless::always_ready()?);
        // It is reported once, if it was put in anew.
        sys::epoll::forget(epoll, ready);
        sys::epoll::watch_once(epoll, ready, WAKE)
    }

    /// Whether somebody flushes.
    pub(crate) fn is_waited_for(&self) -> bool {
        let flushes = self.flushes.lock();
        flushes.done < flushes.asked
    }

    /// Waits, in a bare system call, until there is something to do.
    pub(crate) fn wait(&self, round: &mut Round) -> io::Result<()> {
        round.tokens.clear();
        sys::epoll::wait(at_home(&self.epoll)?, None, &mut round.tokens)
    }

    /// Hands over what was found by [`wait`](Relay::wait). Each turn of a link is run by `turn`, which runs it as other
    /// people's code.
    pub(crate) fn hand_over(&self, round: &mut Round, turn: &mut dyn FnMut(&mut dyn FnMut())) {
        let Some(logger) = INNER.get() else { return };
        let Round { tokens, buffer } = round;
        if tokens.contains(&WAKE) {
            self.hand_over_all(&**logger, buffer, turn);
            return;
        }
        for token in tokens {
            let link = self.links.lock().by_number.get(token).cloned();
            if let Some(link) = link {
                self.turn_of(&link, &**logger, buffer, turn);
            }
        }
    }

    fn hand_over_all(&self, logger: &dyn Log, buffer: &mut Buffer, turn: &mut dyn FnMut(&mut dyn FnMut())) {
        let Flushes { asked, with_logger, .. } = *self.flushes.lock();
        let mut links: Vec<_> =
            self.links.lock().by_number.values().map(|link| (Arc::clone(link), 0)).collect();
        while !links.is_empty() {
            links.retain_mut(|(link, count)| {
                let (left, more) = self.turn_of(link, logger, buffer, turn);
                *count += more;
                left == Left::More && *count < ALL
            });
        }
        if with_logger {
            turn(&mut || guarded(|| logger.flush()));
        }
        self.flushes.lock().done = asked;
        self.flushed.notify_all();
    }

    fn turn_of(
        &self,
        link: &Link,
        logger: &dyn Log,
        buffer: &mut Buffer,
        turn: &mut dyn FnMut(&mut dyn FnMut()),
    ) -> (Left, usize) {
        let (mut left, mut count) = (Left::Nothing, 0);
        turn(&mut || left = link.hand_over(logger, buffer, &mut count));
        if left == Left::End {
            let link = self.links.lock().by_number.remove(&link.number);
            if let (Ok(epoll), Some(Ok(socket))) =
                (self.epoll.get(), link.as_ref().map(|link| link.socket.get()))
            {
                sys::epoll::forget(epoll, socket);
            }
        }
        (left, count)
    }
}

impl Round {
    pub(crate) fn new() -> Round {
        // What a wait appends must not need memory: a fork may be under way.
        Round { tokens: Vec::with_capacity(sys::epoll::BATCH), buffer: Buffer::new() }
    }
}

impl Link {
    /// A turn, which counts what it takes.
    fn hand_over(&self, logger: &dyn Log, buffer: &mut Buffer, count: &mut usize) -> Left {
        let Ok(socket) = self.socket.get() else { return Left::End };
        let begin = Instant::now();
        while *count < TURN && begin.elapsed() < TURN_TIME {
            *count += 1;
            match link::receive(socket, buffer) {
                Ok(Arrived::Packet { pid, bytes }) => match Packet::decode(bytes) {
                    Some(packet) => self.hand_over_packet(logger, pid, &packet),
                    None => self.tell_of_garbage(logger),
                },
                Ok(Arrived::Garbage) => self.tell_of_garbage(logger),
                Ok(Arrived::Nothing) => return Left::Nothing,
                Ok(Arrived::End) | Err(_) => return Left::End,
            }
        }
        Left::More
    }

    fn hand_over_packet(&self, logger: &dyn Log, pid: u32, packet: &Packet<'_>) {
        let process = if pid == self.pid { &self.process } else { &*packet.process };
        if packet.lost > 0 {
            let were =
                if packet.lost == 1 { "record of this process was" } else { "records of this process were" };
            let lost = Entry::warning(format!("{} {were} lost: there was no room for more", packet.lost));
            guarded(|| lost.hand_over(logger, pid, process));
        }
        if let Some(entry) = &packet.entry {
            guarded(|| entry.hand_over(logger, pid, process));
        }
    }

    /// Once.
    fn tell_of_garbage(&self, logger: &dyn Log) {
        if !self.told_of_garbage.swap(true, Ordering::Relaxed) {
            let garbage = Entry::warning("what this process sends are no records: skipped".to_owned());
            guarded(|| garbage.hand_over(logger, self.pid, &self.process));
        }
    }
}

/// Calls the program's logger. A panic has been reported by the panic hook.
fn guarded(call: impl FnOnce()) {
    HANDS_OVER.set(true);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        // Its drop could panic again.
        std::mem::forget(payload);
    }
    HANDS_OVER.set(false);
}
