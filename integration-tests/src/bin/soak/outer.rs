//! The outer process: it runs the inner one, and whatever loses its parent comes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::proc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::arguments::Arguments;
use crate::report::{self, Report};

/// So long the inner process may take over its end; its own watch says sooner who hangs.
const PATIENCE: Duration = Duration::from_secs(150);
/// So long a process may live without its parent: it is killed for that, but a stopped or a busy one takes a moment.
const GRACE: Duration = Duration::from_secs(10);
/// So long the outer process sleeps between two looks at who has ended, ...
const TURN: Duration = Duration::from_millis(20);
/// ... and at who lives without a parent. It is seldom, since a process that is looked at in /proc is slower to bury.
const LOOK: Duration = Duration::from_secs(1);

/// Whether all was as it must be.
pub(crate) fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    println!("soak: {} s, seed {}", arguments.seconds, arguments.seed);
    nix::sys::prctl::set_child_subreaper(true)?;
    let shm = shared_memory();
    let begin = Instant::now();
    let mut inner = Command::new(std::env::current_exe()?)
        .args(arguments.of_inner())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let told = inner.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        })
    });
    let deadline = begin + Duration::from_secs(arguments.seconds) + PATIENCE;
    let mut family =
        Family { inner: Pid::from_raw(inner.id() as i32), end: None, since: BTreeMap::new(), orphans: 0 };
    // What becomes of it is seen here, among all others.
    drop(inner);
    let has_ended = family.wait(deadline);

    let text = told.and_then(|told| told.join().ok()).unwrap_or_default();
    let mut report: Report =
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    if report.counts.values().sum::<u64>() == 0 {
        eprintln!("the inner process has told nothing");
        report.wrong(report::FAILED, 1);
    }
    match family.end {
        _ if !has_ended => report.wrong(report::HUNG, 1),
        // It has told why.
        Some(WaitStatus::Exited(_, 0)) => {}
        _ if !report.is_right() => {}
        end => {
            eprintln!("the inner process ended so: {end:?}");
            report.wrong(report::FAILED, 1);
        }
    }
    report.wrong(report::ORPHANS, family.orphans);
    report.wrong(report::SHM, shared_memory().difference(&shm).count() as u64);
    println!("{report}");
    let is_right = report.is_right();
    println!("{}, with seed {}", if is_right { "all is right" } else { "WRONG" }, arguments.seed);
    Ok(is_right)
}

/// The inner process, and those whose parent has died. They are to die with it: those who do are buried, the others
/// counted.
struct Family {
    inner: Pid,
    end: Option<WaitStatus>,
    /// Since when who lives is known.
    since: BTreeMap<Pid, Instant>,
    orphans: u64,
}

impl Family {
    /// Until nobody is left. Whether the inner process has ended by itself.
    fn wait(&mut self, deadline: Instant) -> bool {
        let (mut looked, mut in_time) = (Instant::now(), true);
        loop {
            let somebody_lives = self.bury();
            if self.end.is_none() && in_time && Instant::now() > deadline {
                eprintln!("HUNG: the inner process doesn't end");
                in_time = false;
                let _ = kill(self.inner, Signal::SIGKILL);
            }
            if !somebody_lives {
                return in_time;
            }
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                self.look();
            }
            std::thread::sleep(TURN);
        }
    }

    /// Whether anybody is left.
    fn bury(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return true,
                Ok(end) if end.pid() == Some(self.inner) => self.end = Some(end),
                Ok(end) => drop(end.pid().and_then(|pid| self.since.remove(&pid))),
                Err(_) => return false,
            }
        }
    }

    fn look(&mut self) {
        // Whoever isn't buried yet is this process's, and its number is its own.
        for pid in children().into_iter().filter(|pid| *pid != self.inner) {
            if self.since.entry(pid).or_insert_with(Instant::now).elapsed() > GRACE {
                eprintln!("ORPHAN: {} {:?}", proc::name(pid.as_raw()), proc::stat(pid.as_raw()));
                self.orphans += 1;
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

/// Those of this process, as its one thread that has any knows them.
fn children() -> Vec<Pid> {
    let me = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/self/task/{me}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Some(Pid::from_raw(pid.parse().ok()?))).collect()
}

fn shared_memory() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
