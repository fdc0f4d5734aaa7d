//! The programs of the tutorial print what they should, and end as they should.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Where `cargo test` has built it, beside this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "it isn't built: cargo test -p valkka-multiprocess builds it, and --test tutorial alone doesn't"
    );
    path
}

/// What it has printed, when it has ended well.
fn output(name: &str) -> String {
    let ran = Command::new(example(name)).output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn ping_pong() {
    let expected = "\
pong [1, 2, 3] by another process: true
error: player: command 2 (Ping) failed: nothing to pong
the back end exited with code 0
";
    assert_eq!(output("ping_pong"), expected);
}

#[test]
fn ping_sync() {
    let mut expected = String::new();
    for number in 1..=3 {
        expected += &format!("back end: ping [{number}, {number}, {number}]\n");
        expected += "front end: it was handled, and 10 events are free\n";
    }
    expected += "front end: no event, the process exited with code 0\n";
    assert_eq!(output("ping_sync"), expected);
}

#[test]
fn shared_array() {
    let expected = "\
the last pixel is [255, 0, 0]
the last pixel is [0, 255, 0]
a small one, made on demand: [255, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0]
";
    assert_eq!(output("shared_array"), expected);
}

#[test]
fn frames() {
    let output = output("frames");
    let speeds = output.lines().filter(|line| line.contains(" GB/s, ")).count();
    assert!(output.starts_with("frames of 6220800 bytes:\n") && speeds == 4, "{output}");
}

#[cfg(feature = "tokio")]
#[test]
fn async_back_end() {
    let output = output("async_back_end");
    let mut lines: Vec<_> = output.lines().collect();
    // They come in this order, unless the machine is very busy.
    lines.sort_unstable();
    assert_eq!(lines, ["got this", "slept for 300 ms"]);
}

/// The README's other programs are doc tests; this one needs a feature.
#[test]
fn the_readme_has_the_asynchronous_example() {
    let (_, program) = include_str!("../examples/async_back_end.rs").split_once("\n\n").unwrap();
    assert!(program.starts_with("use ") && include_str!("../README.md").contains(program));
}

/// A manager that runs, in a process group of its own.
struct Manager {
    program: Child,
    printed: BufReader<std::process::ChildStdout>,
    address: String,
}

/// A line of its report.
#[derive(Debug)]
struct Worker {
    pid: Pid,
    frames: u32,
    is_waiting: bool,
}

impl Manager {
    fn start() -> Manager {
        let mut program = Command::new(example("manager"));
        let mut program = program.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut printed = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("clients: ").unwrap().to_owned();
        Manager { program, printed, address }
    }

    fn workers(&self) -> Vec<Worker> {
        let mut report = String::new();
        TcpStream::connect(&self.address).unwrap().read_to_string(&mut report).unwrap();
        let worker = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let number = |place: usize| words[place].parse().unwrap();
            Worker {
                pid: Pid::from_raw(number(2)),
                frames: number(4) as u32,
                is_waiting: words[7] == "waits",
            }
        };
        report.lines().map(worker).collect()
    }

    /// Looks at the workers until they are as they should be.
    fn until(&self, is_so: impl Fn(&[Worker]) -> bool) -> Vec<Worker> {
        let begin = Instant::now();
        loop {
            let workers = self.workers();
            if is_so(&workers) {
                return workers;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{workers:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a terminal does for Ctrl-C. Returns what it prints at its end.
    fn interrupt(mut self) -> String {
        let group = Pid::from_raw(self.program.id() as i32);
        killpg(group, Signal::SIGINT).unwrap();
        let mut rest = String::new();
        self.printed.read_to_string(&mut rest).unwrap();
        assert_eq!(self.program.wait().unwrap().code(), Some(0), "{rest}");
        // Nobody is left in its group.
        assert!(killpg(group, None).is_err());
        rest
    }
}

/// For a test that fails.
impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn manager_ends_with_all_its_workers() {
    let manager = Manager::start();
    let workers = manager.until(|workers| workers.iter().all(|worker| worker.frames > 3));
    assert_eq!(workers.len(), 5);
    let name = fs::read_to_string(format!("/proc/{}/comm", workers[3].pid)).unwrap();
    assert_eq!(name, "worker-3\n");
    let rest = manager.interrupt();
    for number in 0..5 {
        assert!(rest.contains(&format!("worker-{number}: ")), "{rest}");
    }
    assert_eq!(rest.matches("exited with code 0").count(), 5, "{rest}");
}

#[test]
fn manager_goes_on_without_a_worker_that_is_stopped_or_killed() {
    let manager = Manager::start();
    let workers = manager.workers();
    kill(workers[1].pid, Signal::SIGSTOP).unwrap();
    kill(workers[4].pid, Signal::SIGKILL).unwrap();
    let stopped = manager.until(|workers| !workers[1].is_waiting)[1].frames;
    let later = manager.until(|workers| workers[0].frames > stopped + 20);
    assert!(later[1].frames <= stopped + 1, "{later:?}");
    assert!([2, 3].iter().all(|worker| later[*worker].frames > stopped), "{later:?}");
    assert_eq!(later[4].pid, Pid::from_raw(0));
    let rest = manager.interrupt();
    assert!(rest.contains("the back end worker-4 was ended by SIGKILL"), "{rest}");
    // The one that is stopped is woken to end as the others do.
    assert_eq!(rest.matches("exited with code 0").count(), 4, "{rest}");
}
