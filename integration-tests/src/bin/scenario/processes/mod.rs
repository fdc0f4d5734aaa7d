//! Children by the base alone: how they start, what they have, how they end.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod bad_input;
mod beside_threads;
mod callbacks;
pub(crate) mod children;
mod collecting;
mod death;
mod failed_starts;
mod fork_rule;
mod inheritance;
mod many;
mod nested;
pub(crate) mod parent_death;
pub(crate) mod programs;
mod setup;
mod words;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[
    bad_input::ALL,
    beside_threads::ALL,
    callbacks::ALL,
    collecting::ALL,
    death::ALL,
    failed_starts::ALL,
    fork_rule::ALL,
    inheritance::ALL,
    many::ALL,
    nested::ALL,
    parent_death::ALL,
    setup::ALL,
    words::ALL,
];
