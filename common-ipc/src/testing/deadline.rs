//! Programs that must come to their end.

use std::fmt;
use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::testing::proc;

/// How a program ended, and what it wrote.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; what isn't UTF-8 in it is replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// Why a program didn't come to its end.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It couldn't be started, or not be waited for.
    #[error("the program can't be run")]
    Run(#[source] io::Error),
    /// It hung, and was killed, with all that came from it.
    #[error("it hung for {deadline:?} and was killed: {state}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")]
    Hung {
        /// How long it was waited for.
        deadline: Duration,
        /// What the kernel said of it and of its children at that moment.
        state: String,
        /// What it had written.
        stdout: String,
        /// Likewise.
        stderr: String,
    },
}

crate::error::debug_is_display!(RunError);

const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The streams may outlive the program, where it leaves somebody behind who holds them: so long they are silent.
const SILENCE: Duration = Duration::from_millis(500);

/// Runs a program until its end, and kills it with all that came from it if it hasn't ended by the deadline: for tests of
/// programs that may hang. It has no standard input.
///
/// ```
/// use std::process::Command;
/// use std::time::Duration;
/// use common_ipc::testing::{RunError, run_within};
///
/// let ran = run_within(Command::new("sh").args(["-c", "echo well; exit 3"]), Duration::from_secs(10))?;
/// assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(3), "well\n"));
/// let hung = run_within(Command::new("sh").args(["-c", "echo begun; sleep 60"]), Duration::from_millis(200));
/// assert!(matches!(hung, Err(RunError::Hung { stdout, .. }) if stdout == "begun\n"));
/// # Ok::<(), RunError>(())
/// ```
///
/// # Errors
///
/// [`RunError`].
pub fn run_within(command: &mut Command, deadline: Duration) -> Result<Ran, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(RunError::Run)?;
    let pid = child.id() as i32;
    let out = child.stdout.take().map(drain);
    let err = child.stderr.take().map(drain);
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().map_err(RunError::Run)? {
            Some(status) => break Some(status),
            None if begin.elapsed() < deadline => thread::sleep(LOOK_AGAIN),
            None => break None,
        }
    };
    if let Some(status) = status {
        return Ok(Ran { status, stdout: text(out), stderr: text(err) });
    }
    let state = State { pid }.to_string();
    // With whatever it has started, which it holds by number as long as it hangs.
    for pid in proc::descendants(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    child.kill().and_then(|()| child.wait()).map_err(RunError::Run)?;
    Err(RunError::Hung { deadline, state, stdout: text(out), stderr: text(err) })
}

/// What the kernel says of a process that hangs.
struct State {
    pid: i32,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, children {:?}", proc::stat(self.pid), proc::children(self.pid))
    }
}

fn drain(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn text(stream: Option<Receiver<Vec<u8>>>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        while let Ok(more) = stream.recv_timeout(SILENCE) {
            bytes.extend(more);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
