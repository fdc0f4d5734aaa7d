//! The callers: clerks who order transfers at once, one who kills the ledger's process now and then, and one who watches
//! the sum.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ledger::{Balance, Crash, LedgerBridge, LedgerError, OPENING, Transfer};
use crate::report::Tally;
use crate::retry::{Trouble, ask, book};

/// How often the sum is checked, and the line of progress drawn.
const MOMENT: Duration = Duration::from_millis(50);

/// How much is done, and how roughly.
pub(crate) struct Plan {
    pub(crate) accounts: u32,
    pub(crate) clerks: usize,
    /// How many transfers are ordered, by all together.
    pub(crate) transfers: Option<u64>,
    pub(crate) time: Option<Duration>,
    /// One transfer of so many crashes.
    pub(crate) crash_every: Option<u64>,
    /// So long is it from one kill to the next, about.
    pub(crate) kill_every: Option<Duration>,
}

pub(crate) struct Bank<'a> {
    pub(crate) ledger: &'a LedgerBridge,
    pub(crate) plan: &'a Plan,
    /// How many there are: of a database that was used before, perhaps more than planned.
    pub(crate) accounts: u32,
    pub(crate) tally: &'a Tally,
    /// Nobody orders anything more.
    pub(crate) closing: &'a AtomicBool,
}

impl Bank<'_> {
    /// Until all is done. `show` is called now and then.
    pub(crate) fn work(&self, show: impl Fn()) -> Result<(), Trouble> {
        let end = self.plan.time.map(|time| Instant::now() + time);
        let ordered = &AtomicU64::new(0);
        thread::scope(|scope| {
            // Nothing is sent by either. A channel is at its end when all who could send are gone.
            let (working, all_done) = mpsc::channel::<Infallible>();
            let (open, closed) = mpsc::channel::<Infallible>();
            let mut threads = vec![scope.spawn(move || self.or_close(self.kill_now_and_then(&closed)))];
            for _ in 0..self.plan.clerks {
                let working = working.clone();
                threads.push(scope.spawn(move || {
                    let _working = working;
                    self.or_close(self.order_transfers(ordered))
                }));
            }
            drop(working);
            let mut result = Ok(());
            while all_done.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                show();
                if end.is_some_and(|end| Instant::now() >= end) {
                    self.closing.store(true, Ordering::Relaxed);
                }
                result = result.and_then(|()| self.or_close(self.check_the_sum()));
            }
            drop(open);
            for thread in threads {
                result = result.and(thread.join().unwrap_or_else(|_| Err("a thread has panicked".into())));
            }
            result
        })
    }

    /// One who fails has the others stop, too.
    fn or_close(&self, result: Result<(), Trouble>) -> Result<(), Trouble> {
        result.inspect_err(|_| self.closing.store(true, Ordering::Relaxed))
    }

    fn order_transfers(&self, ordered: &AtomicU64) -> Result<(), Trouble> {
        while !self.closing.load(Ordering::Relaxed) {
            let number = 1 + ordered.fetch_add(1, Ordering::Relaxed);
            if self.plan.transfers.is_some_and(|transfers| number > transfers) {
                break;
            }
            let transfer = Transfer {
                id: fastrand::i64(..),
                from: fastrand::u32(..self.accounts),
                to: fastrand::u32(..self.accounts),
                amount: fastrand::u32(1..=300),
            };
            let crashes = self.plan.crash_every.is_some_and(|every| number % every == 0);
            let crash = if fastrand::bool() { Crash::HalfWay } else { Crash::BeforeTheReply };
            match book(self.ledger, &transfer, crashes.then_some(crash), self.tally)? {
                Ok(_) => self.tally.booked.one_more(),
                Err(LedgerError::Insufficient { .. }) => self.tally.refused.one_more(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The process may be anywhere then: in a transfer, between two, or dead already.
    fn kill_now_and_then(&self, closed: &Receiver<Infallible>) -> Result<(), Trouble> {
        let Some(every) = self.plan.kill_every else { return Ok(()) };
        while closed.recv_timeout(every.mul_f64(0.5 + fastrand::f64())) == Err(RecvTimeoutError::Timeout) {
            self.ledger.process().kill()?;
            self.tally.kills.one_more();
        }
        Ok(())
    }

    /// Money moves, and is never made or lost, at any moment.
    fn check_the_sum(&self) -> Result<(), Trouble> {
        let total = ask(self.ledger, |ledger| ledger.total())?;
        let expected = OPENING * Balance::from(self.accounts);
        if total == expected { Ok(()) } else { Err(format!("the sum was {expected} and is {total}").into()) }
    }
}
