//! One child that writes garbage into all that it has in common with others, beside nine that are honest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common_ipc::link::{Bytes, Connection, Queue};
use common_ipc::logging;
use common_ipc::memory::{FrozenArray, SharedArray, SharedAtomics, SharedMemory};
use common_ipc::process::{Child, Launch, LaunchOptions, Signal};
use common_ipc::sync::{Event, EventFd, Mutex as SharedMutex, Semaphore};
use cross_process_bridge::bridge;
use cross_process_bridge::manager::{Manager, SharedList};
use integration_tests::raw::garbage::Liar;
use integration_tests::{proc, stress_factor};
use log::{LevelFilter, Log, Metadata, Record};
use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::getppid;
use pkit::WorkerPool;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::Outcome::{self, Passed};
use crate::security::honest::{Ends, HONEST, LOGGED, Stage, TARGET};
use crate::servers::zygote;

scenarios!(
    security_a_start_is_none_of_the_garbage_that_follows_it,
    security_a_liar_is_heard_by_typed_errors_and_disturbs_nobody,
);

/// How long one liar has.
const ROUND: Duration = Duration::from_millis(400);

/// A message with something of everything.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Number(u64),
    Text(String),
    Bytes(Bytes),
    List(Vec<Word>),
    Map(BTreeMap<String, Option<char>>),
    End(Connection<u64, u64>),
}

/// What a liar has in common with the parent beyond its links: one of everything that processes can share.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Common {
    queue: Queue<Word>,
    event: Event,
    event_fd: EventFd,
    semaphore: Semaphore,
    mutex: SharedMutex<[u64; 8]>,
    array: SharedArray<u64>,
    memory: SharedMemory,
    atomics: SharedAtomics,
    frozen: FrozenArray<u64>,
    list: SharedList<u64>,
}

const FROZEN: [u64; 700] = [0x5ec7_0000_1234_5678; 700];

impl Common {
    fn new(list: SharedList<u64>) -> Common {
        Common {
            queue: Queue::new().unwrap(),
            event: Event::new().unwrap(),
            event_fd: EventFd::new().unwrap(),
            semaphore: Semaphore::new(3).unwrap(),
            mutex: SharedMutex::new([0; 8]).unwrap(),
            array: SharedArray::new(5000).unwrap(),
            memory: SharedMemory::new(10_000).unwrap(),
            atomics: SharedAtomics::new(100).unwrap(),
            frozen: SharedArray::from_slice(&FROZEN).unwrap().freeze().unwrap(),
            list,
        }
    }
}

/// What a liar is given: this, and that it is started with this number.
type Given = (Connection<Word, Word>, Common, u64);

/// Until it is killed, or has killed itself by what it does to its own library.
fn lie((end, common, seed): Given) {
    let mut liar = Liar::new(seed);
    // Some have used what they have, and some have not.
    let _held = (liar.below(2) == 0).then(|| (common.mutex.try_lock(), common.semaphore.try_acquire()));
    let babbles = liar.below(3) > 0;
    let scribbles = liar.below(4) > 0;
    let begin = Instant::now();
    while begin.elapsed() < 4 * ROUND {
        match liar.below(8) {
            0 => drop(end.try_send(&Word::Number(seed))),
            1 => drop(
                end.try_send(&Word::List((0..liar.below(50)).map(|_| Word::Text("lie".into())).collect())),
            ),
            2 => drop(end.try_recv()),
            3 => drop(common.queue.try_send(&Word::Bytes(vec![7; liar.below(20_000)].into()))),
            4 => drop(common.list.with_timeout(Duration::from_millis(1)).append(&seed)),
            5 => {
                common.event.set();
                drop(Connection::pair().map(|(one, _other)| end.try_send(&Word::End(one))));
            }
            6 => log::error!("{seed} {}", "lies ".repeat(liar.below(300))),
            _ => {}
        }
        if scribbles {
            let words = [1, 30, 1000][liar.below(3)];
            liar.scribble(words);
        }
        if babbles {
            liar.babble();
        }
    }
}

/// A liar behind a bridge: it lies while it should carry out a method.
struct Object;

#[bridge]
impl Object {
    fn new() -> Object {
        Object
    }

    fn lie(&self, end: Connection<Word, Word>, common: Common, seed: u64) {
        lie((end, common, seed));
    }

    fn double(&self, list: &[u64]) -> Vec<u64> {
        list.iter().map(|number| number * 2).collect()
    }
}

