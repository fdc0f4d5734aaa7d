//! Files from anybody, parsed in a process that has next to no rights: whatever they do to it, the program goes on.
//!
//! `cargo run -p cross-process-bridge --example untrusted_parser -- --help`
//!
//! In `parser` is the object; in `samples` are files of some kinds, most of them hostile.

mod parser;
mod samples;

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cross_process_bridge::{BridgeError, LaunchOptions, Resource, Stdio, Timeout, Zygote};

use crate::parser::{ParserBridge, Summary};

const HELP: &str = "\
usage: untrusted_parser [OPTION]... [FILE]...

Tells what is in each FILE of JSON, packed by gzip or not. Each is parsed in a process of its own that may have little
memory and time, and no files; if this program runs as root, it does so as the user nobody. Without a FILE it parses some
that it makes itself, most of them hostile.

  --memory MIB        let a parser have so much; 128 without this
  --timeout SECONDS   let it take so long; 5 without this
  --help              print this

Exit code: 0 if all files were parsed, 2 if not; 1 for wrong arguments, or if no parser can be started. Without a FILE: 2
if one was parsed that shouldn't be, or wasn't and should.";

/// No file may be longer, and no answer.
const MAX_LENGTH: usize = 16 << 20;

struct Settings {
    memory: u64,
    timeout: Duration,
    files: Vec<PathBuf>,
}

/// What became of a file. What the parser has said may be anything: it is cut, and cleared of control characters.
enum Outcome {
    Parsed(Summary),
    /// With the reason.
    Not(&'static str, String),
}

fn main() -> ExitCode {
    match settings() {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(settings)) => match run(&settings) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(2),
            Err(error) => {
                eprintln!("untrusted_parser: {error}");
                ExitCode::FAILURE
            }
        },
        Err(problem) => {
            eprintln!("untrusted_parser: {problem}; see --help");
            ExitCode::FAILURE
        }
    }
}

fn settings() -> Result<Option<Settings>, String> {
    let mut settings = Settings { memory: 128 << 20, timeout: Duration::from_secs(5), files: Vec::new() };
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |option| {
            let number = arguments.next().and_then(|number| number.to_str()?.parse::<u32>().ok());
            number.filter(|number| *number > 0).ok_or(format!("{option} needs a number from 1 on"))
        };
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some(option @ "--memory") => settings.memory = u64::from(number(option)?) << 20,
            Some(option @ "--timeout") => settings.timeout = Duration::from_secs(number(option)?.into()),
            Some(option) if option.starts_with('-') => return Err(format!("there is no option {option}")),
            _ => settings.files.push(argument.into()),
        }
    }
    Ok(Some(settings))
}

fn run(settings: &Settings) -> Result<bool, Box<dyn Error>> {
    cross_process_bridge::init()?;
    let parser = ParserBridge::new();
    parser.process().launch_with(locked_up(settings)).max_message(MAX_LENGTH + 1024);
    // A zygote's child has none of this program's memory, so that there is nothing in it to be read by a file.
    parser.process().launch_in(&Zygote::global());
    parser.start()?;
    show_surroundings(&parser)?;

    let parser = parser.with_timeout(Timeout::after(settings.timeout).and_kill());
    let mut all_right = true;
    if settings.files.is_empty() {
        for sample in samples::all()? {
            let outcome = parse(&parser, &sample.bytes)?;
            let is_right = matches!(outcome, Outcome::Parsed(_)) == sample.is_good;
            show(sample.name, &outcome);
            if !is_right {
                println!("  which is wrong");
            }
            all_right &= is_right;
        }
    }
    for file in &settings.files {
        let outcome = match read(file) {
            Ok(bytes) => parse(&parser, &bytes)?,
            Err(error) => Outcome::Not("unread", error.to_string()),
        };
        show(&file.display().to_string(), &outcome);
        all_right &= matches!(outcome, Outcome::Parsed(_));
    }
    Ok(all_right)
}

/// What the parser's process may have and do. It is no prison for code that has taken the process over: that can make any
/// system call, and close a stream and open something else in its place, as far as its user may. The constructor could put
/// a filter of system calls (seccomp) in place before any file comes.
fn locked_up(settings: &Settings) -> LaunchOptions {
    let options = LaunchOptions::new()
        .name("parser")
        .cwd("/")
        .env_clear()
        .stdout(Stdio::Null)
        .stderr(Stdio::Null)
        .no_new_privs()
        .core_limit(0)
        .limit(Resource::AddressSpace, settings.memory, settings.memory)
        .limit(Resource::FileSize, 0, 0)
        .limit(Resource::Processes, 0, 0)
        // Its three streams have the numbers below that. Its connection is open already.
        .limit(Resource::OpenFiles, 3, 3);
    if nix::unistd::geteuid().is_root() { options.user("nobody") } else { options }
}

fn show_surroundings(parser: &ParserBridge) -> Result<(), Box<dyn Error>> {
    let its = parser.surroundings()??;
    let whose =
        if its.user == nix::unistd::geteuid().as_raw() { "this program's own user" } else { "another user" };
    println!("the parser runs as user {}, {whose}, in {}", its.user, its.directory.display());
    println!("its environment variables: {}", its.variables);
    for (what, result) in [("open a file", its.opened_a_file), ("start a thread", its.started_a_thread)] {
        match result {
            Ok(()) => println!("it can {what}"),
            Err(error) => println!("it can't {what}: {}", harmless(&error.to_string())),
        }
    }
    println!();
    Ok(())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_LENGTH {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_LENGTH} bytes")));
    }
    Ok(bytes)
}

/// In a new process: one that has read a hostile file may still be its, and answer for the next one as it likes.
fn parse(parser: &ParserBridge, file: &[u8]) -> Result<Outcome, BridgeError> {
    parser.process().restart()?;
    Ok(match parser.summarise(file) {
        Ok(Ok(summary)) => Outcome::Parsed(summary),
        Ok(Err(error)) => Outcome::Not("invalid", harmless(&error.to_string())),
        Err(BridgeError::PeerDied { status, .. }) => Outcome::Not("died", harmless(&format!("it {status}"))),
        Err(BridgeError::Timeout { after, .. }) => {
            Outcome::Not("too slow", format!("no answer after {after:?}, and killed for it"))
        }
        Err(error) => Outcome::Not("failed", harmless(&error.to_string())),
    })
}

/// Text that can be printed, whoever wrote it.
fn harmless(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}

fn show(name: &str, outcome: &Outcome) {
    let (word, reason) = match outcome {
        Outcome::Parsed(its) => {
            let Summary { objects, arrays, strings, numbers, words, depth } = its;
            let values = format!("{objects} objects, {arrays} arrays, {strings} strings, {numbers} numbers");
            ("parsed", format!("{values}, {words} words, {depth} deep"))
        }
        Outcome::Not(word, reason) => (*word, reason.clone()),
    };
    println!("{:<18} {word:<8}  {reason}", harmless(name));
}
