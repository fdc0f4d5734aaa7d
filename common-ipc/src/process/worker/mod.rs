//! Workers: processes that do one job after another, for pools of them.
//!
//! ```text
//! work      a job: a function of the program's, and its argument       (Work)
//! worker    the process, as whoever deals out jobs sees it             (Worker, Told)
//! reply     what became of a job                                       (Reply, WorkFailure)
//! body      the process itself
//! ```

mod body;
mod reply;
mod work;
#[expect(clippy::module_inception, reason = "the type that the room is named after")]
mod worker;

pub use reply::{Each, Reply, WorkFailure};
pub use work::Work;
pub use worker::{Told, Worker};

/// What the program and its workers write before what they tell each other.
mod kind {
    /// The result of a job.
    pub(super) const RESULT: u32 = 0;
    /// Why it has none.
    pub(super) const FAILURE: u32 = 1;
    /// Of no job: the worker is ready for its first one.
    pub(super) const READY: u32 = 2;
    /// Of no job: the worker can't be made ready, and ends.
    pub(super) const INIT_FAILED: u32 = 3;
}
