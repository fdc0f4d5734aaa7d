//! Who calls: a thread or a task with an account of its own, so that it knows what each call must give. After an error
//! it asks for the account, and looks whether the call was carried out as the error says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use multiprocess::cross_process_bridge::Timeout;
use multiprocess::{BridgeError, Execution};

use crate::MAX_MESSAGE;
use crate::tally::{Tally, Trouble};
use crate::vault::{Account, AsyncVaultBridge, Vault, VaultBridge, VaultError, description};

const MOMENT: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
enum Deed {
    Put(u64),
    Take(u64),
    List(u64),
    Describe(usize),
    /// What is described is longer than a message may be.
    DescribeTooMuch,
    Panic,
    /// The time-out comes first.
    Doze,
    /// The time-out comes first, and kills.
    Sleep,
    /// A task drops the future, if that isn't quick; a thread puts.
    GiveUp,
}

impl Deed {
    /// The account afterwards.
    fn done_to(self, Account { calls, balance }: Account) -> Account {
        let balance = match self {
            Deed::Put(amount) => balance + amount,
            Deed::Take(wanted) => balance.checked_sub(wanted).unwrap_or(balance),
            _ => balance + 1,
        };
        Account { calls: calls + 1, balance }
    }
}

pub struct Caller {
    who: u32,
    /// What it must be.
    account: Account,
    random: fastrand::Rng,
    tally: Arc<Tally>,
}

impl Caller {
    pub fn new(who: u32, tally: &Arc<Tally>) -> Caller {
        let random = fastrand::Rng::with_seed(who.into());
        Caller { who, account: Account::default(), random, tally: Arc::clone(tally) }
    }

    fn choose(&mut self) -> Deed {
        match self.random.u32(..10_000) {
            0..10 => Deed::Panic,
            10..20 => Deed::Doze,
            20 => Deed::Sleep,
            21..30 => Deed::DescribeTooMuch,
            30..200 => Deed::GiveUp,
            200..400 => Deed::Describe(self.random.usize(..100_000)),
            400..2_000 => Deed::List(self.random.u64(..50)),
            2_000..6_000 => Deed::Take(self.random.u64(..20)),
            _ => Deed::Put(self.random.u64(..15)),
        }
    }

    fn picture(&self, length: usize) -> Vec<u8> {
        (0..length).map(|place| (place as u32 * self.who) as u8).collect()
    }

    fn check(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.tally.wrong(format!("caller {}: {}", self.who, what()));
        }
    }

    fn either(&self, taken: Result<Account, VaultError>) -> Account {
        taken.unwrap_or_else(|VaultError::Insufficient { account, .. }| {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            account
        })
    }

    /// A list is written back, or, if there is an error, left alone.
    fn check_list(&self, length: u64, list: &[u64], result: &Result<Account, BridgeError>) {
        let mut expected: Vec<u64> = (0..length).collect();
        if let Ok(account) = result {
            expected.insert(0, length);
            expected.push(account.calls);
        }
        self.check(list == expected, || format!("the list is {list:?} instead of {expected:?}"));
    }

    fn check_result(&mut self, deed: Deed, result: Result<Account, Trouble>) -> Result<(), Trouble> {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        let account = result.inspect_err(|trouble| self.tally.count(trouble))?;
        self.tally.results.fetch_add(1, Ordering::Relaxed);
        let expected = deed.done_to(self.account);
        self.check(account == expected, || format!("{deed:?} gave {account:?} instead of {expected:?}"));
        self.account = expected;
        Ok(())
    }

    /// Whether it needn't be called again. The account is what the object had to say after the error.
    fn settle(&mut self, deed: Deed, trouble: &Trouble, account: Account) -> bool {
        let (before, after) = (self.account, deed.done_to(self.account));
        let is_right = match trouble.execution {
            Execution::NotRun => account == before,
            Execution::Ran => account == after,
            Execution::Unknown => account == before || account == after,
        };
        self.check(is_right, || {
            format!("{deed:?}: {} ({}), and {before:?} became {account:?}", trouble.text, trouble.execution)
        });
        self.account = account;
        account != before || matches!(deed, Deed::DescribeTooMuch) || self.tally.is_closing()
    }
}

