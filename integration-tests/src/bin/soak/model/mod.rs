//! What has to hold, whatever is done to the processes.
//!
//! ```text
//! tally      what is counted, the wrongs among it
//! ledger     how often each call has run, and what its caller was told
//! deed       tasks of all kinds, and which ends of theirs are true
//! excuse     which failures of starts the faults explain
//! blocked    from a kill to the end of the call that was blocked on it
//! watch      who hangs
//! ```

pub(crate) mod blocked;
pub(crate) mod deed;
pub(crate) mod excuse;
pub(crate) mod ledger;
pub(crate) mod tally;
pub(crate) mod watch;
