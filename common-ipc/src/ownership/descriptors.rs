//! Descriptors that a child gets only when they are given to it.
//!
//! A fork copies every descriptor. A copy of a pidfd or of a connection's end in the wrong process
//! keeps ends alive whose closing somebody waits for, so every library descriptor is listed here,
//! and a forked child gets rid of its copies before anything else runs. There are two ways:
//!
//! - Descriptors that never left the library are closed, whole runs of numbers at a time. That is
//!   sound because [`PrivateFd`] knows the process in which its number is open, and neither uses
//!   nor closes the number anywhere else.
//! - Descriptors whose number a user has seen (`as_fd`) are replaced by one of /dev/null: in the
//!   child that number stays taken, so a borrowed descriptor that the body captured reaches
//!   nothing, rather than whatever is opened under that number next.
//!
//! A few are every process's that has a copy ([`PrivateFd::inherited`]): nobody waits for the closing of those.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use crate::ownership::generation::{Generation, WrongProcess};
use crate::ownership::harmless;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// A set of descriptor numbers.
struct Numbers(Vec<u64>);

impl Numbers {
    const fn new() -> Numbers {
        Numbers(Vec::new())
    }

    fn insert(&mut self, number: RawFd) {
        let (word, bit) = (number as usize / 64, number as usize % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn remove(&mut self, number: RawFd) -> bool {
        let (word, bit) = (number as usize / 64, number as usize % 64);
        let Some(bits) = self.0.get_mut(word) else { return false };
        let was_there = *bits & (1 << bit) != 0;
        *bits &= !(1 << bit);
        was_there
    }

    fn iter(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((word * 64) as RawFd + bit as RawFd)
            })
        })
    }
}

/// The home of a descriptor that is every process's which has a copy of it.
const EVERYWHERE: u64 = u64::MAX;

/// All library descriptors of this process.
pub(crate) struct Registry {
    /// Never seen outside of the library.
    hidden: Numbers,
    /// Seen by a user.
    exposed: Numbers,
}

static REGISTRY: PerProcess<Mutex<Registry>> = PerProcess::new(Registry::new(), Registry::new);

/// Locks this process's registry; a fork holds it so that no descriptor is half-made in the child.
pub(crate) fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.own().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    const fn new() -> Mutex<Registry> {
        Mutex::new(Registry { hidden: Numbers::new(), exposed: Numbers::new() })
    }

    /// Takes over a descriptor above 2 that was made while the registry was locked.
    pub(crate) fn list(&mut self, fd: OwnedFd) -> PrivateFd {
        self.hidden.insert(fd.as_raw_fd());
        PrivateFd {
            fd: ManuallyDrop::new(fd),
            home: AtomicU64::new(Generation::current().number()),
            given_away: AtomicBool::new(false),
            companion: Mutex::new(None),
        }
    }

    /// Those of this process.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.hidden.iter().chain(self.exposed.iter()).collect()
    }

    /// How these and `keep` are divided between this process and a child.
    #[inline]
    pub(crate) fn division(&self, keep: Keep<'_>) -> Division {
        let mut division = Division { hidden: Vec::new(), exposed: Vec::new(), kept_exposed: Vec::new() };
        let is_kept = |number| keep.iter().copied().flatten().any(|fd| fd.fd.as_raw_fd() == number);
        for number in self.hidden.iter().filter(|number| !is_kept(*number)) {
            match division.hidden.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => division.hidden.push((number, number)),
            }
        }
        let (kept, not_kept) = self.exposed.iter().partition(|number| is_kept(*number));
        (division.kept_exposed, division.exposed) = (kept, not_kept);
        division
    }
}

/// Those that a child is given.
pub(crate) type Keep<'a> = [&'a [Arc<PrivateFd>]; 2];

/// What a child has to get rid of, and what it keeps.
#[derive(Debug)]
pub(crate) struct Division {
    /// Not kept, in runs of numbers: first and last.
    hidden: Vec<(RawFd, RawFd)>,
    exposed: Vec<RawFd>,
    kept_exposed: Vec<RawFd>,
}

impl Division {
    /// With one that isn't in the registry, and isn't kept.
    pub(crate) fn without(mut self, number: RawFd) -> Division {
        self.hidden.push((number, number));
        self
    }

    /// In a child that has just been forked: gets rid of all copies but those in `keep`, the same as before, which
    /// from now on belong to this process. `null` is /dev/null's.
    #[inline]
    pub(crate) fn settle_in_child(&self, keep: Keep<'_>, null: BorrowedFd<'_>) {
        for (first, last) in &self.hidden {
            sys::descriptors::close_range(*first, *last);
        }
        for number in &self.exposed {
            // The copy must go in any case; only if this fails does its number become free.
            if sys::descriptors::replace(*number, null).is_err() {
                sys::descriptors::close_range(*number, *number);
            }
        }
        if keep.iter().all(|some| some.is_empty()) {
            return;
        }
        let mut own = registry();
        for fd in keep[0].iter().chain(keep[1]) {
            let number = fd.fd.as_raw_fd();
            match self.kept_exposed.contains(&number) {
                true => own.exposed.insert(number),
                false => own.hidden.insert(number),
            }
            fd.home.store(Generation::current().number(), Ordering::Relaxed);
            fd.given_away.store(false, Ordering::Relaxed);
        }
    }
}

/// A descriptor of the library's: close-on-exec, not one of 0 to 2, and kept from forked children.
pub(crate) struct PrivateFd {
    fd: ManuallyDrop<OwnedFd>,
    /// The process in which the number is open.
    home: AtomicU64,
    /// Moved to a child: what stands behind the number here is /dev/null.
    given_away: AtomicBool,
    /// One that goes where this one goes.
    companion: Mutex<Option<Arc<PrivateFd>>>,
}

