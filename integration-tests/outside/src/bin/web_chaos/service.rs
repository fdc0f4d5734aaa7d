//! The service as it is seen from outside: its program, its processes in /proc, its end.

use std::error::Error;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Dropping it kills the service.
pub struct Service {
    process: Child,
    /// Open as long as the service may write to it.
    _stdout: BufReader<ChildStdout>,
    pub pid: i32,
    pub address: SocketAddr,
}

impl Service {
    /// Starts the service, which is beside this program, in a process group of its own.
    pub async fn start() -> Result<Service, Box<dyn Error>> {
        let program = std::env::current_exe()?.with_file_name("web_service");
        let mut process =
            Command::new(program).process_group(0).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let pid = process.id().ok_or("it has ended")?.try_into()?;
        let mut stdout = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).await?;
        let address = line.trim().strip_prefix("listening on ").ok_or("it doesn't listen")?.parse()?;
        Ok(Service { process, _stdout: stdout, pid, address })
    }

    /// Sends the signal to the service or, if `to_all`, to all of its processes, as Ctrl-C does, and waits for its end.
    pub async fn end(&mut self, signal: Signal, to_all: bool) -> Result<ExitStatus, Box<dyn Error>> {
        kill(Pid::from_raw(if to_all { -self.pid } else { self.pid }), signal)?;
        let ended = tokio::time::timeout(Duration::from_secs(15), self.process.wait()).await;
        Ok(ended.map_err(|_| format!("it goes on 15 s after {signal}"))??)
    }
}

/// A line of /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    parent: i32,
    group: i32,
    state: char,
}

impl Process {
    /// `None`: it is gone.
    fn read(pid: i32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name, before that, may hold anything.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut rest = rest.split(' ');
        let state = rest.next()?.chars().next()?;
        Some(Process { pid, parent: rest.next()?.parse().ok()?, group: rest.next()?.parse().ok()?, state })
    }

    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// The processes of a service beside its first one, whoever is their parent by now.
pub fn processes_of(service: i32) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_service = |process: &Process| process.parent == service || process.group == service;
    pids.filter_map(Process::read).filter(|process| process.pid != service && of_service(process)).collect()
}

/// Sends a signal to a process if it is a child of the service now. Whether it was sent.
pub fn signal_child(service: i32, pid: i32, signal: Signal) -> bool {
    let is_child = |process: Process| process.parent == service && !process.is_zombie();
    Process::read(pid).is_some_and(is_child) && kill(Pid::from_raw(pid), signal).is_ok()
}
