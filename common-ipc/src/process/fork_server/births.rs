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
    /// The program's: those that nobody uses.
    free: Mutex<Vec<u16>>,
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
        Ok(Births { mapping, free: Mutex::new((0..SLOTS as u16).rev().collect()) })
    }

    /// A place for a child to come. `None`: all are in use.
    pub(super) fn claim(&self) -> Option<Expected<'_>> {
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
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
        self.births.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}
