//! Counts the words of a large text three times: by one thread, by some threads, and by as many processes; and compares.
//!
//! `cargo run --release -p pkit --example count_words -- --help`
//!
//! The text is in memory that processes share and nobody can change: a task has a handle of it and a range, so no byte of it
//! is copied to a worker.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pkit::memory::{FrozenArray, SharedArray};
use pkit::{WorkError, WorkerPool};

const HELP: &str = "\
usage: count_words [OPTIONS] [FILE]

Counts the words of FILE by one thread, by threads and by worker processes, and prints how long each took, and the ten
most frequent words. Without FILE it makes a text, the same one each time. A word is what stands between spaces and
ends of lines, whatever its bytes mean.

  --jobs N     how many threads, and how many processes (default: the number of processors)
  --size MIB   how large a text to make, in MiB (default: 50)
  --chunk KIB  how much is counted at once, in KiB, up to the end of a line (default: 256)
  --help       print this

Exit code: 0; 1 if the file can't be read, or the three disagree; 2 if the arguments can't be meant.";

struct Arguments {
    jobs: usize,
    /// In bytes.
    size: usize,
    /// In bytes.
    chunk: usize,
    file: Option<PathBuf>,
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Arguments>, String> {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut parsed = Arguments { jobs, size: 50 << 20, chunk: 256 << 10, file: None };
    while let Some(argument) = arguments.next() {
        let mut number = |from: usize, to: usize| {
            let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
            let number = number.filter(|number| (from..=to).contains(number));
            number.ok_or_else(|| format!("{} needs a number from {from} to {to}", argument.to_string_lossy()))
        };
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some("--jobs" | "-j") => parsed.jobs = number(1, 1024)?,
            Some("--size") => parsed.size = number(0, 4096)? << 20,
            Some("--chunk") => parsed.chunk = number(1, 1 << 20)? << 10,
            Some(option) if option.starts_with('-') => return Err(format!("there is no option {option}")),
            _ if parsed.file.is_some() => return Err("one file at the most".to_owned()),
            _ => parsed.file = Some(argument.into()),
        }
    }
    Ok(Some(parsed))
}

/// Words and how often each is there.
type Counts<W> = HashMap<W, u64>;

/// How often each word is in some lines.
fn count(lines: &[u8]) -> Counts<&[u8]> {
    let mut counts = Counts::new();
    for word in lines.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// What a worker does: the same with a part of the text. Its result has words of its own.
fn count_part((text, part): (FrozenArray<u8>, Range<usize>)) -> Counts<Vec<u8>> {
    count(&text[part]).into_iter().map(|(word, number)| (word.to_owned(), number)).collect()
}

fn add<W: AsRef<[u8]>>(all: &mut Counts<Vec<u8>>, some: Counts<W>) {
    for (word, number) in some {
        match all.get_mut(word.as_ref()) {
            Some(sum) => *sum += number,
            None => _ = all.insert(word.as_ref().to_owned(), number),
        }
    }
}

/// Parts of whole lines, each of about so many bytes.
fn parts(text: &[u8], size: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let least = text.len().min(start + size);
        let rest = text[least..].iter().position(|byte| *byte == b'\n');
        let end = rest.map_or(text.len(), |place| least + place + 1);
        parts.push(start..end);
        start = end;
    }
    parts
}

fn by_one_thread(text: &[u8], parts: &[Range<usize>]) -> Counts<Vec<u8>> {
    let mut all = Counts::new();
    parts.iter().for_each(|part| add(&mut all, count(&text[part.clone()])));
    all
}

