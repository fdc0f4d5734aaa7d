//! The cases, one file each.

mod alive;
#[cfg(feature = "tokio")]
mod async_message;
mod bridge;
mod bridge_beyond;
mod callback;
mod event;
mod event_group;
mod idle;
mod init;
mod main_loop;
mod manager;
mod memory;
mod message;
mod one_way;
pub(crate) mod payload;
mod pictures;
mod pool;
mod round_trip;
mod start;
mod supervise;
mod workers;
mod zygote;

use crate::case::Case;

/// All of them, in the order in which they are measured.
pub(crate) const ALL: &[&Case] = &[
    &round_trip::CASE,
    &round_trip::BESIDE_HOG,
    &one_way::CASE,
    &payload::CASE,
    &bridge::CASE,
    &bridge::PAYLOAD,
    &bridge::THREADS,
    &bridge_beyond::CASE,
    &bridge_beyond::CALLBACKS,
    &bridge_beyond::OPENING,
    &manager::CASE,
    &message::CASE,
    #[cfg(feature = "tokio")]
    &async_message::CASE,
    &main_loop::CASE,
    &event::CASE,
    &event_group::CASE,
    &idle::CASE,
    &start::CASE,
    &callback::CASE,
    &pool::CASE,
    &workers::ONE,
    &workers::MANY,
    &workers::IN_CHUNKS,
    &pictures::CASE,
    &supervise::CASE,
    &zygote::CASE,
    &alive::CASE,
    &memory::CASE,
    &init::CASE,
];
