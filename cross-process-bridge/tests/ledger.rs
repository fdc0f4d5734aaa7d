//! The example `ledger` keeps its books, whoever is killed over it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples;

use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rusqlite::Connection;

use examples::{Example, eventually, example, run, stderr, stdout};

/// The number before some words of the output.
fn number(output: &str, words: &str) -> u64 {
    let before = output.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {output}")).0;
    let digits = before.rsplit(|char: char| !char.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

fn ask(database: &Path, question: &str) -> rusqlite::Result<u64> {
    Connection::open(database)?.query_row(question, [], |row| row.get(0))
}

fn transfers(database: &Path) -> u64 {
    ask(database, "SELECT count(*) FROM transfers").unwrap_or(0)
}

/// What the table says is what is in the database, and all is as it should be.
fn check(output: &str, database: &Path, accounts: u64) {
    assert!(output.contains("the ledger is right"), "{output}");
    assert_eq!(ask(database, "SELECT sum(balance) FROM accounts").unwrap(), 1_000 * accounts);
    for row in output.lines().skip(1).take(accounts as usize) {
        let row: Vec<i64> = row.split_whitespace().map(|field| field.parse().unwrap()).collect();
        let [number, opening, received, paid, balance] = row[..] else { panic!("{row:?}") };
        assert_eq!(opening + received - paid, balance);
        let kept = ask(database, &format!("SELECT balance FROM accounts WHERE number = {number}"));
        assert_eq!(kept.unwrap() as i64, balance);
    }
}

#[test]
fn each_transfer_is_booked_once_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ledger.sqlite");
    let file = database.to_str().unwrap();
    let often = ["--crash-every", "20", "--kill-every", "10", "--threads", "6", "--accounts", "5"];
    let ran = run("ledger", &[&["--transfers", "3000", "--database", file], &often[..]].concat());
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let output = stdout(&ran);
    check(&output, &database, 5);
    let booked = number(&output, " booked,");
    assert_eq!(booked + number(&output, " refused"), 3000, "{output}");
    assert_eq!(transfers(&database), booked);
    // Each crash is a start; not each kill, since it may find a process that is dying anyway.
    let crashes = number(&output, ", kills");
    assert!(crashes > 0 && number(&output, "\ncalls that had not run") > crashes, "{output}");
    assert!(number(&output, " had, and") + number(&output, " were made again") >= crashes, "{output}");
}

#[test]
fn nothing_dies_without_being_told_to() {
    let ran = run("ledger", &["--transfers", "500", "--crash-every", "0", "--kill-every", "0"]);
    assert!(ran.status.success(), "{ran:?}");
    let output = stdout(&ran);
    assert!(output.contains("crashes: 0, kills: 0\nstarts of its process: 1\n"), "{output}");
    assert!(
        output.contains("not run when it died: 0,") && output.contains("the ledger is right"),
        "{output}"
    );
}

#[test]
fn ctrl_c_ends_it_with_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ledger.sqlite");
    let endless = ["--seconds", "86400", "--database", database.to_str().unwrap()];
    let ran = Example::new(&example("ledger"), &endless).run_while(|group| {
        eventually(|| transfers(&database) > 100);
        // Beside it nobody else can.
        let second = run("ledger", &["--transfers", "1", "--database", database.to_str().unwrap()]);
        assert_eq!(second.status.code(), Some(1));
        assert!(stderr(&second).contains("another program"), "{second:?}");
        // As a terminal does.
        killpg(Pid::from_raw(group), Signal::SIGINT).unwrap();
    });
    assert!(ran.status.success(), "{ran:?}");
    check(&stdout(&ran), &database, 10);
}

#[test]
fn it_goes_on_after_the_program_itself_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ledger.sqlite");
    let file = database.to_str().unwrap();
    let killed =
        Example::new(&example("ledger"), &["--seconds", "86400", "--database", file]).run_while(|group| {
            eventually(|| transfers(&database) > 100);
            kill(Pid::from_raw(group), Signal::SIGKILL).unwrap();
        });
    assert!(killed.status.code().is_none() && killed.stdout.is_empty(), "{killed:?}");
    let before = transfers(&database);
    assert!(before > 100);
    let ran = run("ledger", &["--transfers", "200", "--database", file, "--accounts", "12"]);
    assert!(ran.status.success(), "{ran:?}");
    check(&stdout(&ran), &database, 12);
    assert_eq!(transfers(&database), before + number(&stdout(&ran), " booked,"));
}

#[test]
fn exit_codes_say_what_happened() {
    let help = run("ledger", &["--help"]);
    assert!(help.status.success() && stdout(&help).starts_with("usage: ledger"), "{help:?}");
    for wrong in [&["--nonsense", "1"][..], &["--seconds"], &["--seconds", "soon"], &["--threads", "0"]] {
        let ran = run("ledger", wrong);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        assert!(stderr(&ran).contains(wrong[0]), "{ran:?}");
    }
    let nowhere = run("ledger", &["--database", "/nonexistent/ledger"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("/nonexistent/ledger: No such file"), "{nowhere:?}");
    // What isn't a database is found by the constructor, in its process.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter");
    std::fs::write(&file, "Dear ledger, ".repeat(1000)).unwrap();
    let letter = run("ledger", &["--database", file.to_str().unwrap()]);
    assert_eq!(letter.status.code(), Some(1));
    assert!(stderr(&letter).contains("Ledger::open failed: file is not a database"), "{letter:?}");
}
