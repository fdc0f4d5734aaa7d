//! Runs a scenario in a process of its own and kills it if it hangs.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::proc;

/// What a scenario left behind: its status and what it wrote.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The exit code of a scenario that can't be played here.
pub const SKIPPED: i32 = 77;

/// So long nothing here takes; whatever does, hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs `scenario name`, with more arguments if there are any, and waits for it.
///
/// # Panics
///
/// If it can't be started, or hangs; it is killed then.
#[must_use]
pub fn run(program: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    // A panic with a backtrace takes its process a tenth of a second, for symbols; those about backtraces ask for them.
    command.env("RUST_BACKTRACE", "0");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("can't run {}: {error}", program.display()));
    let pid = child.id() as i32;
    // The streams may outlive the scenario where it leaves somebody behind who holds them.
    let drain = |mut stream: Box<dyn Read + Send>| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                bytes.extend(&buffer[..count]);
                if sender.send(std::mem::take(&mut bytes)).is_err() {
                    return;
                }
            }
        });
        receiver
    };
    let out = child.stdout.take().map(|stream| drain(Box::new(stream)));
    let err = child.stderr.take().map(|stream| drain(Box::new(stream)));
    let begin = std::time::Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
            _ => break None,
        }
    };
    let hung = status.is_none().then(|| format!("{:?}, children {:?}", proc::stat(pid), proc::children(pid)));
    if hung.is_some() {
        // With whatever it has started, which it holds by number as long as it hangs.
        for pid in descendants(pid) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = child.kill();
    }
    let status = status.or_else(|| child.wait().ok()).unwrap_or_else(|| ExitStatus::from_raw(0xff00));
    let text = |receiver: Option<std::sync::mpsc::Receiver<Vec<u8>>>| {
        let mut bytes = Vec::new();
        while let Ok(more) = receiver
            .as_ref()
            .ok_or(())
            .and_then(|receiver| receiver.recv_timeout(Duration::from_millis(500)).map_err(drop))
        {
            bytes.extend(more);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ran = Ran { status, stdout: text(out), stderr: text(err) };
    if let Some(state) = hung {
        panic!("{arguments:?} hung for {PATIENCE:?} and was killed: {state}\n{}\n{}", ran.stdout, ran.stderr);
    }
    ran
}

/// The processes that this one has started, and those that they have, the oldest first.
fn descendants(of: i32) -> Vec<i32> {
    let mut found: Vec<i32> = proc::children(of).iter().map(|child| child.pid).collect();
    let mut place = 0;
    while place < found.len() {
        found.extend(proc::children(found[place]).iter().map(|child| child.pid));
        place += 1;
    }
    found
}
