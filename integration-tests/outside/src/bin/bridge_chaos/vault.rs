//! The object: accounts that are in memory and, before a call returns, in a file. So the next process knows what the
//! last one has carried out, and the program can look whether the errors that it got were right.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use multiprocess::bridge;
use serde::{Deserialize, Serialize};

/// How long an account is in the file.
const RECORD: usize = 16;

/// What was done for one caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// How many calls were carried out that change something.
    pub calls: u64,
    pub balance: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VaultError {
    /// The balance is what it was. It counts as a call.
    Insufficient { account: Account, wanted: u64 },
}

pub struct Vault {
    file: File,
    accounts: HashMap<u32, Account>,
}

#[bridge]
impl Vault {
    /// Finds what the processes before have left.
    pub fn open(path: &Path) -> io::Result<Vault> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let accounts = read(&file)?.into_iter().collect();
        Ok(Vault { file, accounts })
    }

    pub fn account(&self, who: u32) -> Account {
        self.accounts.get(&who).copied().unwrap_or_default()
    }

    pub fn put(&mut self, who: u32, amount: u64) -> Account {
        self.change(who, |balance| balance + amount)
    }

    pub fn take(&mut self, who: u32, wanted: u64) -> Result<Account, VaultError> {
        let had = self.account(who).balance;
        let account = self.change(who, |balance| balance.checked_sub(wanted).unwrap_or(balance));
        if had < wanted { Err(VaultError::Insufficient { account, wanted }) } else { Ok(account) }
    }

    /// Puts 1; the list has its length at its front then, and the number of calls at its end.
    pub fn list(&mut self, who: u32, list: &mut Vec<u64>) -> Account {
        let account = self.put(who, 1);
        list.insert(0, list.len() as u64);
        list.push(account.calls);
        account
    }

    /// Puts 1.
    pub fn describe(&mut self, who: u32, name: &str, picture: &[u8]) -> (Account, String) {
        (self.put(who, 1), description(name, picture))
    }

    /// Puts 1, and panics.
    pub fn panic(&mut self, who: u32) -> Account {
        let account = self.put(who, 1);
        panic!("as it should, after {account:?}");
    }

    /// Puts 1, and takes its time.
    pub fn doze(&mut self, who: u32, time: Duration) -> Account {
        let account = self.put(who, 1);
        thread::sleep(time);
        account
    }

    /// Needs no object.
    pub fn checksum(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |sum, byte| (sum * 31 + u64::from(*byte)) % 1_000_003)
    }
}

impl Vault {
    fn change(&mut self, who: u32, balance: impl FnOnce(u64) -> u64) -> Account {
        let account = self.accounts.entry(who).or_default();
        *account = Account { calls: account.calls + 1, balance: balance(account.balance) };
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&account.calls.to_le_bytes());
        record[8..].copy_from_slice(&account.balance.to_le_bytes());
        // In one system call, so that a kill comes before it or after it.
        if let Err(error) = self.file.write_all_at(&record, u64::from(who) * RECORD as u64) {
            panic!("the vault's file: {error}");
        }
        *account
    }
}

pub fn description(name: &str, picture: &[u8]) -> String {
    format!("{name}, {} bytes, {}", picture.len(), Vault::checksum(picture))
}

/// Makes the file, of accounts in which nothing is.
pub fn create(path: &Path, callers: u32) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.set_len(u64::from(callers) * RECORD as u64)?;
    Ok(file)
}

/// All accounts of the file.
pub fn read(file: &File) -> io::Result<Vec<(u32, Account)>> {
    let mut accounts = Vec::new();
    for at in (0..file.metadata()?.len()).step_by(RECORD) {
        let (mut calls, mut balance) = ([0; 8], [0; 8]);
        file.read_exact_at(&mut calls, at)?;
        file.read_exact_at(&mut balance, at + 8)?;
        let account = Account { calls: u64::from_le_bytes(calls), balance: u64::from_le_bytes(balance) };
        accounts.push(((at / RECORD as u64) as u32, account));
    }
    Ok(accounts)
}