/// A liar that handles commands.
#[derive(Serialize, Deserialize)]
struct Back;

#[derive(Serialize, Deserialize)]
enum Command {
    Lie(Box<Given>),
    Ask(Reply<u64>),
}

impl Backend for Back {
    type Command = Command;
    type Event = Vec<u64>;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Lie(given) => {
                cx.send_out(&vec![1; 3])?;
                lie(*given);
            }
            Command::Ask(reply) => reply.send(&1)?,
        }
        Ok(())
    }
}

/// What was heard of liars, by its kind: how often.
#[derive(Debug, Default)]
struct Heard(Mutex<BTreeMap<&'static str, (u64, String)>>);

impl Heard {
    /// A result of whatever value: that is data. An error has a type, and says something.
    fn hear<T, E: std::error::Error>(&self, what: &'static str, result: Result<T, E>) {
        let Err(error) = result else { return };
        let text = error.to_string();
        assert!(!text.is_empty(), "{what}");
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(what).or_insert((0, text)).0 += 1;
    }
}

/// The parent goes on to use all that it has in common with a liar, by calls that have a time.
fn go_on(
    end: &Connection<Word, Word>,
    common: &Common,
    heard: &Heard,
    liar_is_there: &(dyn Fn() -> bool + Sync),
) {
    let moment = Duration::from_millis(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while liar_is_there() {
                heard.hear("recv", end.recv_timeout(moment));
                heard.hear("send", end.send_timeout(&Word::Text("x".repeat(3000)), moment));
                heard.hear("queue", common.queue.recv_timeout(moment));
                heard.hear("queue", common.queue.send_timeout(&Word::Number(1), moment));
            }
        });
        scope.spawn(|| {
            while liar_is_there() {
                common.event.clear();
                heard.hear("event", common.event.wait_timeout(moment));
                common.event.set();
                // (To set it may wait where somebody hostile has it, as its documentation says.)
                heard.hear("event_fd", common.event_fd.wait_timeout(moment));
                heard.hear("event_fd", common.event_fd.clear());
            }
        });
        scope.spawn(|| {
            while liar_is_there() {
                heard.hear("semaphore", common.semaphore.acquire_timeout(moment));
                heard.hear("semaphore", common.semaphore.reclaim());
                assert!(common.semaphore.available() <= 3);
                match common.mutex.lock_timeout(moment) {
                    Ok(Some(mut guard)) => guard[0] = guard[0].wrapping_add(1),
                    other => heard.hear("mutex", other.map(drop)),
                }
            }
        });
        while liar_is_there() {
            assert_eq!(common.array.to_vec().len(), 5000);
            common.memory.write_from(9_000, &[1; 1000]).unwrap();
            common.atomics[99].fetch_add(1, Ordering::Relaxed);
            assert!(common.frozen[..] == FROZEN, "frozen memory is another");
            heard.hear("list", common.list.with_timeout(Duration::from_secs(20)).append(&1));
            std::thread::sleep(moment);
        }
    });
}

/// One liar, in one of four disguises: a child, an object, a back end, a worker.
fn round(seed: u64, list: &SharedList<u64>, heard: &Heard) {
    let (here, there) = Connection::pair().unwrap();
    let common = Common::new(list.clone());
    let given: Given = (there, common.clone(), seed);
    let begin = Instant::now();
    let in_time = || begin.elapsed() < ROUND;
    let with = |child: &Child| {
        go_on(&here, &common, heard, &|| in_time() && child.is_alive().unwrap());
        child.kill().unwrap();
        heard.hear("wait", child.wait());
    };
    match seed % 4 {
        0 => {
            // It may have garbled its first word.
            let started = Launch::new(&LaunchOptions::new()).start_in(&zygote(), lie, &given);
            if let Ok(child) = &started {
                with(child);
                heard.hear("output", child.output::<()>());
            }
            heard.hear("start", started);
        }
        1 => {
            let object = ObjectBridge::new();
            object.process().launch_in(&zygote());
            object.start().unwrap();
            let hasty = object.with_timeout(ROUND);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (end, common, seed) = given;
                    heard.hear("method", hasty.lie(end, common, seed));
                });
                scope.spawn(|| {
                    while in_time() {
                        heard.hear("method", object.with_timeout(Duration::from_millis(5)).double(&[1; 50]));
                    }
                });
                go_on(&here, &common, heard, &in_time);
                heard.hear("kill", object.process().kill());
            });
        }
        2 => {
            let process = MessageProcess::new("liar", Back).launch_in(&zygote());
            process.start().unwrap();
            process.send(&Command::Lie(Box::new(given))).unwrap();
            let child = process.child().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while in_time() {
                        heard.hear("event of a back end", process.recv_timeout(Duration::from_millis(5)));
                        heard
                            .hear("request", process.request_timeout(Duration::from_millis(5), Command::Ask));
                    }
                });
                with(&child);
            });
            heard.hear("event of a back end", process.recv_timeout(Duration::from_millis(5)));
        }
        _ => {
            let pool = WorkerPool::new(1).unwrap().task_timeout(ROUND);
            let mut task = pool.submit(lie, given).unwrap();
            let others: Vec<_> = (0..20u64).map(|n| pool.submit(|n: u64| n * n, n).unwrap()).collect();
            go_on(&here, &common, heard, &|| in_time() && !task.is_done());
            heard.hear("task", task.join_timeout(Duration::from_secs(60)).map(|joined| joined.unwrap()));
            for mut other in others {
                heard.hear("task", other.join_timeout(Duration::from_secs(60)).map(|joined| joined.unwrap()));
            }
            heard.hear("terminate", pool.terminate(Duration::ZERO));
        }
    }
    heard.hear("recv", here.recv_timeout(Duration::from_millis(1)));
}

