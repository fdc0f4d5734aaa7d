//! Events that are made before processes start, and reserved one at a time.
//!
//! ```text
//! group        the events, and who has which               (EventGroup)
//!   reserved     one of them, for one purpose              (Reserved)
//!     index        its name in a message                   (EventIndex)
//!   shared       what of it is in shared memory
//!     slot         the algorithm: what a reservation is, and when it is set
//! sync_index   reserve, tell, wait, release                (SyncIndex, EventGroup::sync)
//! errors       why there is no event, or it isn't set      (EventError)
//! ```

mod errors;
mod group;
mod index;
#[cfg(test)]
mod model;
mod reserved;
mod shared;
mod slot;
mod sync_index;

pub use errors::EventError;
pub use group::EventGroup;
pub use index::EventIndex;
pub use reserved::Reserved;
pub use sync_index::SyncIndex;
