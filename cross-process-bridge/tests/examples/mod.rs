//! How the tests of the examples run them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for anything that isn't a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `cargo test` has built it, beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "it isn't built: `cargo test` of the package builds it, and one test alone doesn't"
    );
    path
}

/// An example, with a process group and a place for temporary files of its own.
pub(crate) struct Example {
    pub(crate) command: Command,
    temporary: TempDir,
}

impl Example {
    pub(crate) fn new(program: &Path, arguments: &[&str]) -> Example {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("TMPDIR", temporary.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Example { command, temporary }
    }

    /// Runs it to its end, which `meanwhile` may bring about. It leaves no process, and no file.
    pub(crate) fn run_while(mut self, meanwhile: impl FnOnce(i32)) -> Output {
        let child = self.command.spawn().unwrap();
        let group = child.id() as i32;
        meanwhile(group);
        let output = child.wait_with_output().unwrap();
        eventually(|| running_in(group).is_empty());
        if output.status.code().is_some() {
            let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
        output
    }

    pub(crate) fn run(self) -> Output {
        self.run_while(|_| ())
    }
}

pub(crate) fn run(name: &str, arguments: &[&str]) -> Output {
    Example::new(&example(name), arguments).run()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "it doesn't happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of a group, but for those that have ended and weren't collected yet.
fn running_in(group: i32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("stat"));
    let stats = entries.filter_map(|path| fs::read_to_string(path).ok());
    stats
        .filter(|stat| {
            // After the name, which is in parentheses: state, parent, group.
            let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
            let is_over = matches!(fields.next(), Some("Z" | "X"));
            !is_over && fields.nth(1).and_then(|field| field.parse().ok()) == Some(group)
        })
        .collect()
}