/// What it says after its first word doesn't make its start fail, and leave somebody whom nobody knows.
fn security_a_start_is_none_of_the_garbage_that_follows_it() -> Outcome {
    let garbles = |seed: u64| {
        // When its parent goes on, all is there that it says.
        let parent = getppid();
        kill(parent, NixSignal::SIGSTOP).unwrap();
        let mut liar = Liar::new(seed);
        for _ in 0..10 {
            liar.babble();
        }
        kill(parent, NixSignal::SIGCONT).unwrap();
        crate::processes::children::sleep_for_long();
    };
    for seed in 0..100 {
        let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), garbles, &seed).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    }
    Passed
}

static OF_LIARS: AtomicU64 = AtomicU64::new(0);
static OF_HONEST: AtomicU64 = AtomicU64::new(0);

/// The records of honest ones are as they were written.
struct Reads;

impl Log for Reads {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let of = if record.target() == TARGET { &OF_HONEST } else { &OF_LIARS };
        of.fetch_add(1, Ordering::Relaxed);
        if record.target() == TARGET && record.args().to_string() != LOGGED {
            eprintln!("{}", record.args());
            std::process::exit(9);
        }
    }

    fn flush(&self) {}
}

fn security_a_liar_is_heard_by_typed_errors_and_disturbs_nobody() -> Outcome {
    logging::install(Box::new(Reads)).unwrap();
    log::set_max_level(LevelFilter::Info);
    zygote();
    let time = Duration::from_secs(6) * stress_factor();
    let manager = Manager::start().unwrap();
    let (of_honest, of_liars) = (manager.list().unwrap(), manager.list().unwrap());
    let manager_pid = manager.child().id() as i32;
    let (stage, heard) = (Stage::new(of_honest), Heard::default());
    let mut most = 0;
    let served = std::thread::scope(|scope| {
        let stage = &stage;
        let honest = HONEST.map(|play| scope.spawn(move || play(stage)));
        let ends = Ends(stage);
        // A liar can shut the door of the manager for those who come later, as any client of it can.
        stage.wait_for_all();
        let begin = Instant::now();
        for seed in 0.. {
            if begin.elapsed() > time || honest.iter().any(|honest| honest.is_finished()) {
                break;
            }
            round(seed, &of_liars, &heard);
            let now = proc::resident_kib() + proc::resident_kib_of(manager_pid);
            if seed < 8 {
                // Buffers have grown to what their bounds allow.
                most = now + (200 << 10);
            }
            assert!(now < most, "{now} KiB after {seed} liars");
        }
        drop(ends);
        honest.map(|honest| honest.join().unwrap())
    });
    // Each of the honest ones was served all the time, and something was heard of the liars.
    assert!(served.iter().all(|rounds| *rounds > 20), "{served:?}");
    log::logger().flush();
    assert!(OF_HONEST.load(Ordering::Relaxed) > 0 && OF_LIARS.load(Ordering::Relaxed) > 0);
    let heard = heard.0.into_inner().unwrap();
    for what in ["recv", "send", "output", "method", "task", "event of a back end"] {
        assert!(heard.contains_key(what), "nothing by {what}: {heard:?}");
    }
    manager.stop().unwrap();
    Passed
}
