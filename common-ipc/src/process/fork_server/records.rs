//! The link by which the log records of a child come to the program, on its way through a server.

use std::io;
use std::os::fd::BorrowedFd;

use log::LevelFilter;

use crate::logging::{self, Route};
use crate::ownership::descriptors::PrivateFd;
use crate::process::plan::Plan;

/// What a child is told of its link, which comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Records {
    /// The program's level.
    pub(super) level: LevelFilter,
    /// The link is that of the process that asks.
    pub(super) shared: bool,
}

const SHARED: u8 = 0x80;

impl Records {
    /// As one byte, which isn't zero.
    pub(super) fn to_byte(self) -> u8 {
        1 + self.level as u8 + if self.shared { SHARED } else { 0 }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Records> {
        let level = usize::from(byte & !SHARED).checked_sub(1)?;
        Some(Records { level: LevelFilter::iter().nth(level)?, shared: byte & SHARED != 0 })
    }
}

/// The link of a child to come.
#[derive(Debug)]
pub(super) enum LinkForRecords {
    None,
    New { ours: PrivateFd, theirs: PrivateFd },
    Shared(BorrowedFd<'static>),
}

impl LinkForRecords {
    pub(super) fn new(plan: &Plan<'_>) -> io::Result<LinkForRecords> {
        Ok(match logging::route() {
            Route::New if plan.relays_records => {
                let (ours, theirs) = PrivateFd::pair(logging::pair)?;
                LinkForRecords::New { ours, theirs }
            }
            Route::Shared(link) if plan.relays_records => LinkForRecords::Shared(link),
            _ => LinkForRecords::None,
        })
    }

    pub(super) fn told(&self) -> Option<Records> {
        let shared = match self {
            LinkForRecords::None => return None,
            LinkForRecords::New { .. } => false,
            LinkForRecords::Shared(_) => true,
        };
        Some(Records { level: log::max_level(), shared })
    }

    /// What goes along.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            LinkForRecords::None => None,
            LinkForRecords::New { theirs, .. } => theirs.get().ok(),
            LinkForRecords::Shared(link) => Some(*link),
        }
    }

    /// Once it has been sent: the program's end, of a new one.
    pub(super) fn into_ours(self) -> Option<PrivateFd> {
        match self {
            LinkForRecords::New { ours, .. } => Some(ours),
            LinkForRecords::None | LinkForRecords::Shared(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back() {
        for level in LevelFilter::iter() {
            for shared in [false, true] {
                let records = Records { level, shared };
                assert_eq!(Records::from_byte(records.to_byte()), Some(records));
            }
        }
        assert_eq!(Records::from_byte(0), None);
        assert_eq!(Records::from_byte(7), None);
    }
}