impl PrivateFd {
    /// Makes one; `make` runs while no fork can happen.
    pub(crate) fn new(make: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<PrivateFd> {
        let mut registry = registry();
        Ok(registry.list(above_stderr(make()?)?))
    }

    /// As [`new`](PrivateFd::new), for what comes in pairs.
    pub(crate) fn pair(
        make: impl FnOnce() -> io::Result<(OwnedFd, OwnedFd)>,
    ) -> io::Result<(PrivateFd, PrivateFd)> {
        let mut registry = registry();
        let (one, other) = make()?;
        let (one, other) = (above_stderr(one)?, above_stderr(other)?);
        Ok((registry.list(one), registry.list(other)))
    }

    /// The same, off the list: what this process forks has it as well, as its own. Each process closes its own copy.
    pub(crate) fn inherited(self) -> PrivateFd {
        let mut registry = registry();
        let number = self.fd.as_raw_fd();
        if !registry.hidden.remove(number) {
            registry.exposed.remove(number);
        }
        self.home.store(EVERYWHERE, Ordering::Relaxed);
        drop(registry);
        self
    }

    fn is_home(&self) -> bool {
        let home = self.home.load(Ordering::Relaxed);
        home == Generation::current().number() || home == EVERYWHERE
    }

    /// The descriptor, for use within the library.
    pub(crate) fn get(&self) -> Result<BorrowedFd<'_>, WrongProcess> {
        if self.is_home() && !self.given_away.load(Ordering::Relaxed) {
            Ok(self.fd.as_fd())
        } else {
            Err(WrongProcess)
        }
    }

    /// Has another one go along, shared, should this one be given to a child.
    pub(crate) fn take_along(&self, companion: Option<Arc<PrivateFd>>) {
        *self.companion.lock().unwrap_or_else(PoisonError::into_inner) = companion;
    }

    /// The one that goes along.
    pub(crate) fn companion(&self) -> Option<Arc<PrivateFd>> {
        self.companion.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The descriptor in the process that it belongs to, also while it is being given away.
    pub(crate) fn at_home(&self) -> Option<BorrowedFd<'_>> {
        self.is_home().then(|| self.fd.as_fd())
    }

    /// The descriptor, for a user's eyes. In a process that it doesn't belong to, and once it has
    /// been given away, /dev/null stands behind it.
    pub(crate) fn expose(&self) -> BorrowedFd<'_> {
        if !self.is_home() {
            // The number was closed here, if the library forked this process, and may be anybody's.
            // If somebody else did, it is open, should there be no /dev/null.
            return harmless::null().unwrap_or(self.fd.as_fd());
        }
        let mut registry = registry();
        let number = self.fd.as_raw_fd();
        if registry.hidden.remove(number) {
            registry.exposed.insert(number);
        }
        self.fd.as_fd()
    }

    /// Before it is given to a child: nobody else gives it, and nobody here uses it any more.
    pub(crate) fn claim(&self) -> Result<(), WrongProcess> {
        if self.is_home() && !self.given_away.swap(true, Ordering::Relaxed) {
            Ok(())
        } else {
            Err(WrongProcess)
        }
    }

    /// The start to which it was claimed has failed: it is as it was.
    pub(crate) fn unclaim(&self) {
        self.given_away.store(false, Ordering::Relaxed);
    }

    /// After it was given to a child: in this process the number now leads to /dev/null, and every
    /// use of the handle is an error.
    pub(crate) fn give_away(&self) {
        self.given_away.store(true, Ordering::Relaxed);
        if self.is_home() {
            // Without a /dev/null the descriptor stays open until the handle is dropped.
            let _ = harmless::null().and_then(|null| sys::descriptors::replace(self.fd.as_raw_fd(), null));
        }
    }
}

impl Drop for PrivateFd {
    fn drop(&mut self) {
        // In another process the number is closed already, or is somebody else's by now.
        if self.is_home() {
            let mut registry = registry();
            let number = self.fd.as_raw_fd();
            if !registry.hidden.remove(number) {
                registry.exposed.remove(number);
            }
            // Closed by number, for an OwnedFd would close itself in every process alike. The lock
            // is still held: the number can't be handed out again before it is off the list.
            sys::descriptors::close_range(number, number);
        }
    }
}

impl fmt::Debug for PrivateFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateFd({})", self.fd.as_raw_fd())
    }
}

/// Moves a descriptor out of 0 to 2, which a program that was started without a standard input,
/// output or error would otherwise hand out, and which a child's set-up then would overwrite.
pub(crate) fn above_stderr(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { sys::descriptors::duplicate_above(fd.as_fd(), 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_remember_what_was_put_in() {
        let mut numbers = Numbers::new();
        for number in [3, 63, 64, 200] {
            numbers.insert(number);
        }
        assert!(numbers.remove(64));
        assert!(!numbers.remove(64));
        assert!(!numbers.remove(4000));
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [3, 63, 200]);
    }

    #[test]
    fn a_dropped_descriptor_is_closed_and_unlisted() {
        let fd = PrivateFd::new(|| Ok(std::fs::File::open("/dev/null")?.into())).unwrap();
        let number = fd.fd.as_raw_fd();
        assert!(registry().hidden.iter().any(|listed| listed == number));
        drop(fd);
        assert!(!registry().hidden.iter().any(|listed| listed == number));
    }

    #[test]
    fn what_was_given_away_is_an_error_here() {
        let fd = PrivateFd::new(|| Ok(std::fs::File::open("/dev/null")?.into())).unwrap();
        assert!(fd.get().is_ok());
        fd.give_away();
        assert_eq!(fd.get().unwrap_err(), WrongProcess);
    }
}
