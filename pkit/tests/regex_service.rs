//! The example `regex_service`, asked by clients: what one of them asks for is no trouble to the others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Tried by backtracking: for ever, on a text like [`endless_text`].
const ENDLESS: &str = r"^(a|aa)+\1b$";

fn endless_text() -> String {
    "a".repeat(90)
}

/// The example, which is built along with the tests of the package.
fn program() -> PathBuf {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.push("examples/regex_service");
    assert!(program.exists(), "a test that is run alone needs `cargo build -p pkit --examples` before");
    program
}

/// Looks until it is so, for a minute.
fn patiently(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The service, in a process group of its own. It is killed when a test ends in the midst of it, its workers by its death.
struct Service {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Service {
    fn start(arguments: &[&str]) -> Service {
        let mut command = Command::new(program());
        // A worker that aborts for want of memory says so.
        command.args(["--port", "0"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.process_group(0).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Service { process, output, url }
    }

    fn try_send(&self, path: &str, body: &str) -> Result<(u16, Value), ureq::Error> {
        let config = ureq::config::Config::builder().http_status_as_error(false).build();
        let asked = config.new_agent().post(format!("{}{path}", self.url));
        let mut response = asked.content_type("application/json").send(body)?;
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        Ok((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn send(&self, path: &str, body: &str) -> (u16, Value) {
        self.try_send(path, body).unwrap()
    }

    fn search(&self, pattern: &str, text: &str) -> (u16, Value) {
        self.send("/match", &json!({ "pattern": pattern, "text": text }).to_string())
    }

    fn expect(&self, pattern: &str, text: &str, matches: &[[usize; 2]]) {
        assert_eq!(self.search(pattern, text), (200, json!({ "matches": matches })), "{pattern}");
    }

    /// Has a search that isn't done refused for a reason in which these words are.
    fn expect_refusal(&self, pattern: &str, text: &str, status: u16, why: &str) {
        let (was, answer) = self.search(pattern, text);
        assert_eq!(was, status, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }

    fn statistics(&self) -> Value {
        let mut response = ureq::get(format!("{}/statistics", self.url)).call().unwrap();
        serde_json::from_slice(&response.body_mut().read_to_vec().unwrap()).unwrap()
    }

    fn number(&self, of: &str) -> u64 {
        self.statistics()[of].as_u64().unwrap()
    }

    fn workers(&self) -> Vec<i32> {
        let pids = self.statistics()["pids"].as_array().unwrap().clone();
        pids.iter().map(|pid| pid.as_i64().unwrap() as i32).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// Ends it by a signal to its group, as a terminal does, and returns what it printed.
    fn stop_by(mut self, signal: Signal) -> String {
        let workers = self.workers();
        killpg(self.pid(), signal).unwrap();
        let mut said = String::new();
        self.output.read_to_string(&mut said).unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "{said}");
        self.is_gone(&workers);
        said
    }

    /// Neither one of its workers nor anything of its group is left.
    fn is_gone(&self, workers: &[i32]) {
        let runs = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        patiently("the workers to end", || !workers.iter().any(runs));
        patiently("the group to end", || killpg(self.pid(), None).is_err());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn searches_are_answered() {
    let service = Service::start(&["--workers", "2"]);
    service.expect("o+", "foo boo", &[[1, 3], [5, 7]]);
    service.expect("x", "foo", &[]);
    service.expect(r"(\w)\1", "naïve aardvark", &[[7, 9]]);
    service.expect("ï", "naïve", &[[2, 4]]);
    service.expect("", "", &[[0, 0]]);
    service.expect_refusal("(", "text", 400, "parenthesis");
    service.expect_refusal(r"\1", "text", 400, "");
    assert_eq!(service.send("/match", "{").0, 400);
    assert_eq!(service.send("/match", r#"{"pattern": 7}"#).0, 422);
    assert_eq!(service.send("/nowhere", "").0, 404);
    assert_eq!(service.number("answered"), 7);
    assert_eq!(service.number("died"), 0);
    let said = service.stop_by(Signal::SIGINT);
    assert!(said.starts_with("7 of 7 tasks answered, 0 lost"), "{said}");
}

#[test]
fn a_search_without_an_end_is_stopped_and_holds_nobody_up() {
    let service = Service::start(&["--workers", "2", "--timeout", "2000"]);
    let before = service.workers();
    let answered = thread::scope(|scope| {
        let endless = scope.spawn(|| {
            service.expect_refusal(ENDLESS, &endless_text(), 422, "took longer than 2s and was stopped");
        });
        let mut answered = 0;
        while !endless.is_finished() {
            service.expect("b", "abc", &[[1, 2]]);
            answered += 1;
        }
        answered
    });
    // The last one may have been asked for afterwards.
    assert!(answered > 2, "{answered}");
    assert_eq!(service.number("timed_out"), 1);
    // Its worker was replaced, and the other one wasn't.
    patiently("another worker", || service.workers().len() == 2);
    assert_eq!(service.workers().iter().filter(|pid| before.contains(pid)).count(), 1);
    service.stop_by(Signal::SIGTERM);
}

#[test]
fn fifty_at_once_get_their_own_answers() {
    let service = Service::start(&["--workers", "3"]);
    thread::scope(|scope| {
        for number in 0..50_usize {
            let service = &service;
            scope.spawn(move || {
                for round in 1..=4 {
                    let text = format!("{}{}", "-".repeat(number), "x".repeat(round));
                    service.expect("x+", &text, &[[number, number + round]]);
                }
            });
        }
    });
    assert_eq!(service.number("answered"), 200);
    service.stop_by(Signal::SIGTERM);
}

#[test]
fn a_huge_text_is_searched_or_refused() {
    let service = Service::start(&["--workers", "1", "--timeout", "60000", "--memory", "32"]);
    let text = "a".repeat(1_500_000) + "b";
    service.expect("a+b$", &text, &[[0, 1_500_001]]);
    let longer = json!({ "pattern": "a", "text": "a".repeat(3_000_000) }).to_string();
    match service.try_send("/match", &longer) {
        Ok((status, _)) => assert_eq!(status, 413),
        // The answer is there, and the connection closed, before all is sent.
        Err(ureq::Error::Io(_)) => {}
        Err(error) => panic!("{error}"),
    }
    // It doesn't end the service, nor another search: the worker's memory is limited.
    service.expect_refusal(r"(?=(a))\1", &"a".repeat(1_900_000), 422, "ended by SIGABRT");
    service.expect("a+b$", &text, &[[0, 1_500_001]]);
    assert_eq!(service.number("died"), 1);
    service.stop_by(Signal::SIGTERM);
}

#[test]
fn what_has_no_room_to_wait_is_refused_at_once() {
    let service = Service::start(&["--workers", "1", "--timeout", "500", "--waiting", "0"]);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..16).map(|_| scope.spawn(|| service.search(ENDLESS, &endless_text()).0)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|was| **was == status).count();
    assert!(count(503) > 0 && count(422) > 0, "{statuses:?}");
    // What was refused was never submitted, and nothing else happened to any of them.
    assert_eq!(count(503) + count(422), 16, "{statuses:?}");
    assert_eq!(service.number("submitted"), service.number("timed_out"));
    assert_eq!(service.number("timed_out"), count(422) as u64);
    service.expect("b", "abc", &[[1, 2]]);
    service.stop_by(Signal::SIGTERM);
}

#[test]
fn a_client_that_hangs_up_ends_its_search() {
    let service = Service::start(&["--workers", "1", "--timeout", "3600000"]);
    let body = json!({ "pattern": ENDLESS, "text": endless_text() }).to_string();
    let mut client = TcpStream::connect(service.url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /match HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:";
    client.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    patiently("the search to begin", || service.number("under_way") == 1);
    drop(client);
    patiently("the search to be cancelled", || service.number("cancelled") == 1);
    service.expect("b", "abc", &[[1, 2]]);
    service.stop_by(Signal::SIGTERM);
}

#[test]
fn a_stop_waits_for_what_was_asked() {
    let service = Service::start(&["--workers", "1", "--timeout", "1500"]);
    let (url, workers) = (service.url.clone(), service.workers());
    let said = thread::scope(|scope| {
        let endless = scope.spawn(|| {
            let config = ureq::config::Config::builder().http_status_as_error(false).build();
            let asked = config.new_agent().post(format!("{url}/match")).content_type("application/json");
            let body = json!({ "pattern": ENDLESS, "text": endless_text() }).to_string();
            asked.send(body).unwrap().status().as_u16()
        });
        patiently("the search to begin", || service.number("under_way") == 1);
        assert_eq!(service.workers(), workers);
        let said = service.stop_by(Signal::SIGTERM);
        assert_eq!(endless.join().unwrap(), 422);
        said
    });
    assert!(said.starts_with("0 of 1 tasks answered, 0 lost, 1 timed out, 0 cancelled"), "{said}");
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err());
}

#[test]
fn workers_that_are_killed_are_replaced_and_a_killed_service_leaves_none() {
    let mut service = Service::start(&["--workers", "2"]);
    for pid in service.workers() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    patiently("two others", || service.number("died") == 2 && service.workers().len() == 2);
    service.expect("b", "abc", &[[1, 2]]);
    let workers = service.workers();
    service.process.kill().unwrap();
    service.process.wait().unwrap();
    service.is_gone(&workers);
}

#[test]
fn wrong_arguments_are_told() {
    let run = |arguments: &[&str]| Command::new(program()).args(arguments).output().unwrap();
    for wrong in [&["--workers"][..], &["--workers", "0"], &["--port", "70000"], &["--no-such"]] {
        let ran = run(wrong);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains(wrong[0]), "{ran:?}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("POST /match"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = run(&["--port", &taken.local_addr().unwrap().port().to_string()]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("in use"), "{ran:?}");
}
