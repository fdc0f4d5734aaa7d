//! `bridge_chaos [SECONDS [template | zygote]]`: threads and tasks call an object in another process at once for so
//! long, while that process is killed again and again. Whoever gets an error decides by its `execution()` whether to
//! call again, and starts the process if there is none. Prints how often what happened; exit code 1 if anything is
//! wrong:
//!
//! - each call gives what it must, or an error that says why not,
//! - one that failed was carried out, or wasn't, as the error says, and never twice,
//! - no call takes longer than 20 s (if one does, the program says so and aborts),
//! - no process is left in the end.

mod caller;
mod tally;
mod vault;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use multiprocess::cross_process_bridge::Stdio;
use multiprocess::{LaunchOptions, Zygote};

use crate::caller::{Caller, call_as_a_task, call_as_a_thread};
use crate::tally::Tally;
use crate::vault::{VaultBridge, create, read};

const THREADS: u32 = 16;
const TASKS: u32 = 16;
/// Whose number, among the callers, the one who kills has.
const KILLER: u32 = THREADS + TASKS;
const MAX_MESSAGE: usize = 1 << 20;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    multiprocess::init()?;
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let way = arguments.next().unwrap_or_else(|| "template".to_owned());

    let path = std::env::temp_dir().join(format!("bridge_chaos-{}", std::process::id()));
    let file = create(&path, THREADS + TASKS)?;
    let _removed = Removed(path.clone());
    let vault = VaultBridge::open(&path);
    // Some calls panic, as they should: nobody wants to read that, nor wait for the stack.
    let options = LaunchOptions::new().stderr(Stdio::Null).env("RUST_BACKTRACE", "0").core_limit(0);
    vault.process().launch_with(options).max_message(MAX_MESSAGE);
    match &*way {
        "template" => vault.process().launch_from_template()?,
        "zygote" => vault.process().launch_in(&Zygote::global()),
        _ => return Err(format!("from a template or a zygote, not from {way}").into()),
    };
    vault.start()?;

    let tally = Arc::new(Tally::new(KILLER + 1));
    watch(&tally, &path);
    let accounts = chaos(&vault, &tally, Duration::from_secs(seconds))?;
    let written = read(&file)?;
    if accounts != written {
        tally.wrong(format!("by the callers {accounts:?}, by the file {written:?}"));
    }
    tally.restarts.store(vault.process().generation() - 1, Ordering::Relaxed);
    vault.start()?;
    vault.stop()?;
    drop(vault);
    let left = multiprocess::active_children();

    println!("{seconds} s, from a {way}:");
    println!("{tally}");
    left.iter().for_each(|child| println!("LEFT: {child:?}"));
    Ok(if tally.is_right() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All accounts, as they must be.
fn chaos(
    vault: &VaultBridge,
    tally: &Arc<Tally>,
    time: Duration,
) -> Result<Vec<(u32, vault::Account)>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let tasks: Vec<_> = (THREADS..THREADS + TASKS)
        .map(|who| runtime.spawn(call_as_a_task(Caller::new(who, tally), vault.to_async())))
        .collect();
    let mut accounts = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|who| scope.spawn(move || call_as_a_thread(Caller::new(who, tally), vault)))
            .collect();
        kill_now_and_then(vault, tally, time);
        let accounts: Result<Vec<_>, _> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        accounts.map_err(|_| "a thread has panicked")
    })?;
    for task in tasks {
        accounts.push(runtime.block_on(task)?);
    }
    Ok(accounts)
}

/// In the midst of a call, between two, while it starts, or when it is dead already.
fn kill_now_and_then(vault: &VaultBridge, tally: &Tally, time: Duration) {
    while !tally.is_closing() {
        thread::sleep(Duration::from_millis(fastrand::u64(1..60)));
        let _busy = tally.busy(KILLER);
        match vault.process().kill() {
            Ok(()) => tally.kills.fetch_add(1, Ordering::Relaxed),
            // The start before has failed.
            Err(error) if error.needs_start() => continue,
            Err(error) => return tally.wrong(format!("a kill: {error}")),
        };
        if tally.elapsed() >= time {
            tally.close();
        }
    }
}

/// Ends the program when somebody hangs: by force, since it wouldn't get there by itself.
fn watch(tally: &Arc<Tally>, path: &Path) {
    let (tally, path) = (Arc::clone(tally), Removed(path.to_owned()));
    thread::spawn(move || {
        while tally.hung().is_empty() {
            thread::sleep(Duration::from_millis(100));
        }
        println!("{tally}");
        drop(path);
        std::process::abort();
    });
}

/// A file that is removed when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Perhaps it is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}
