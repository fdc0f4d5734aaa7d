//! One end: its descriptors, its place in the shared memory, and whose it is.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use crate::link::attachments;
use crate::link::connection::receiving::Receiving;
use crate::link::connection::sending::Sending;
use crate::link::control::{self, Peer};
use crate::link::error::LinkError;
use crate::link::ring::{self, Consumer, Lane, Producer};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::WrongProcess;
use crate::ownership::harmless;
use crate::ownership::per_process::PerProcess;
use crate::sys;
use crate::sys::mapping::{PrivateMapping, View};

/// What the clones of an end share.
#[derive(Debug)]
pub(crate) struct End {
    pub(super) wires: Wires,
    /// Where it is mapped, and by what it is polled, in the process that it belongs to.
    here: PerProcess<Here>,
    /// Locked by whoever sends.
    pub(super) sending: Mutex<Sending>,
    /// How much was sent, as the ring counts it, but without end. Written by whoever sends.
    pub(super) sent: AtomicU64,
    /// Locked by whoever receives, also while that one sleeps.
    pub(super) receiving: Mutex<Receiving>,
    /// Locked for moments, within either of the others.
    pub(super) peer: Mutex<Peer>,
    /// The other end was found to be gone.
    pub(super) over: AtomicBool,
    /// Why nothing is received any more.
    pub(super) broken: OnceLock<String>,
    /// The other end is still to be told whose this one is.
    unannounced: AtomicBool,
    /// Somebody who doesn't wait found another one receiving, and is to be reminded when that one is done.
    pub(super) missed: AtomicBool,
    /// Another end, for which whoever waits for room here takes in as well.
    pub(crate) companion: OnceLock<Weak<End>>,
}

/// What an end consists of as far as the kernel is concerned.
#[derive(Debug)]
pub(super) struct Wires {
    /// Belongs to one process, and makes the end belong to it.
    pub(super) control: Arc<PrivateFd>,
    pub(super) memory: Arc<PrivateFd>,
    /// Sends on lane 0 or 1, and receives on the other one.
    pub(super) side: usize,
    /// Bytes of a lane.
    pub(super) capacity: u32,
    pub(super) max_frame: usize,
}

#[derive(Debug, Default)]
struct Here {
    mapping: OnceCell<PrivateMapping>,
    pollable: OnceCell<Pollable>,
}

/// What whoever polls an end needs.
#[derive(Debug)]
pub(super) struct Pollable {
    epoll: PrivateFd,
    /// An eventfd by which this side reminds those who poll of what they left behind.
    reminder: PrivateFd,
    reminded: AtomicBool,
}

impl Pollable {
    /// Makes it readable.
    pub(super) fn remind(&self) {
        if !self.reminded.load(Ordering::Relaxed) {
            self.remind_again();
        }
    }

    /// As [`remind`](Pollable::remind), also for those who only see a change. It is readable already when this
    /// fails.
    pub(super) fn remind_again(&self) {
        self.reminded.store(true, Ordering::Relaxed);
        if let Ok(reminder) = self.reminder.get() {
            let _ = nix::unistd::write(reminder, &1u64.to_ne_bytes());
        }
    }

    /// Nothing is left behind.
    pub(super) fn quieten(&self) {
        if !self.reminded.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Ok(reminder) = self.reminder.get() {
            let _ = nix::unistd::read(reminder, &mut [0; 8]);
        }
    }
}

/// What an epoll's events are about doesn't matter: whoever polls looks at everything.
const ANY: u64 = 0;

impl Wires {
    /// Those of both ends of a new connection.
    pub(super) fn pair(capacity: u32, max_frame: usize) -> io::Result<(Wires, Wires)> {
        let size = ring::memory(capacity);
        let memory = Arc::new(PrivateFd::new(|| sys::memfd::create("connection", size))?);
        let (control, far_control) = control::pair()?;
        let wires = |control, side| Wires {
            control: Arc::new(control),
            memory: Arc::clone(&memory),
            side,
            capacity,
            max_frame,
        };
        Ok((wires(control, 0), wires(far_control, 1)))
    }

    /// Of descriptors that came from another process: whether they are of the kinds that they should be.
    pub(super) fn are_what_they_should(&self) -> bool {
        let memory = self.memory.get();
        let control = self.control.get();
        memory.is_ok_and(|memory| sys::memfd::is_sealed(memory, ring::memory(self.capacity)))
            && control.is_ok_and(|control| {
                getsockopt(&control, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket)
            })
    }

