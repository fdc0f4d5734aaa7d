//! A program with all kinds of processes at once, whose end is looked at from outside.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;

use common_ipc::process::LaunchOptions;
use cross_process_bridge::bridge;
use cross_process_bridge::manager::{Manager, SharedList};
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use offspring::{LoopStep, Subprocess, SubprocessLoop};
use pkit::supervisor::{ChildSpec, Supervisor};
use pkit::{ProcessPool, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, RemoteError};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::servers::{kill, zygote};
use crate::together::{PATIENCE, Pids, WAYS, Way, gone, run};

scenarios![
    fault_30_together_a_program_that_returns_leaves_nothing,
    fault_30_together_a_program_that_exits_leaves_nothing,
    fault_30_together_a_program_that_panics_leaves_nothing,
    fault_27_together_a_program_that_is_killed_leaves_nothing,
];

/// Runs the program of this name, if there is one.
pub(crate) fn play(name: &str, arguments: &[String]) -> bool {
    let is_it = name == "program_with_all_kinds";
    if is_it {
        all_kinds(&arguments[0]);
    }
    is_it
}

/// Who is at work: how many there are, and a list that all of them have.
#[derive(Clone, Serialize, Deserialize)]
struct There {
    count: Pids,
    list: SharedList<u32>,
}

impl There {
    /// Whoever is to hand it on is given what it shares.
    fn options(&self) -> LaunchOptions {
        LaunchOptions::new().give(&self.count)
    }
}

/// Says that it is there, and doesn't come to an end.
fn busy(there: There) {
    there.list.append(&std::process::id()).unwrap();
    there.count[0].fetch_add(1, Ordering::SeqCst);
    sleep_for_long();
}

#[derive(Serialize, Deserialize)]
struct Looping(There);

impl SubprocessLoop for Looping {
    fn begin(&mut self) {
        self.0.list.append(&std::process::id()).unwrap();
        self.0.count[0].fetch_add(1, Ordering::SeqCst);
    }

    fn step(&mut self) -> LoopStep {
        LoopStep::Again
    }
}

struct Object;

#[bridge]
impl Object {
    fn new() -> Object {
        Object
    }

    fn busy(&self, there: There) {
        busy(there);
    }
}

#[derive(Serialize, Deserialize)]
struct Servant;

impl Backend for Servant {
    type Command = There;
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, there: There) -> Result<(), RemoteError> {
        busy(there);
        Ok(())
    }
}

/// A task that has all that talks below it.
fn nested((way, there): (Way, There)) {
    zygote();
    let servant = way.message("servant", Servant, LaunchOptions::new());
    servant.send(&there).unwrap();
    let workers = WorkerPool::new(1).unwrap();
    workers.submit(busy, there.clone()).unwrap();
    let object = ObjectBridge::new();
    way.of_bridge(object.process());
    object.scope(|object| object.busy(there).unwrap()).unwrap();
}

/// How many are busy: for each way six kinds, a worker, and three below a task.
const BUSY: u64 = 2 * 11;

