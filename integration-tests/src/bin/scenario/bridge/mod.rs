//! Bridges: objects in processes of their own.

mod blocks;
mod callbacks;
mod chaos;
mod edges;
mod faults;
pub(crate) mod fields;
mod hostile;
mod life;
mod moving;
mod nested;
mod reentry;
mod results;
mod shapes;
mod start_stop;
mod stream_faults;
mod streams;
mod threads;
mod traits;
pub(crate) mod ways;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[
    blocks::ALL,
    callbacks::ALL,
    chaos::ALL,
    edges::ALL,
    faults::ALL,
    hostile::ALL,
    life::ALL,
    moving::ALL,
    fields::ALL,
    nested::ALL,
    results::ALL,
    shapes::ALL,
    start_stop::ALL,
    stream_faults::ALL,
    streams::ALL,
    threads::ALL,
    traits::ALL,
];
