//! What to do about a call that has failed: it goes by whether the method ran.

use std::error::Error;

use cross_process_bridge::{BridgeError, Execution, Signal};

use crate::ledger::{Balance, Crash, LedgerBridge, LedgerError, Transfer};
use crate::report::Tally;

pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

/// Has a transfer booked once, however often the ledger's process dies over it. The ledger may refuse it.
pub(crate) fn book(
    ledger: &LedgerBridge,
    transfer: &Transfer,
    mut crash: Option<Crash>,
    tally: &Tally,
) -> Result<Result<Balance, LedgerError>, Trouble> {
    loop {
        let crashes = crash.take();
        let called = match crashes {
            Some(when) => ledger.transfer_and_crash(transfer, when),
            None => ledger.transfer(transfer),
        };
        let error = match called {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if crashes.is_some() && has_aborted(&error) {
            tally.crashes.one_more();
        }
        match revive(ledger, error)? {
            Execution::NotRun => tally.not_run.one_more(),
            // The process that may have booked it is dead: it won't do so later, and what the next one says is final.
            Execution::Unknown | Execution::Ran => {
                tally.unknown.one_more();
                if let Some(balance) = ask(ledger, |ledger| ledger.booked(transfer.id))? {
                    tally.found.one_more();
                    return Ok(Ok(balance));
                }
            }
        }
    }
}

/// Calls a method that changes nothing: it can be called again whether it ran or not.
pub(crate) fn ask<R>(
    ledger: &LedgerBridge,
    question: impl Fn(&LedgerBridge) -> Result<Result<R, LedgerError>, BridgeError>,
) -> Result<R, Trouble> {
    loop {
        match question(ledger) {
            Ok(answer) => return Ok(answer?),
            Err(error) => revive(ledger, error)?,
        };
    }
}

/// Starts the process again if it has died; of several threads that find it dead one starts it, and the others wait for
/// that. Returns whether the call had run. Other errors aren't made good by a start.
fn revive(ledger: &LedgerBridge, error: BridgeError) -> Result<Execution, BridgeError> {
    let BridgeError::PeerDied { execution, .. } = error else { return Err(error) };
    ledger.start()?;
    Ok(execution)
}

/// Whether this very call has crashed, and not one before it.
fn has_aborted(error: &BridgeError) -> bool {
    matches!(error, BridgeError::PeerDied { status, execution: Execution::Unknown, .. }
        if status.signal() == Some(Signal::ABRT))
}
