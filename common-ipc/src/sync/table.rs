//! A table of permits in shared memory, and a permit that is held.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::link::poll::Deadline;
use crate::memory::segment::Segment;
use crate::sync::errors::AcquireError;
use crate::sync::freeing;
use crate::sync::owner::{self, Namespaces, Own};
use crate::sync::permits::{self, Asks, FREE, Table, Taken};
use crate::sync::spin::Spin;

// The words, by their offsets. All that one that isn't contended touches is on one cache line.
const SLEEPERS: usize = 0;
const SEQUENCE: usize = 4;
const NAMESPACES: [usize; 2] = [8, 16];
const EPOCH: usize = 24;
const PERMITS: usize = 32;

/// The permits, and what this process knows of them.
#[derive(Debug)]
pub(crate) struct SharedTable {
    pub(crate) segment: Segment,
    count: usize,
    namespaces: Namespaces,
    /// The permit that this process gave back last: free, as a rule, and in its cache.
    last: AtomicUsize,
    spin: Spin,
}

/// As many as can be looked through in a moment: a peer says how many there are in what it sends.
pub(crate) const PERMITS_MAX: usize = 1 << 16;

/// Where the memory after so many permits begins; `None` if there can't be so many, or none.
pub(crate) const fn end_of(count: usize) -> Option<usize> {
    if count == 0 || count > PERMITS_MAX { None } else { Some(PERMITS + count * 8) }
}

impl SharedTable {
    /// Free permits, in new memory of `len` bytes, at least [`end_of`] them.
    pub(crate) fn new(name: &str, count: usize, len: usize) -> io::Result<SharedTable> {
        let segment = Segment::new(name, len)?;
        let namespaces = owner::own().namespaces;
        for (at, namespace) in NAMESPACES.into_iter().zip(namespaces) {
            segment.view().long(at).store(namespace, Ordering::Relaxed);
        }
        Ok(SharedTable::from_segment(segment, count, namespaces))
    }

    /// What came with a message.
    pub(crate) fn receive(place: u32, count: usize, len: usize) -> Result<SharedTable, String> {
        let segment = Segment::receive(place, len)?;
        let namespaces = NAMESPACES.map(|at| segment.view().long(at).load(Ordering::Relaxed));
        let here = owner::own().namespaces;
        if here[0] == 0 || here != namespaces {
            return Err(AcquireError::OtherNamespace.to_string());
        }
        Ok(SharedTable::from_segment(segment, count, namespaces))
    }

    fn from_segment(segment: Segment, count: usize, namespaces: Namespaces) -> SharedTable {
        SharedTable { segment, count, namespaces, last: AtomicUsize::new(0), spin: Spin::default() }
    }

    /// How many nobody has at this moment.
    pub(crate) fn available(&self) -> usize {
        (0..self.count).filter(|index| self.permit(*index).load(Ordering::Relaxed) == FREE).count()
    }

    /// This process, if it can tell who of the others is dead.
    #[inline]
    fn own(&self) -> Result<&'static Own, AcquireError> {
        let own = owner::own();
        // A child that can't see its own (a changed root, say) hasn't left them by itself.
        if own.namespaces != self.namespaces && own.namespaces[0] != 0 {
            return Err(AcquireError::OtherNamespace);
        }
        Ok(own)
    }

    pub(crate) fn reclaim(&self) -> Result<usize, AcquireError> {
        Ok(freeing::reclaim(self, self.own()?.owner, &owner::is_dead))
    }

    pub(crate) fn release_kept(&self) -> bool {
        freeing::release_kept(self, owner::own().owner)
    }

    #[inline]
    pub(crate) fn acquire(self: &Arc<Self>, deadline: Deadline) -> Result<Option<Held>, AcquireError> {
        let own = self.own()?;
        let asks = Asks {
            owner: own.owner,
            first: self.last.load(Ordering::Relaxed),
            deadline,
            spin: Some(&self.spin),
            is_dead: &owner::is_dead,
        };
        let taken = permits::acquire(&**self, &asks).map_err(AcquireError::Os)?;
        Ok(taken.map(|taken| Held { table: Arc::clone(self), taken }))
    }
}

impl Table for SharedTable {
    type Word = AtomicU32;
    type Long = AtomicU64;

    #[inline]
    fn sleepers(&self) -> &AtomicU32 {
        self.segment.view().word(SLEEPERS)
    }

    #[inline]
    fn sequence(&self) -> &AtomicU32 {
        self.segment.view().word(SEQUENCE)
    }

    #[inline]
    fn epoch(&self) -> &AtomicU32 {
        self.segment.view().word(EPOCH)
    }

    #[inline]
    fn permit(&self, index: usize) -> &AtomicU64 {
        self.segment.view().long(PERMITS + index * 8)
    }

    #[inline]
    fn count(&self) -> usize {
        self.count
    }
}

/// A permit that this process has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) table: Arc<SharedTable>,
    pub(crate) taken: Taken,
}

impl Held {
    /// Whether it is this process's, and not a forked copy of a permit of its parent's.
    #[inline]
    pub(crate) fn is_home(&self) -> bool {
        owner::own().owner == owner::process_of(self.taken.word)
    }

    /// It stays this process's without this guard.
    pub(crate) fn keep(self) {
        if self.is_home() {
            freeing::keep(&*self.table, &self.taken);
        }
        // Nothing that its drop would give back is left.
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if self.is_home() {
            self.table.last.store(self.taken.index, Ordering::Relaxed);
            permits::release(&*self.table, self.taken.index, self.taken.word);
        }
    }
}