/// All kinds by each way, in the midst of their work. Prints a line when they are, reads one, and ends.
fn all_kinds(how: &str) {
    let zygote = zygote();
    let managers = [Manager::start().unwrap(), Manager::builder().start_in(&zygote).unwrap()];
    let count = Pids::new(1).unwrap();
    let theres =
        managers.each_ref().map(|manager| There { count: count.clone(), list: manager.list().unwrap() });
    let pool = ProcessPool::new(2).unwrap();
    let workers = WorkerPool::new(2).unwrap();
    let mut builder = Supervisor::builder();
    let (mut tasks, mut processes, mut servants, mut objects) = (vec![], vec![], vec![], vec![]);
    for (way, there) in WAYS.into_iter().zip(&theres) {
        tasks.push(way.task(there.options(), busy, there.clone()));
        tasks.push(way.task(there.options(), nested, (way, there.clone())));
        let looping = match way {
            Way::Fork => Looping(there.clone()).spawn(),
            Way::Zygote => Looping(there.clone()).spawn_in(&zygote, LaunchOptions::new()),
        };
        tasks.push(looping.unwrap().process().unwrap().clone());
        let (mine, its) = (there.clone(), there.clone());
        builder = builder.child(match way {
            Way::Fork => ChildSpec::new("template's", move || busy(its)),
            Way::Zygote => ChildSpec::in_zygote("zygote's", &zygote, busy, its),
        });
        processes.push(match way {
            Way::Fork => pkit::Process::builder().build(move || busy(mine.clone())),
            Way::Zygote => pkit::Process::builder().build_function_in(&zygote, busy, mine),
        });
        let of_pool = match way {
            Way::Fork => pool.execute(|| busy(there.clone())),
            Way::Zygote => pool.execute_in(&zygote, busy, there),
        };
        drop(of_pool.unwrap());
        let servant = way.message("servant", Servant, LaunchOptions::new());
        servant.send(there).unwrap();
        servants.push(servant);
        workers.submit(busy, there.clone()).unwrap();
        let object = ObjectBridge::new();
        way.of_bridge(object.process());
        object.start().unwrap();
        objects.push(object);
    }
    for process in &processes {
        process.start().unwrap();
    }
    let supervisor = builder.start().unwrap();
    // Somebody waits for each of the objects.
    for (object, there) in objects.iter().zip(&theres) {
        let (object, there) = (object.clone(), there.clone());
        std::thread::spawn(move || object.busy(there));
    }
    let is_busy = || count[0].load(Ordering::SeqCst) == BUSY;
    assert!(proc::eventually(is_busy), "{} of {BUSY}", count[0].load(Ordering::SeqCst));
    assert!(theres.iter().all(|there| there.list.len().unwrap() as u64 == BUSY / 2));
    println!("busy");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    match how {
        // In whatever order they are dropped.
        "return" => {}
        "return with all handles lost" => {
            std::mem::forget((managers, theres, pool, workers, supervisor));
            std::mem::forget((tasks, processes, servants, objects));
        }
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        other => panic!("unknown way {other}"),
    }
}

/// Plays the program up to its end, which is its own or this signal's, and sees that nothing is left of it.
fn play_and_end(how: &str, signal: Option<NixSignal>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["program_with_all_kinds", how]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "busy\n");
    let all = proc::descendants(program.id() as i32);
    // Beside those that are busy: two tasks that wait for theirs, two managers, the template of a supervised child, and the
    // keepers and zygotes of the program and of what has made some.
    assert!(all.len() as u64 >= BUSY + 2 + 2 + 1 + 2, "{all:?}");
    assert!(run(&all));
    match signal {
        Some(signal) => kill(program.id() as i32, signal),
        None => program.stdin.take().unwrap().write_all(b"end\n").unwrap(),
    }
    let begin = std::time::Instant::now();
    let status = loop {
        if let Some(status) = program.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            program.kill().unwrap();
            panic!("it hangs at its end: {how} {signal:?}, {:?}", program.wait());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    gone(&all);
    status
}

fn fault_30_together_a_program_that_returns_leaves_nothing() -> Outcome {
    for how in ["return", "return with all handles lost"] {
        assert_eq!(play_and_end(how, None).code(), Some(0), "{how}");
    }
    Passed
}

fn fault_30_together_a_program_that_exits_leaves_nothing() -> Outcome {
    assert_eq!(play_and_end("exit", None).code(), Some(3));
    Passed
}

fn fault_30_together_a_program_that_panics_leaves_nothing() -> Outcome {
    assert_eq!(play_and_end("panic", None).code(), Some(101));
    Passed
}

fn fault_27_together_a_program_that_is_killed_leaves_nothing() -> Outcome {
    for signal in [NixSignal::SIGKILL, NixSignal::SIGTERM, NixSignal::SIGABRT] {
        assert_eq!(play_and_end("return", Some(signal)).signal(), Some(signal as i32));
    }
    Passed
}