fn by_threads(text: &[u8], parts: &[Range<usize>], jobs: usize) -> Counts<Vec<u8>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = Counts::new();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            add(&mut own, count(&text[part.clone()]));
        }
        own
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let mut all = Counts::new();
        for thread in threads {
            add(&mut all, thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

fn by_processes(
    text: &FrozenArray<u8>,
    parts: &[Range<usize>],
    pool: &WorkerPool,
) -> Result<Counts<Vec<u8>>, Box<dyn Error>> {
    // On standard error, and only where that is a terminal.
    let bar = ProgressBar::new(parts.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}")?);
    let tasks = parts.iter().map(|part| (text.clone(), part.clone()));
    let counted = pool.map_unordered(tasks, count_part).follow(|progress| bar.set_position(progress.done));
    let mut all = Counts::new();
    let added = counted.into_iter().try_for_each(|some| -> Result<(), WorkError> {
        add(&mut all, some?);
        Ok(())
    });
    bar.finish_and_clear();
    Ok(added.map(|()| all)?)
}

/// The file, read into shared memory.
fn read(file: &PathBuf) -> Result<FrozenArray<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|mut opened| opened.read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(SharedArray::from_slice(&bytes)?.freeze()?)
}

/// Lines of some words of which the first ones are the most frequent, as in any language.
fn make(size: usize) -> Result<FrozenArray<u8>, Box<dyn Error>> {
    const WORDS: &str = "the of and a to in that is was it for on as with be at by this from or have an are but not \
        which one all were her would there we him been has when who will no more if out so said what up its about \
        than them can only other time new some could these two may first then do any like my now over such our man \
        me even most made after also did many off before must well back through years where much your way down";
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // Xorshift: the same numbers each time.
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % limit
    };
    let mut text = String::with_capacity(size + 100);
    while text.len() < size {
        for _ in 0..12 {
            // Below a number that is itself by chance.
            let limit = 1 + below(words.len() as u64);
            text.push_str(words[below(limit) as usize]);
            // Now and then a rare one.
            if below(20) == 0 {
                text.push_str(&below(100).to_string());
            }
            text.push(' ');
        }
        text.push('\n');
    }
    Ok(SharedArray::from_slice(text.as_bytes())?.freeze()?)
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // First of all: workers come from what the program is now, and not from what it becomes.
    pkit::init()?;
    let text = match &arguments.file {
        Some(file) => read(file)?,
        None => make(arguments.size)?,
    };
    let parts = parts(&text, arguments.chunk);

    let jobs = arguments.jobs;
    let many = |what| format!("{jobs} {what}");
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (start, pool) = timed(|| WorkerPool::new(jobs));
    let pool = pool?;
    let (alone, counts) = timed(|| by_one_thread(&text, &parts));
    let (threads, of_threads) = timed(|| by_threads(&text, &parts, jobs));
    let (processes, of_processes) = timed(|| by_processes(&text, &parts, &pool));
    let of_processes = of_processes?;
    pool.close()?;

    let mut table = format!("{} bytes in {} chunks\n", text.len(), parts.len());
    for (what, time) in [("1 thread", alone), (&many("threads"), threads), (&many("processes"), processes)] {
        let rate = text.len() as f64 / 1e6 / time.as_secs_f64();
        let faster = alone.as_secs_f64() / time.as_secs_f64();
        writeln!(table, "{what:<14} {:>9.1} ms {rate:>7.0} MB/s {faster:>6.2}x", milliseconds(time))?;
    }
    writeln!(table, "{:<14} {:>9.1} ms", "  their start", milliseconds(start))?;

    writeln!(table, "\n{:>10} words, {} different ones", counts.values().sum::<u64>(), counts.len())?;
    let mut frequent: Vec<_> = counts.iter().collect();
    frequent.sort_by_key(|(word, number)| (Reverse(**number), *word));
    for (word, number) in frequent.into_iter().take(10) {
        writeln!(table, "{number:>10} {}", String::from_utf8_lossy(word).escape_debug())?;
    }
    io::stdout().write_all(table.as_bytes())?;
    if counts != of_threads || counts != of_processes {
        return Err("they have counted differently".into());
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("count_words: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("count_words: {error}");
            ExitCode::FAILURE
        }
    }
}
