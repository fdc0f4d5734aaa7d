//! Where the kernel writes the number of each child before it runs: memory that the program shares with a server.
//!
//! However early the child or the server may die, the program knows whom to wait for. A server's children don't
//! have this memory.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ownership::descriptors::PrivateFd;
use crate::sys;
use crate::sys::mapping::PrivateMapping;

/// So many starts may be under way at once.
const SLOTS: usize = 1024;
const SIZE: usize = SLOTS * size_of::<u32>();

/// One word for each start that is under way.
#[derive(Debug)]
pub(crate) struct Births {
    mapping: PrivateMapping,
    free: Mutex<Free>,
}

/// The slots that nobody uses. Only the program's are ever asked for; a server has nothing of them in memory.
#[derive(Debug, Default)]
struct Free {
    given_back: Vec<u16>,
    /// From here on none was ever used.
    unused: u16,
}

impl Births {
    /// New ones, and the descriptor by which a process that isn't forked from here gets them.
    pub(crate) fn new() -> io::Result<(Births, PrivateFd)> {
        let memfd = PrivateFd::new(|| sys::memfd::create("births", SIZE))?;
        let births = Births::receive(&memfd)?;
        Ok((births, memfd))
    }

    /// Those that another process has made.
    pub(crate) fn receive(memfd: &PrivateFd) -> io::Result<Births> {
        let mapping = PrivateMapping::new(memfd.get().map_err(io::Error::other)?.as_fd(), SIZE)?;
        Ok(Births { mapping, free: Mutex::default() })
    }

    /// A place for a child to come. `None`: all are in use.
    pub(super) fn claim(&self) -> Option<Expected<'_>> {
        let slot = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            match free.given_back.pop() {
                Some(slot) => slot,
                None if usize::from(free.unused) == SLOTS => return None,
                None => {
                    free.unused += 1;
                    free.unused - 1
                }
            }
        };
        self.word(slot)?.store(0, Ordering::Relaxed);
        Some(Expected { births: self, slot })
    }

    /// Where the server has the kernel write.
    pub(super) fn word(&self, slot: u16) -> Option<&AtomicU32> {
        Some(self.mapping.view()?.word(usize::from(slot) % SLOTS * size_of::<u32>()))
    }
}

/// A child that is to come.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    births: &'a Births,
    pub(super) slot: u16,
}

impl Expected<'_> {
    /// Its number, if it has come.
    pub(super) fn pid(&self) -> Option<i32> {
        let pid = self.births.word(self.slot)?.load(Ordering::Acquire);
        (pid != 0).then_some(pid as i32)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.births.free.lock().unwrap_or_else(PoisonError::into_inner).given_back.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_for_one_start_at_a_time() {
        let (births, _memfd) = Births::new().unwrap();
        let mut all: Vec<_> = std::iter::from_fn(|| births.claim()).collect();
        let mut slots: Vec<_> = all.iter().map(|expected| expected.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), SLOTS);
        let last = all.pop().unwrap().slot;
        births.word(last).unwrap().store(7, Ordering::Relaxed);
        let again = births.claim().unwrap();
        assert_eq!((again.slot, again.pid()), (last, None), "nothing is left of the start before");
        births.word(last).unwrap().store(8, Ordering::Relaxed);
        assert_eq!(again.pid(), Some(8));
        assert!(births.claim().is_none());
    }
}
