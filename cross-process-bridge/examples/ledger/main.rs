//! A bank's ledger, in a process of its own that crashes and is killed again and again: no transfer is lost, and none is
//! booked twice.
//!
//! `cargo run -p cross-process-bridge --example ledger -- --help`
//!
//! In `ledger` is the object, in `retry` what a caller does when a call fails, in `bank` are the callers.

mod bank;
mod ledger;
mod report;
mod retry;

use std::env;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cross_process_bridge::{LaunchOptions, Sigint};
use indicatif::{ProgressBar, ProgressStyle};
use nix::fcntl::{Flock, FlockArg};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::bank::{Bank, Plan};
use crate::ledger::LedgerBridge;
use crate::report::Tally;
use crate::retry::{Trouble, ask};

const HELP: &str = "\
usage: ledger [OPTION]...

Moves money between accounts at random, from several threads at once. The accounts are in a SQLite database, in a process
of its own, which crashes in the midst of some transfers, and is killed now and then. Prints the accounts in the end, and
whether they are right.

  --transfers N      order N transfers; 20000, if --seconds isn't given either
  --seconds N        stop after N seconds; Ctrl-C stops earlier
  --threads N        order from N threads at once; 4 without this
  --accounts N       have N accounts, or more if the database has more; 10 without this
  --crash-every N    crash in every Nth transfer; 100 without this, and 0 for never
  --kill-every N     kill the process about every N milliseconds; 50 without this, and 0 for never
  --database FILE    keep the accounts in FILE, which one program at a time can; without this in a temporary one
  --help             print this

Exit code: 0 if the ledger is right; 1 if it is wrong, or can't be kept; 2 for wrong arguments.";

struct Settings {
    plan: Plan,
    database: Option<PathBuf>,
}

fn main() -> ExitCode {
    match settings() {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(settings)) => match run(&settings) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("ledger: {error}");
                ExitCode::FAILURE
            }
        },
        Err(problem) => {
            eprintln!("ledger: {problem}; see --help");
            ExitCode::from(2)
        }
    }
}

fn settings() -> Result<Option<Settings>, String> {
    let mut plan = Plan {
        accounts: 10,
        clerks: 4,
        transfers: None,
        time: None,
        crash_every: Some(100),
        kill_every: Some(Duration::from_millis(50)),
    };
    let mut database = None;
    let mut arguments = env::args_os().skip(1);
    while let Some(option) = arguments.next() {
        let option = option.to_string_lossy();
        if option == "--help" || option == "-h" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        if option == "--database" {
            database = Some(value.into());
            continue;
        }
        let number = value.to_str().and_then(|value| value.parse::<u32>().ok());
        let number = number.ok_or_else(|| format!("{option} needs a number"))?;
        match &*option {
            "--transfers" => plan.transfers = Some(number.into()),
            "--seconds" => plan.time = Some(Duration::from_secs(number.into())),
            "--threads" if number > 0 => plan.clerks = number as usize,
            "--accounts" if number > 0 => plan.accounts = number,
            "--threads" | "--accounts" => return Err(format!("{option} needs a number from 1 on")),
            "--crash-every" => plan.crash_every = (number > 0).then_some(number.into()),
            "--kill-every" => {
                plan.kill_every = (number > 0).then_some(Duration::from_millis(number.into()));
            }
            _ => return Err(format!("there is no option {option}")),
        }
    }
    if plan.transfers.is_none() && plan.time.is_none() {
        plan.transfers = Some(20_000);
    }
    Ok(Some(Settings { plan, database }))
}

/// Has the file for this program alone: another one's transfers would be missing in this one's count.
fn take(database: &Path) -> Result<Flock<File>, String> {
    let failed = |why: &dyn Display| format!("{}: {why}", database.display());
    let file = OpenOptions::new().create(true).append(true).open(database).map_err(|error| failed(&error))?;
    let taken = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    taken.map_err(|(_, errno)| {
        failed(&format_args!("no lock, as if another program had it: {}", errno.desc()))
    })
}

fn run(settings: &Settings) -> Result<bool, Trouble> {
    let folder = tempfile::tempdir()?;
    let database = settings.database.clone().unwrap_or_else(|| folder.path().join("ledger.sqlite"));
    let _taken = take(&database)?;
    let closing = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&closing))?;
    }

    let ledger = LedgerBridge::open(&database, settings.plan.accounts);
    // A crash leaves no core dump. Ctrl-C reaches the whole group of processes, and is this one's matter.
    ledger.process().launch_with(LaunchOptions::new().core_limit(0).sigint(Sigint::Ignore));
    // Before there is any thread: from now on the process can be started beside threads, too.
    ledger.process().launch_from_template()?;
    ledger.start()?;

    let accounts = ask(&ledger, |ledger| ledger.accounts())?.len().try_into()?;
    let before = ask(&ledger, |ledger| ledger.count())?;
    let tally = Tally::default();
    // On standard error, and only where that is a terminal.
    let line = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{elapsed} {wide_msg}")?);
    let bank = Bank { ledger: &ledger, plan: &settings.plan, accounts, tally: &tally, closing: &closing };
    bank.work(|| line.set_message(tally.to_string()))?;
    line.finish_and_clear();

    let right = report::print(&ledger, &tally, before)?;
    ledger.stop()?;
    folder.close()?;
    Ok(right)
}
