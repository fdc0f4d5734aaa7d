//! The outer process: it runs the inner one, and whatever loses its parent comes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::proc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::arguments::Arguments;
use crate::report::{self, Report};

/// So long the inner process may take over its end; its own watch says sooner who hangs.
const PATIENCE: Duration = Duration::from_secs(150);
/// So long a process may live without its parent: it is killed for that, but a stopped or a busy one takes a moment.
const GRACE: Duration = Duration::from_secs(10);
/// So long the outer process sleeps between two looks.
const TURN: Duration = Duration::from_millis(50);

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
    let mut orphans = Orphans { inner: inner.id() as i32, since: BTreeMap::new(), count: 0 };
    let end = wait(&mut inner, &mut orphans, begin + Duration::from_secs(arguments.seconds) + PATIENCE)?;
    orphans.end();

    let text = told.and_then(|told| told.join().ok()).unwrap_or_default();
    let mut report: Report =
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    match end {
        None => report.wrong(report::HUNG, 1),
        // It has told why.
        Some(code) if code.success() || !report.is_right() => {}
        Some(code) => {
            eprintln!("the inner process: {code}");
            report.wrong(report::FAILED, 1);
        }
    }
    report.wrong(report::ORPHANS, orphans.count);
    report.wrong(report::SHM, shared_memory().difference(&shm).count() as u64);
    println!("{report}");
    let is_right = report.is_right();
    println!("{}, with seed {}", if is_right { "all is right" } else { "WRONG" }, arguments.seed);
    Ok(is_right)
}

/// `None`: it hung, and was killed.
fn wait(
    inner: &mut Child,
    orphans: &mut Orphans,
    deadline: Instant,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = inner.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            eprintln!("HUNG: the inner process doesn't end");
            inner.kill()?;
            inner.wait()?;
            return Ok(None);
        }
        orphans.look();
        std::thread::sleep(TURN);
    }
}

/// Processes whose parent has died. They are to die with it: those who do are buried, the others counted.
struct Orphans {
    inner: i32,
    since: BTreeMap<i32, Instant>,
    count: u64,
}

impl Orphans {
    fn look(&mut self) {
        let children = proc::children(std::process::id() as i32);
        let orphans: Vec<_> = children.into_iter().filter(|child| child.pid != self.inner).collect();
        self.since.retain(|pid, _| orphans.iter().any(|orphan| orphan.pid == *pid));
        for orphan in orphans {
            let pid = Pid::from_raw(orphan.pid);
            if orphan.state == 'Z' {
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                self.since.remove(&orphan.pid);
            } else if self.since.entry(orphan.pid).or_insert_with(Instant::now).elapsed() > GRACE {
                eprintln!("ORPHAN: {} {orphan:?}", proc::name(orphan.pid));
                self.count += 1;
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, None);
            }
        }
    }

    /// Until none is left.
    fn end(&mut self) {
        self.look();
        while !self.since.is_empty()
            || proc::children(std::process::id() as i32).iter().any(|child| child.pid != self.inner)
        {
            std::thread::sleep(TURN);
            self.look();
        }
    }
}

fn shared_memory() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
