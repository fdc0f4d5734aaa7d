//! The wall as a program that runs.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use crate::viewer::Stream;

/// One at a time: together they are too slow to be what they are alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Where `cargo test` has built it, beside this test.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/video_wall");
    assert!(
        path.exists(),
        "it isn't built: cargo build -p valkka-multiprocess --features tokio --example video_wall"
    );
    path
}

/// Looks until it is so, for a minute.
pub(crate) fn patiently(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A wall that runs, in a process group of its own.
pub(crate) struct Wall {
    pub(crate) url: String,
    program: Child,
    errors: Option<JoinHandle<String>>,
    _alone: MutexGuard<'static, ()>,
}

impl Wall {
    /// With small frames, and so patient that a busy machine is no reason to replace a camera, unless `arguments` say
    /// otherwise. It ends by itself at last, should this test be killed.
    pub(crate) fn start(arguments: &[&str]) -> Wall {
        let alone = ALONE.lock();
        let mut command = Command::new(example());
        command.args(["--listen", "127.0.0.1:0", "--size", "96x64", "--hang-timeout", "60"]);
        command.args(["--seconds", "600"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut program = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stderr = program.stderr.take().unwrap();
        let errors = Some(thread::spawn(move || collect(stderr)));
        let url = line.trim().strip_prefix("listening on ").unwrap_or_default().to_owned();
        let wall = Wall { url, program, errors, _alone: alone };
        assert!(wall.url.starts_with("http://127.0.0.1:"), "{line}");
        wall
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.program.id() as i32)
    }

    /// The status code and the body.
    pub(crate) fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let config = ureq::config::Config::builder().http_status_as_error(false).build();
        let mut response = config.new_agent().get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    /// What /status says of each camera, once the web server has been told.
    pub(crate) fn cameras(&self) -> Vec<Value> {
        let mut cameras = Vec::new();
        patiently("the web server to know of cameras", || {
            let status: Value = serde_json::from_slice(&self.get("status").1).unwrap();
            cameras.clone_from(status["cameras"].as_array().unwrap());
            !cameras.is_empty()
        });
        cameras
    }

    /// The process id of a camera that is there.
    pub(crate) fn pid(&self, camera: usize) -> i32 {
        self.cameras()[camera]["pid"].as_i64().unwrap() as i32
    }

    /// The pictures from now on, over one connection.
    pub(crate) fn stream(&self) -> Stream {
        Stream::new(&format!("{}wall.mjpeg", self.url))
    }

    /// A process of the wall, by the name that `ps` shows.
    pub(crate) fn named(&self, name: &str) -> Option<i32> {
        self.processes().into_iter().find(|(_, comm)| comm == name).map(|(pid, _)| pid)
    }

    /// All processes of its group that run, with their names.
    fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may be gone by now.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let (comm, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")).unwrap();
            let mut fields = rest.split(' ');
            let (state, _, group) = (fields.next(), fields.next(), fields.next());
            if state != Some("Z") && group == Some(self.group().to_string().as_str()) {
                found.push((pid, comm.to_owned()));
            }
        }
        found
    }

    /// Ends it by a signal to all its processes, as a terminal does; nothing may be left. Returns what it wrote to
    /// standard error.
    pub(crate) fn end_by(mut self, signal: Signal) -> String {
        killpg(self.group(), signal).unwrap();
        let status = self.program.wait().unwrap();
        patiently("all processes to end", || self.processes().is_empty());
        let errors = self.errors.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{errors}");
        errors
    }
}

fn collect(mut stderr: ChildStderr) -> String {
    let mut errors = String::new();
    stderr.read_to_string(&mut errors).unwrap();
    errors
}

/// For a test that fails.
impl Drop for Wall {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
