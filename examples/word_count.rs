//! The most frequent words of each file below a folder, each file counted in a process of its own,
//! as one would do with files that one doesn't trust: a file that is broken, takes too much memory
//! or never ends costs its own row only.
//!
//! `cargo run --release --example word_count -- FOLDER`; without a folder it makes one with samples,
//! hostile ones among them. Exit code 0: all files were counted; 1: some were not; 2: wrong use.

use std::collections::HashMap;
use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use multiprocess::{Handle, LaunchOptions, RemoteError, Resource, Stdio, Subprocess};
use serde::{Deserialize, Serialize};

/// So long a file may take.
const TIME: Duration = Duration::from_secs(2);
/// So much memory its process may have.
const MEMORY: u64 = 512 << 20;

struct CountWords {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Words {
    total: u64,
    frequent: Vec<(String, u64)>,
}

impl Subprocess for CountWords {
    type Output = Result<Words, RemoteError>;

    fn run(&mut self) -> Self::Output {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for line in std::io::BufReader::new(std::fs::File::open(&self.path)?).lines() {
            for word in line?.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 3) {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
        }
        let total = counts.values().sum();
        let mut frequent: Vec<_> = counts.into_iter().collect();
        frequent.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        frequent.truncate(3);
        Ok(Words { total, frequent })
    }
}

type Task = Handle<Result<Words, RemoteError>, CountWords>;

fn start(path: &Path) -> Result<Task, Box<dyn Error>> {
    let options = LaunchOptions::new()
        .limit(Resource::AddressSpace, MEMORY, MEMORY)
        .core_limit(0)
        // What a process that fails has to say is in its error.
        .stderr(Stdio::Null);
    Ok(CountWords { path: path.to_owned() }.spawn_with(options)?)
}

/// The row of a file; an error is a row as well.
fn row(task: &Task) -> Result<String, Box<dyn Error>> {
    let Some(output) = task.wait_timeout(TIME)? else {
        task.shutdown()?;
        return Err(format!("took longer than {TIME:?} and was ended").into());
    };
    let words = output?;
    let frequent: Vec<_> = words.frequent.iter().map(|(word, count)| format!("{word} {count}")).collect();
    Ok(format!("{:>9} words: {}", words.total, frequent.join(", ")))
}

fn count(folder: &Path) -> Result<usize, Box<dyn Error>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| !path.is_dir());
    paths.sort();
    let side_by_side = std::thread::available_parallelism()?.get();
    let mut failed = 0;
    for (done, group) in paths.chunks(side_by_side).enumerate() {
        eprint!("\r{} of {} files", done * side_by_side, paths.len());
        let tasks: Vec<_> = group.iter().map(|path| start(path)).collect();
        for (path, task) in group.iter().zip(tasks) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match task.and_then(|task| row(&task)) {
                Ok(row) => println!("\r{name:20} {row}"),
                Err(error) => {
                    failed += 1;
                    println!("\r{name:20} failed: {error}");
                }
            }
        }
    }
    eprintln!("\r{} files, {failed} of them failed", paths.len());
    Ok(failed)
}

/// A folder with three honest files and three that are not.
fn samples() -> Result<PathBuf, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("word_count-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (name, sentence) in [
        ("fork.txt", "a child has a copy of everything its parent had, locks included\n"),
        ("pipe.txt", "whoever holds the writing end keeps the reader waiting\n"),
        ("wait.txt", "nobody waits for a process that has died, and every error says why\n"),
    ] {
        std::fs::write(folder.join(name), sentence.repeat(20_000))?;
    }
    std::fs::write(folder.join("not-text.bin"), [0xff; 4096])?;
    // Nobody writes to it, so reading it never ends.
    nix::unistd::mkfifo(&folder.join("never-ends.fifo"), nix::sys::stat::Mode::S_IRUSR)?;
    // One line of 4 GiB, of which nothing is on the disk.
    std::fs::File::create(folder.join("too-large.txt"))?.set_len(4 << 30)?;
    Ok(folder)
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let outcome = match &arguments[..] {
        [folder] if folder == "--help" || folder == "-h" => {
            println!("usage: word_count [FOLDER]\n\nThe most frequent words of each file in FOLDER.");
            return ExitCode::SUCCESS;
        }
        [folder] => count(Path::new(folder)),
        [] => samples().and_then(|folder| {
            let outcome = count(&folder);
            std::fs::remove_dir_all(&folder)?;
            // Half of the samples are meant to fail, each alone.
            outcome
                .and_then(|failed| if failed == 3 { Ok(0) } else { Err("the samples came out wrong".into()) })
        }),
        _ => {
            eprintln!("usage: word_count [FOLDER]");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("word_count: {error}");
            ExitCode::FAILURE
        }
    }
}
