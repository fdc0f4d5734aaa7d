//! The example `echo_server`, driven by clients: reloads drop no connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for anything that isn't a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example, which is built along with the tests of the package.
fn program() -> PathBuf {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.push("examples/echo_server");
    assert!(program.exists(), "a test that is run alone needs `cargo build -p pkit --examples` before");
    program
}

/// The server and what it prints. It is killed when a test ends in the midst of it, its workers by its death.
struct Server {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut command = Command::new(program());
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().split(',').next().unwrap().to_owned();
        Server { process, lines, address }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    fn expect(&mut self, line: &str) {
        assert_eq!(self.lines.next().unwrap().unwrap(), line);
    }

    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.expect("the supervisor was stopped");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection, and the first two words that it was told.
struct Client {
    reader: BufReader<TcpStream>,
    worker: i32,
    greeting: String,
}

impl Client {
    fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let (worker, greeting) = line.trim_end_matches('\n').split_once(' ').unwrap();
        Client { worker: worker.parse().unwrap(), greeting: greeting.to_owned(), reader }
    }

    fn echo(&mut self, text: &str) {
        self.reader.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), text);
    }
}

fn greeting_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("multiprocess-echo-{name}-{}", std::process::id()))
}

#[test]
fn twenty_reloads_drop_no_connection() {
    let file = greeting_file("reloads");
    fs::write(&file, "number 0\n").unwrap();
    let mut server = Server::start(&["--workers", "2", "--greeting", file.to_str().unwrap()]);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let (address, stop, served) = (server.address.clone(), Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                let mut workers = HashSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let mut connection = Client::connect(&address);
                    workers.insert(connection.worker);
                    (0..3).for_each(|round| connection.echo(&format!("client {client}, round {round}")));
                    served.fetch_add(1, Ordering::Relaxed);
                }
                workers
            })
        })
        .collect();
    for reload in 1..=20 {
        fs::write(&file, format!("number {reload}\n")).unwrap();
        let mut open = Client::connect(&server.address);
        let before = served.load(Ordering::Relaxed);
        server.signal(Signal::SIGHUP);
        // A connection that was open before goes on, whatever becomes of its worker.
        while served.load(Ordering::Relaxed) < before + 20 {
            open.echo("still here");
            thread::sleep(Duration::from_millis(1));
        }
        drop(open);
        server.expect("reloaded");
        assert_eq!(Client::connect(&server.address).greeting, format!("number {reload}"));
    }
    stop.store(true, Ordering::Relaxed);
    let workers: HashSet<i32> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    // Each client's last line was echoed; and they have met more than one generation of workers.
    assert!(workers.len() > 2, "{workers:?}");
    server.stop();
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_worker_that_is_killed_is_started_again() {
    let server = Server::start(&["--workers", "1"]);
    let mut first = Client::connect(&server.address);
    kill(Pid::from_raw(first.worker), Signal::SIGKILL).unwrap();
    // Until it is dead it may accept.
    let _ = first.reader.read_line(&mut String::new());
    // The listening socket is there all the time: the connection waits for the next worker.
    let mut second = Client::connect(&server.address);
    assert_ne!(second.worker, first.worker);
    second.echo("here again");
    drop(second);
    server.stop();
}

#[test]
fn a_reload_that_fails_leaves_the_old_workers() {
    let file = greeting_file("failing");
    fs::write(&file, "hello\n").unwrap();
    let mut server = Server::start(&["--workers", "2", "--greeting", file.to_str().unwrap()]);
    let first = Client::connect(&server.address);
    fs::remove_file(&file).unwrap();
    server.signal(Signal::SIGHUP);
    let line = server.lines.next().unwrap().unwrap();
    assert!(line.contains("returned an error: No such file") && line.contains("goes on"), "{line}");
    let workers: HashSet<i32> = (0..20).map(|_| Client::connect(&server.address).worker).collect();
    assert!(workers.len() <= 2);
    drop(first);
    server.stop();
}

#[test]
fn wrong_arguments_are_told() {
    let run = |argument: &str| Command::new(program()).arg(argument).output().unwrap();
    assert_eq!(run("--workers").status.code(), Some(2));
    assert_eq!(run("--no-such").status.code(), Some(2));
    let help = run("--help");
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("kill -HUP"));
}
