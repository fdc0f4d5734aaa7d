//! The cases, one file each.

mod event;
mod idle;
mod one_way;
pub(crate) mod payload;
mod round_trip;
mod start;

use crate::case::Case;

/// All of them, in the order in which they are measured.
pub(crate) const ALL: [&Case; 7] = [
    &round_trip::CASE,
    &round_trip::BESIDE_HOG,
    &one_way::CASE,
    &payload::CASE,
    &event::CASE,
    &idle::CASE,
    &start::CASE,
];