/// Calls until the end. A thread and a task do the same, but for the waiting.
macro_rules! call {
    ($caller:ident, $vault:ident, $give_up:expr $(, $await:tt)?) => {{
        let who = $caller.who;
        let tally = Arc::clone(&$caller.tally);
        let hasty = $vault.with_timeout(MOMENT / 4);
        let ruthless = $vault.with_timeout(Timeout::after(MOMENT).and_kill());
        while !tally.is_closing() {
            let deed = $caller.choose();
            loop {
                let busy = tally.busy(who);
                let result = match deed {
                    Deed::Put(amount) => $vault.put(who, amount)$(.$await)?.map_err(Trouble::from),
                    Deed::Take(wanted) => {
                        let taken = $vault.take(who, wanted)$(.$await)?;
                        taken.map(|taken| $caller.either(taken)).map_err(Trouble::from)
                    }
                    Deed::List(length) => {
                        let mut list: Vec<u64> = (0..length).collect();
                        let result = $vault.list(who, &mut list)$(.$await)?;
                        $caller.check_list(length, &list, &result);
                        result.map_err(Trouble::from)
                    }
                    Deed::Describe(length) => {
                        let picture = $caller.picture(length);
                        match $vault.checksum(&picture)$(.$await)? {
                            Ok(sum) => {
                                $caller.check(sum == Vault::checksum(&picture), || format!("a sum of {sum}"));
                            }
                            // It changes nothing, so nobody has to know whether it ran.
                            Err(error) => tally.count(&error.into()),
                        }
                        let described = $vault.describe(who, "naïve", &picture)$(.$await)?;
                        described.map_err(Trouble::from).map(|(account, text)| {
                            $caller.check(text == description("naïve", &picture), || text);
                            account
                        })
                    }
                    Deed::DescribeTooMuch => {
                        let picture = $caller.picture(MAX_MESSAGE + 1);
                        let described = $vault.describe(who, "", &picture)$(.$await)?;
                        described.map(|(account, _)| account).map_err(Trouble::from)
                    }
                    Deed::Panic => $vault.panic(who)$(.$await)?.map_err(Trouble::from),
                    Deed::Doze => hasty.doze(who, MOMENT)$(.$await)?.map_err(Trouble::from),
                    Deed::Sleep => ruthless.doze(who, 1000 * MOMENT)$(.$await)?.map_err(Trouble::from),
                    Deed::GiveUp => $give_up,
                };
                drop(busy);
                let Err(trouble) = $caller.check_result(deed, result) else { break };

                // Busy for all of it, so that one who never gets an answer hangs.
                let _busy = tally.busy(who);
                let mut needs_start = trouble.needs_start;
                let account = loop {
                    let started = if needs_start { $vault.start()$(.$await)? } else { Ok(()) };
                    let asked = match started {
                        Ok(()) => $vault.account(who)$(.$await)?,
                        Err(error) => Err(error),
                    };
                    match asked {
                        Ok(account) => break account,
                        Err(error) => {
                            let another = Trouble::from(error);
                            tally.count(&another);
                            needs_start = another.needs_start;
                        }
                    }
                };
                if $caller.settle(deed, &trouble, account) {
                    break;
                }
            }
        }
        (who, $caller.account)
    }};
}

/// Returns its account, as it must be.
pub fn call_as_a_thread(mut caller: Caller, vault: &VaultBridge) -> (u32, Account) {
    call!(caller, vault, vault.put(caller.who, 1).map_err(Trouble::from))
}

/// As the other.
pub async fn call_as_a_task(mut caller: Caller, vault: AsyncVaultBridge) -> (u32, Account) {
    call!(
        caller,
        vault,
        match tokio::time::timeout(Duration::from_micros(50), vault.put(caller.who, 1)).await {
            Ok(result) => result.map_err(Trouble::from),
            Err(_) => Err(Trouble::dropped()),
        },
        await
    )
}
