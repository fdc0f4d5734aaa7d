//! The most frequent words of each file below a folder, each file counted in a process of its own,
//! as one would do with files that one doesn't trust: a file that is broken, takes too much memory
//! or never ends costs its own row only.
//!
//! `cargo run --release -p offspring --example word_count -- PATH`; without a path it makes a folder of samples,
//! hostile ones among them. `--help` says the rest.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use offspring::{Handle, LaunchOptions, RemoteError, Resource, Stdio, Subprocess};
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
        task.kill()?;
        return Err(format!("took longer than {TIME:?} and was ended").into());
    };
    let words = output?;
    let frequent: Vec<_> = words.frequent.iter().map(|(word, count)| format!("{word} {count}")).collect();
    Ok(format!("{:>9} words: {}", words.total, frequent.join(", ")))
}

/// The files that are meant: a folder's own, those of its folders left out.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let with_path = |error: std::io::Error| format!("{}: {error}", path.display());
    if !std::fs::metadata(path).map_err(with_path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(with_path)?;
    let mut files =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(with_path)?;
    files.retain(|path| !path.is_dir());
    files.sort();
    Ok(files)
}

fn count(path: &Path) -> Result<usize, Box<dyn Error>> {
    let paths = files(path)?;
    let side_by_side = std::thread::available_parallelism()?.get();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    // Where one looks on; a log gets the rows only.
    let progress = err.is_terminal();
    let mut failed = 0;
    for (done, group) in paths.chunks(side_by_side).enumerate() {
        if progress {
            write!(err, "{} of {} files", done * side_by_side, paths.len())?;
        }
        let tasks: Vec<_> = group.iter().map(|path| start(path)).collect();
        let rows: Vec<_> = tasks.into_iter().map(|task| task.and_then(|task| row(&task))).collect();
        if progress {
            // Back to the beginning of the line, and clear it.
            write!(err, "\r\x1b[K")?;
        }
        for (path, row) in group.iter().zip(rows) {
            // A name may hold anything, and a terminal obeys it.
            let name = path.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string();
            match row {
                Ok(row) => writeln!(out, "{name:20} {row}")?,
                Err(error) => {
                    failed += 1;
                    writeln!(out, "{name:20} failed: {error}")?;
                }
            }
        }
    }
    writeln!(err, "{} files, {failed} of them failed", paths.len())?;
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

const HELP: &str = "usage: word_count [PATH]

The three most frequent words of each file in the folder PATH, or of the one file PATH. Words have four
letters or more; folders in the folder are left out. Each file is counted in a process of its own, which
may take 2 s and 512 MiB. Without PATH it makes a folder of samples, three honest files and three
hostile ones, and counts those.

Exit code 0: all files were counted (of the samples: the honest ones); 1: some were not; 2: wrong use.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let wrong_use = |why: &str| {
        eprintln!("word_count: {why}\n\n{HELP}");
        ExitCode::from(2)
    };
    let outcome = match &arguments[..] {
        [argument] if argument == "--help" || argument == "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [] => samples().and_then(|folder| {
            println!("samples in {}\n", folder.display());
            let outcome = count(&folder);
            std::fs::remove_dir_all(&folder)?;
            // Half of the samples are meant to fail, each alone.
            outcome
                .and_then(|failed| if failed == 3 { Ok(0) } else { Err("the samples came out wrong".into()) })
        }),
        [option] if option.as_encoded_bytes().starts_with(b"-") => {
            return wrong_use(&format!("there is no option {option:?}"));
        }
        [path] => count(Path::new(path)),
        _ => return wrong_use("one path at the most"),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        // Whoever read the rows has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("word_count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
