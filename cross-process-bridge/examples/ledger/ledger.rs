//! The object: accounts and transfers in a SQLite database. It runs in a process of its own, and knows nothing of that.

use std::path::Path;
use std::process::abort;

use cross_process_bridge::{RemoteError, bridge};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

/// An amount of money, in the smallest coin.
pub(crate) type Balance = i64;

/// What each account has in the beginning.
pub(crate) const OPENING: Balance = 1_000;

/// An order to move money.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// Given by whoever orders it, and never used twice: by this one can ask whether it was booked.
    pub(crate) id: i64,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: u32,
}

/// An account, and what its transfers say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) number: u32,
    pub(crate) balance: Balance,
    pub(crate) received: Balance,
    pub(crate) paid: Balance,
}

/// Where a transfer crashes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Crash {
    /// Between the debit and the credit: it isn't booked.
    HalfWay,
    /// When it is booked, and nobody has been told.
    BeforeTheReply,
}

/// Why a transfer isn't booked. As a result of a method it crosses the bridge, and is no `BridgeError`.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum LedgerError {
    #[error("there is no account {0}")]
    NoSuchAccount(u32),
    #[error("account {account} has {balance}, which is less than {amount}")]
    Insufficient { account: u32, balance: Balance, amount: u32 },
    #[error("there is a transfer {0} already")]
    BookedBefore(i64),
    /// SQLite's own error can't be serialised: its text and type name can.
    #[error("the database: {0}")]
    Database(RemoteError),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> LedgerError {
        LedgerError::Database(error.into())
    }
}

pub(crate) struct Ledger {
    /// Made by the constructor, and so in the object's process: SQLite forbids to carry one across a fork.
    connection: Connection,
}

#[bridge]
impl Ledger {
    /// Opens the database, and makes what isn't there. It runs at every start of the process, after a crash as well; then
    /// SQLite first undoes the transaction that the crash has cut off.
    pub(crate) fn open(file: &Path, accounts: u32) -> rusqlite::Result<Ledger> {
        let mut connection = Connection::open(file)?;
        // What is committed survives this process. A loss of power is another matter: for that, `synchronous = FULL`.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        making.execute_batch(
            "CREATE TABLE IF NOT EXISTS accounts (
                 number INTEGER PRIMARY KEY,
                 balance INTEGER NOT NULL CHECK (balance >= 0)
             ) STRICT;
             CREATE TABLE IF NOT EXISTS transfers (
                 id INTEGER PRIMARY KEY,
                 debtor INTEGER NOT NULL REFERENCES accounts,
                 creditor INTEGER NOT NULL REFERENCES accounts,
                 amount INTEGER NOT NULL,
                 balance INTEGER NOT NULL
             ) STRICT;",
        )?;
        for number in 0..accounts {
            making.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?)", params![number, OPENING])?;
        }
        making.commit()?;
        Ok(Ledger { connection })
    }

    /// Moves money from one account to another, and returns what the first one has left.
    pub(crate) fn transfer(&mut self, transfer: &Transfer) -> Result<Balance, LedgerError> {
        self.book(transfer, || ())
    }

    /// As `transfer`, but it crashes. One that is refused doesn't come so far.
    pub(crate) fn transfer_and_crash(
        &mut self,
        transfer: &Transfer,
        when: Crash,
    ) -> Result<Balance, LedgerError> {
        match when {
            Crash::HalfWay => self.book(transfer, || abort()),
            Crash::BeforeTheReply => {
                self.book(transfer, || ())?;
                abort()
            }
        }
    }

    /// Whether a transfer was booked: what the payer had left then, or nothing.
    pub(crate) fn booked(&self, id: i64) -> Result<Option<Balance>, LedgerError> {
        Ok(booked(&self.connection, id)?)
    }

    /// How many transfers were booked.
    pub(crate) fn count(&self) -> Result<u64, LedgerError> {
        Ok(self.connection.query_row("SELECT count(*) FROM transfers", [], |row| row.get(0))?)
    }

    /// The sum of all accounts.
    pub(crate) fn total(&self) -> Result<Balance, LedgerError> {
        Ok(self.connection.query_row("SELECT ifnull(sum(balance), 0) FROM accounts", [], |row| row.get(0))?)
    }

    /// All accounts, by their numbers.
    pub(crate) fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let mut accounts = self.connection.prepare(
            "SELECT number, balance,
                 (SELECT ifnull(sum(amount), 0) FROM transfers WHERE creditor = number),
                 (SELECT ifnull(sum(amount), 0) FROM transfers WHERE debtor = number)
             FROM accounts ORDER BY number",
        )?;
        let read = accounts.query_map([], |row| {
            Ok(Account {
                number: row.get(0)?,
                balance: row.get(1)?,
                received: row.get(2)?,
                paid: row.get(3)?,
            })
        })?;
        Ok(read.collect::<rusqlite::Result<_>>()?)
    }
}

/// What isn't called from elsewhere, and couldn't be: a closure doesn't cross a bridge.
impl Ledger {
    fn book(&mut self, transfer: &Transfer, half_way: impl FnOnce()) -> Result<Balance, LedgerError> {
        let Transfer { id, from, to, amount } = *transfer;
        // Dropped before its commit, it is undone.
        let booking = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if booked(&booking, id)?.is_some() {
            return Err(LedgerError::BookedBefore(id));
        }
        let balance = balance_of(&booking, from)?;
        if balance < amount.into() {
            return Err(LedgerError::Insufficient { account: from, balance, amount });
        }
        add(&booking, from, -Balance::from(amount))?;
        half_way();
        add(&booking, to, amount.into())?;
        let left = balance_of(&booking, from)?;
        booking
            .prepare_cached("INSERT INTO transfers VALUES (?, ?, ?, ?, ?)")?
            .execute(params![id, from, to, amount, left])?;
        booking.commit()?;
        Ok(left)
    }
}

fn booked(connection: &Connection, id: i64) -> rusqlite::Result<Option<Balance>> {
    let mut found = connection.prepare_cached("SELECT balance FROM transfers WHERE id = ?")?;
    found.query_row([id], |row| row.get(0)).optional()
}

fn balance_of(booking: &Transaction<'_>, account: u32) -> Result<Balance, LedgerError> {
    let mut found = booking.prepare_cached("SELECT balance FROM accounts WHERE number = ?")?;
    found.query_row([account], |row| row.get(0)).optional()?.ok_or(LedgerError::NoSuchAccount(account))
}

fn add(booking: &Transaction<'_>, account: u32, amount: Balance) -> Result<(), LedgerError> {
    let mut change = booking.prepare_cached("UPDATE accounts SET balance = balance + ? WHERE number = ?")?;
    match change.execute(params![amount, account])? {
        0 => Err(LedgerError::NoSuchAccount(account)),
        _ => Ok(()),
    }
}
