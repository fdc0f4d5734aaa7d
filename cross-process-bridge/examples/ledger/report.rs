//! What has happened, counted; and whether the ledger is right.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ledger::{Account, Balance, LedgerBridge, OPENING};
use crate::retry::{Trouble, ask};

/// Counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) booked: Count,
    pub(crate) refused: Count,
    /// Crashes in a transfer.
    pub(crate) crashes: Count,
    /// Kills from without.
    pub(crate) kills: Count,
    /// Calls of `transfer` that weren't carried out, and were made again.
    pub(crate) not_run: Count,
    /// Calls of `transfer` of which nobody knew whether they were ...
    pub(crate) unknown: Count,
    /// ... and of these, the ones that had been.
    pub(crate) found: Count,
}

/// In a line, for those who wait.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (booked, refused) = (self.booked.get(), self.refused.get());
        write!(f, "transfers: {booked} booked, {refused} refused for want of money; ")?;
        write!(f, "crashes: {}, kills: {}", self.crashes.get(), self.kills.get())
    }
}

/// Prints the table; returns whether the ledger is right. `before` is how many transfers it had in the beginning.
pub(crate) fn print(ledger: &LedgerBridge, tally: &Tally, before: u64) -> Result<bool, Trouble> {
    let accounts = ask(ledger, |ledger| ledger.accounts())?;
    let transfers = ask(ledger, |ledger| ledger.count())?;
    println!("{:>8}{:>10}{:>10}{:>10}{:>10}", "account", "opening", "received", "paid", "balance");
    let mut wrong = Vec::new();
    for Account { number, balance, received, paid } in &accounts {
        println!("{number:>8}{OPENING:>10}{received:>10}{paid:>10}{balance:>10}");
        if OPENING + received - paid != *balance {
            wrong.push(format!("the transfers of account {number} don't explain its balance"));
        }
    }
    let (opening, total) = (
        OPENING * accounts.len() as Balance,
        accounts.iter().map(|account| account.balance).sum::<Balance>(),
    );
    println!("{:>8}{opening:>10}{:>30}\n", "sum", total);
    if total != opening {
        wrong.push("the sum has changed".to_owned());
    }
    if transfers != before + tally.booked.get() {
        wrong
            .push(format!("{transfers} transfers are booked, and should be {}", before + tally.booked.get()));
    }

    println!("{tally}");
    println!("starts of its process: {}", ledger.process().generation());
    let (not_run, unknown, found) = (tally.not_run.get(), tally.unknown.get(), tally.found.get());
    println!("calls that had not run when it died: {not_run}, made again");
    println!(
        "calls that may have run: {unknown}, of which {found} had, and {} were made again",
        unknown - found
    );
    for problem in &wrong {
        println!("WRONG: {problem}");
    }
    if wrong.is_empty() {
        println!("the ledger is right: nothing is lost, nothing is booked twice");
    }
    Ok(wrong.is_empty())
}
