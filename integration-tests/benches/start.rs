//! What a start costs: ours, the limit and what one could use instead, in one run.
//!
//! `cargo bench -p integration-tests --bench start` prints a table, then the same as JSON lines.
//! Absolute figures move with the machine and with what else it does; the ratios, whose two sides are
//! measured turn by turn, are what counts. Python's offspring is measured if `MULTIPROCESS_BENCH_PYTHON`
//! names an interpreter that has it.
#![allow(clippy::unwrap_used, reason = "a benchmark is a program of its own")]

use std::process::Command;
use std::time::{Duration, Instant};

use common_ipc::process::{Launch, LaunchOptions};
use integration_tests::proc;

mod support;

use support::starts::{limit, ours};
use support::{median, pin, timed};

/// A measured case: the median, in microseconds unless the name says otherwise.
struct Row {
    case: &'static str,
    what: &'static str,
    figure: f64,
}

fn main() {
    // procspawn starts its children by running this program again.
    procspawn::init();
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--procspawn") {
        println!("{}", peer_procspawn());
        return;
    }
    let mut rows = Vec::new();
    live_children(&mut rows);
    idle_memory(&mut rows);
    // Last, because it ends on one core.
    start_to_reaped(&mut rows);
    print(&rows);
}

fn ours_waited_for() {
    struct Waited;
    impl offspring::Subprocess for Waited {
        type Output = ();
        const WAIT_FOR_CHILD: bool = true;
        fn run(&mut self) {}
    }
    use offspring::Subprocess;
    Waited.spawn().unwrap().wait().unwrap();
}

/// Two contenders turn by turn, in another order each time: what runs second finds other caches
/// than what runs first. The median of each, over at least a second, as the machine is moody.
fn duel(one: fn(), other: fn()) -> [f64; 2] {
    let contenders = [one, other];
    let mut figures = [Vec::new(), Vec::new()];
    let begin = Instant::now();
    let mut round = 0;
    while round < 2000 || begin.elapsed() < Duration::from_secs(1) {
        for turn in 0..2 {
            let which = (turn + round) % 2;
            figures[which].push(timed(contenders[which]));
        }
        round += 1;
    }
    figures.map(|mut figures| median(&mut figures))
}

fn start_to_reaped(rows: &mut Vec<Row>) {
    for case in [FREE, SAME_CORE] {
        if case == SAME_CORE {
            pin(0);
        }
        let [raw, plain] = duel(limit, ours);
        rows.push(Row { case, what: "limit: fork + _exit + waitpid", figure: raw });
        rows.push(Row { case, what: "offspring::spawn + join", figure: plain });
        let [raw_again, waited] = duel(limit, ours_waited_for);
        // Given as if the limit had been what it was before.
        rows.push(Row { case, what: "offspring WAIT_FOR_CHILD", figure: waited / raw_again * raw });
        peers(rows, case);
    }
}

const FREE: &str = "start to reaped, empty typed task, any core (us)";
const SAME_CORE: &str = "start to reaped, empty typed task, one core (us)";

fn peers(rows: &mut Vec<Row>, case: &'static str) {
    let mut command: Vec<_> =
        (0..300).map(|_| timed(|| assert!(Command::new("/bin/true").status().unwrap().success()))).collect();
    rows.push(Row { case, what: "std::process::Command /bin/true", figure: median(&mut command) });
    // In a program of its own: it has threads, beside which nobody should fork.
    let output = Command::new(std::env::current_exe().unwrap()).arg("--procspawn").output().unwrap();
    match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(figure) => rows.push(Row { case, what: "procspawn spawn + join", figure }),
        Err(_) => eprintln!("procspawn failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
    peer_python(rows, case);
}

fn peer_procspawn() -> f64 {
    let mut figures: Vec<_> = (0..200).map(|_| timed(support::starts::procspawn)).collect();
    median(&mut figures)
}

fn peer_python(rows: &mut Vec<Row>, case: &'static str) {
    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/offspring_start.py");
    let Some(python) = std::env::var_os("MULTIPROCESS_BENCH_PYTHON") else {
        eprintln!(
            "Python's offspring is left out: MULTIPROCESS_BENCH_PYTHON names no interpreter that has it"
        );
        return;
    };
    let names = [("offspring (Python)", "plain"), ("offspring (Python) WAIT_FOR_CHILD", "waited")];
    for (what, task) in names {
        // It is where this process is, and is to stay there.
        let output = Command::new(&python)
            .args([PROGRAM, task, "any", "0.4"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                eprintln!("Python's offspring is left out: MULTIPROCESS_BENCH_PYTHON, {python:?}: {error}");
                return;
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            Some(told) => rows.push(Row { case, what, figure: told["figure"].as_f64().unwrap() }),
            None => eprintln!("Python's offspring failed: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

fn live_children(rows: &mut Vec<Row>) {
    const CASE: &str = "start beside live children (us)";
    let sleep = || std::thread::sleep(Duration::from_secs(600));
    let options = LaunchOptions::new();
    let mut children = Vec::new();
    for (what, count) in [("0 alive", 0), ("500 alive", 500), ("1000 alive", 1000)] {
        while children.len() < count {
            children.push(Launch::new(&options).start(sleep).unwrap());
        }
        let mut figures: Vec<_> = (0..300).map(|_| timed(ours)).collect();
        rows.push(Row { case: CASE, what, figure: median(&mut figures) });
    }
    for child in &children {
        child.kill().unwrap();
    }
    for child in &children {
        child.wait().unwrap();
    }
    let of = |what: &str| rows.iter().find(|row| row.case == CASE && row.what == what).unwrap().figure;
    let each = (of("1000 alive") - of("0 alive")) / 1000.0;
    rows.push(Row { case: CASE, what: "more per live child", figure: each });
}

fn idle_memory(rows: &mut Vec<Row>) {
    const CASE: &str = "idle child, private dirty memory (KiB)";
    let child = Launch::new(&LaunchOptions::new())
        .wait_until_ready(true)
        .start(|| std::thread::sleep(Duration::from_secs(600)))
        .unwrap();
    assert!(proc::eventually(|| proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'S')));
    let figure = proc::private_dirty_kib(child.id() as i32).unwrap() as f64;
    rows.push(Row { case: CASE, what: "offspring::spawn", figure });
    child.kill().unwrap();
    child.wait().unwrap();
}

fn print(rows: &[Row]) {
    let mut case = "";
    let mut first = 1.0;
    for row in rows {
        if row.case != case {
            println!("\n{}", row.case);
            (case, first) = (row.case, row.figure);
        }
        println!("  {:44} {:>10.2} {:>8.2} x", row.what, row.figure, row.figure / first);
    }
    println!();
    for row in rows {
        println!("{{\"case\":\"{}\",\"what\":\"{}\",\"figure\":{:.3}}}", row.case, row.what, row.figure);
    }
}