    pub(super) fn sending_lane(&self) -> Lane {
        Lane::new(self.side, self.capacity)
    }

    pub(super) fn receiving_lane(&self) -> Lane {
        Lane::new(1 - self.side, self.capacity)
    }
}

impl End {
    pub(super) fn new(wires: Wires) -> End {
        let producer = Producer::new(wires.sending_lane());
        let consumer = Consumer::new(wires.receiving_lane());
        End::resume(wires, producer, consumer)
    }

    /// An end that another process has used before.
    pub(super) fn resume(wires: Wires, producer: Producer, consumer: Consumer) -> End {
        let sent = AtomicU64::new(producer.position().into());
        End {
            wires,
            here: PerProcess::new(Here::default(), Here::default),
            sending: Mutex::new(Sending::new(producer)),
            sent,
            receiving: Mutex::new(Receiving::new(consumer)),
            peer: Mutex::new(Peer::default()),
            over: AtomicBool::new(false),
            broken: OnceLock::new(),
            unannounced: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            companion: OnceLock::new(),
        }
    }

    /// The shared memory, if the end belongs to this process.
    #[inline]
    pub(super) fn view(&self) -> Result<View<'_>, LinkError> {
        self.wires.control.get()?;
        let mapping = self.here.own().mapping.get_or_try_init(|| self.settle())?;
        Ok(mapping.view().ok_or(WrongProcess)?)
    }

    #[cold]
    fn settle(&self) -> Result<PrivateMapping, LinkError> {
        let mapping = PrivateMapping::new(self.wires.memory.get()?, ring::memory(self.wires.capacity))?;
        self.announce();
        Ok(mapping)
    }

    /// What there is if somebody polls this end: then it says at any time whether there is something.
    pub(super) fn polled(&self) -> Option<&Pollable> {
        self.here.own().pollable.get()
    }

    /// A descriptor that is readable when there is something to receive or the other end is gone.
    pub(super) fn pollable(&self) -> BorrowedFd<'_> {
        match self.try_pollable() {
            Ok(pollable) => pollable,
            Err(LinkError::WrongProcess(_)) => self.wires.control.expose(),
            // No descriptors left. Whoever polls finds it readable, and is told why by what follows.
            Err(_) => harmless::always_ready().unwrap_or_else(|_| self.wires.control.expose()),
        }
    }

    /// The same, if there is one.
    pub(super) fn try_pollable(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.wires.control.get()?;
        Ok(self.make_sure_of_pollable()?.epoll.expose())
    }

    /// The same, not for a user's eyes.
    pub(crate) fn epoll(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.wires.control.get()?;
        Ok(self.make_sure_of_pollable()?.epoll.get()?)
    }

    fn make_sure_of_pollable(&self) -> Result<&Pollable, LinkError> {
        let mut is_new = false;
        let pollable = self.here.own().pollable.get_or_try_init(|| {
            is_new = true;
            self.make_pollable()
        })?;
        if is_new {
            // Something may be there already. From here on everybody knows that it is polled; who is receiving
            // at this moment finds that out when it is done.
            let view = self.view()?;
            if let Some(mut receiving) = self.receiving.try_lock() {
                if !receiving.begin_to_be_polled(self, view) {
                    pollable.remind();
                }
            }
        }
        Ok(pollable)
    }

    #[cold]
    fn make_pollable(&self) -> Result<Pollable, LinkError> {
        let view = self.view()?;
        let epoll = PrivateFd::new(sys::epoll::create)?;
        let reminder = PrivateFd::new(|| {
            let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
            Ok(EventFd::from_value_and_flags(0, flags)?.into())
        })?;
        sys::epoll::watch(epoll.get()?, reminder.get()?, ANY)?;
        sys::epoll::watch(epoll.get()?, self.wires.control.get()?, ANY)?;
        if let Some(owner) = &self.peer.lock().owner {
            sys::epoll::watch(epoll.get()?, owner.get()?, ANY)?;
        }
        // From now on the other side is to ring whenever it finds this one without anything.
        Consumer::new(self.wires.receiving_lane()).wait_for_chunks(view);
        Ok(Pollable { epoll, reminder, reminded: AtomicBool::new(false) })
    }

    /// Tells the other end whose this one is. Should that have no ear for it now, it is told later.
    pub(super) fn announce(&self) {
        let told = control::tell_owner_is_here(&self.wires.control);
        let later = told.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.unannounced.store(later, Ordering::Relaxed);
    }

    /// Messages whose descriptors this process has no room for come without them, instead of not at all.
    pub(crate) fn goes_on_without_descriptors(&self) {
        self.peer.lock().loses = true;
    }

    /// The longest frame that may be sent.
    pub(crate) fn max_frame(&self) -> usize {
        self.wires.max_frame
    }

    /// Takes over who the other end is of.
    pub(super) fn other_end_is_of(&self, owner: Option<Arc<PrivateFd>>) {
        let owner = owner.filter(|owner| control::is_pidfd(owner));
        self.wires.control.take_along(owner.clone());
        self.peer.lock().owner = owner;
    }

    /// The other end is of this process for good, whatever it says.
    pub(crate) fn other_end_stays_with(&self, owner: Arc<PrivateFd>) -> Result<(), LinkError> {
        self.wires.control.get()?;
        let mut peer = self.peer.lock();
        peer.is_certain = true;
        let before = peer.owner.replace(owner);
        self.owner_has_changed(&peer, before)
    }

    /// Tells those who poll, and those to whom this end is given.
    fn owner_has_changed(&self, peer: &Peer, before: Option<Arc<PrivateFd>>) -> Result<(), LinkError> {
        self.wires.control.take_along(peer.owner.clone());
        let Some(pollable) = self.polled() else { return Ok(()) };
        let epoll = pollable.epoll.get()?;
        if let Some(Ok(before)) = before.as_ref().map(|before| before.get()) {
            sys::epoll::forget(epoll, before);
        }
        if let Some(owner) = &peer.owner {
            sys::epoll::watch(epoll, owner.get()?, ANY)?;
        }
        Ok(())
    }

    /// Takes in what the other end has said beside its messages, and says whether it is gone for good. Only
    /// for whoever receives.
    pub(super) fn listen(&self) -> Result<bool, LinkError> {
        if self.unannounced.load(Ordering::Relaxed) {
            self.announce();
        }
        let mut peer = self.peer.lock();
        let before = peer.owner.clone();
        let heard = peer.listen(self.wires.control.get()?);
        if before.as_ref().map(Arc::as_ptr) != peer.owner.as_ref().map(Arc::as_ptr) {
            self.owner_has_changed(&peer, before)?;
        }
        heard?;
        if peer.gone {
            self.over.store(true, Ordering::Relaxed);
        }
        Ok(peer.gone)
    }

    /// As [`listen`](End::listen), for whoever sends.
    pub(super) fn is_peer_gone(&self) -> Result<bool, LinkError> {
        let (mut gone, news) = self.peer.lock().look(self.wires.control.get()?)?;
        if !gone && (news || self.unannounced.load(Ordering::Relaxed)) {
            // Whoever receives finds out by itself.
            if let Some(receiving) = self.receiving.try_lock() {
                gone = self.listen()?;
                drop(receiving);
                // The bell may have been taken from those who poll.
                self.polled().inspect(|polled| polled.remind_again());
                self.remind_who_missed();
            }
        }
        if gone {
            self.over.store(true, Ordering::Relaxed);
        }
        Ok(gone)
    }

    /// The other end finds this one gone, whoever still has it here.
    pub(crate) fn hang_up(&self) {
        if let Ok(control) = self.wires.control.get() {
            control::close(control);
        }
    }

    /// Remembers an error after which the place in the stream, or the peer's good sense, is lost: nothing is
    /// received any more, and what is on its way is closed.
    pub(crate) fn fail(&self, error: LinkError) -> LinkError {
        if matches!(
            error,
            LinkError::Truncated | LinkError::TooLarge(_) | LinkError::Decode(_) | LinkError::Garbled(_)
        ) {
            let _ = self.broken.set(error.to_string());
            if let Ok(control) = self.wires.control.get() {
                self.peer.lock().clear(control);
            }
        }
        error
    }
}

/// The last of its clones says that nobody will read any more, and closes the control socket for all who
/// may have copies of it.
impl Drop for End {
    fn drop(&mut self) {
        let Ok(control) = self.wires.control.get() else { return };
        if attachments::is_provisional() {
            return;
        }
        if let Some(view) = self.here.own().mapping.get().and_then(PrivateMapping::view) {
            self.receiving.get_mut().leave(view);
        }
        control::close(control);
    }
}
