//! The SHA-256 of every file below a directory, so many at once: what `sha256sum` prints, in the order of the names.
//!
//! `cargo run -p pkit --example checksum -- [--jobs N] [DIRECTORY]`

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use pkit::ProcessPool;
use sha2::{Digest, Sha256};

const HELP: &str = "\
usage: checksum [--jobs N] [DIRECTORY]

Prints the SHA-256 of every file below DIRECTORY, as `sha256sum` does; each is computed in a process of its own.
Without DIRECTORY it takes the sources of this crate. Links are not followed.

  --jobs N   compute N at once (default: the number of processors)
  --help     print this

Exit code: 0; 1 if a file couldn't be read; 2 if the arguments can't be meant.";

struct Arguments {
    jobs: usize,
    directory: PathBuf,
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Arguments>, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut parsed = Arguments { jobs, directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("src") };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some("--jobs" | "-j") => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                parsed.jobs = number.filter(|jobs| *jobs > 0).ok_or("--jobs needs a number from 1 on")?;
            }
            Some(option) if option.starts_with('-') => return Err(format!("there is no option {option}")),
            _ => parsed.directory = argument.into(),
        }
    }
    Ok(Some(parsed))
}

/// Adds the files below a directory.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Runs in a process of its own. An error goes back as its text.
fn checksum(file: &Path) -> Result<String, String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(file).map_err(|error| error.to_string())?;
    io::copy(&mut file, &mut hasher).map_err(|error| error.to_string())?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A line of `sha256sum`, which begins with a backslash if the name had to be escaped.
fn line(checksum: &str, file: &Path) -> Vec<u8> {
    let name = file.as_os_str().as_bytes();
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend(br"\\"),
            b'\n' => escaped.extend(br"\n"),
            b'\r' => escaped.extend(br"\r"),
            other => escaped.push(*other),
        }
    }
    let mark: &[u8] = if escaped.len() > name.len() { b"\\" } else { b"" };
    [mark, checksum.as_bytes(), b"  ", &escaped, b"\n"].concat()
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mut files = Vec::new();
    list(&arguments.directory, &mut files)
        .map_err(|error| format!("{}: {error}", arguments.directory.display()))?;
    files.sort();

    let pool = ProcessPool::new(arguments.jobs)?;
    // On standard error, and only where that is a terminal.
    let bar = ProgressBar::new(files.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {eta} {wide_msg}")?);
    let mut all_read = true;
    // In the order of the names, whichever is ready first.
    for (file, result) in files.iter().zip(pool.map(&files, |file| checksum(file))) {
        bar.set_message(file.display().to_string());
        // The file couldn't be read, or the process that read it died: neither is the end of the others.
        match result.map_err(|error| error.to_string()).and_then(|checksum| checksum) {
            Ok(checksum) => io::stdout().write_all(&line(&checksum, file))?,
            Err(error) => {
                all_read = false;
                bar.suspend(|| eprintln!("checksum: {}: {error}", file.display()));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    pool.close()?;
    Ok(all_read)
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("checksum: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("checksum: {error}");
            ExitCode::FAILURE
        }
    }
}
