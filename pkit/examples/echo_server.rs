//! A prefork TCP echo server: some worker processes accept from one listening socket, each with a crash of its own.
//!
//! `cargo run -p pkit --example echo_server -- --help`
//!
//! A worker that dies is started again. SIGHUP reloads: each worker is replaced by one that reads the greeting anew, and
//! that is there before the old one stops accepting; connections that are open go on with the old one until they
//! end, for up to five seconds. SIGTERM and SIGINT (Ctrl-C) end the server, after a reload that is under way: one worker
//! after another, each of which has up to five seconds for its connections.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, thread};

use pkit::StopSignals;
use pkit::link::safe_select;
use pkit::supervisor::{ChildSpec, Ended, Supervisor};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const HELP: &str = "\
Usage: echo_server [--listen ADDRESS] [--workers N] [--greeting FILE]

Greets each connection with the worker's process id and the first line of FILE, then echoes every line.

  --listen ADDRESS   where to listen; 127.0.0.1:7007 without this, and port 0 for any that is free
  --workers N        how many processes accept; 2 without this
  --greeting FILE    read by each worker at its start; `kill -HUP` the server to have it read anew

Exit code: 0 after SIGTERM or SIGINT, 1 if the workers failed too often, 2 for wrong arguments.";

struct Settings {
    listen: String,
    workers: usize,
    greeting: Option<PathBuf>,
}

fn main() -> ExitCode {
    match settings() {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(settings)) => serve(&settings).unwrap_or_else(|error| {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }),
        Err(problem) => {
            eprintln!("echo_server: {problem}; see --help");
            ExitCode::from(2)
        }
    }
}

fn settings() -> Result<Option<Settings>, String> {
    let mut settings = Settings { listen: "127.0.0.1:7007".to_owned(), workers: 2, greeting: None };
    let mut arguments = env::args().skip(1);
    while let Some(option) = arguments.next() {
        if option == "--help" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--listen" => settings.listen = value,
            "--workers" => settings.workers = value.parse().map_err(|_| format!("{value} is no number"))?,
            "--greeting" => settings.greeting = Some(value.into()),
            _ => return Err(format!("there is no option {option}")),
        }
    }
    Ok(Some(settings))
}

/// The server's own process: it accepts nothing, and looks after those who do.
fn serve(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let listener = Arc::new(TcpListener::bind(&settings.listen)?);
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut supervisor = Supervisor::builder();
    for number in 1..=settings.workers {
        let (listener, greeting) = (Arc::clone(&listener), settings.greeting.clone());
        let worker = ChildSpec::new(format!("worker-{number}"), move || work(&listener, greeting.as_deref()));
        supervisor =
            supervisor.child(worker.ready_by_target().hold_stop_signals().grace(Duration::from_secs(5)));
    }
    // Before there is any thread: each worker's closure is put into a template now.
    let supervisor = Arc::new(supervisor.start()?);
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT])?;
    println!("listening on {address}, process {}", std::process::id());
    let reloading = Arc::clone(&supervisor);
    thread::spawn(move || {
        for signal in signals.forever() {
            let done = match signal {
                SIGHUP => reloading.rolling_restart_all().map(|()| println!("reloaded")),
                _ => reloading.stop().map(drop),
            };
            if let Err(error) = done {
                println!("{error}");
            }
        }
    });
    let ended = supervisor.wait()?;
    println!("{ended}");
    Ok(if let Ended::Failed { .. } = ended { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A worker: a process of its own. It takes SIGTERM between two connections, and finishes those that it has.
fn work(listener: &TcpListener, greeting: Option<&Path>) -> Result<(), io::Error> {
    let stop = StopSignals::held()?;
    let greeting = greeting.map_or(Ok(String::new()), fs::read_to_string)?;
    let greeting =
        Arc::new(format!("{} {}", std::process::id(), greeting.lines().next().unwrap_or_default()));
    pkit::ready();
    let mut connections = Vec::new();
    while !stop.wait_timeout(Duration::ZERO)? {
        match listener.accept() {
            Ok((stream, _)) => {
                let greeting = Arc::clone(&greeting);
                connections.push(thread::spawn(move || echo(&stream, &greeting)));
                connections.retain(|connection| !connection.is_finished());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Woken by a connection, which another worker may have accepted by then.
                safe_select(&[listener.as_fd()], Some(Duration::from_millis(50)))?;
            }
            Err(error) => {
                eprintln!("worker {}: {error}", std::process::id());
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    // No new ones: what was accepted goes on to its end.
    for connection in connections {
        let _ = connection.join();
    }
    Ok(())
}

fn echo(stream: &TcpStream, greeting: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // Each line by one write, and so as one packet.
    let mut writer = stream;
    writer.write_all(format!("{greeting}\n").as_bytes())?;
    for line in BufReader::new(stream).lines() {
        writer.write_all(format!("{}\n", line?).as_bytes())?;
    }
    Ok(())
}
