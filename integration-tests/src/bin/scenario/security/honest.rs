//! Nine honest children of nine kinds, whose answers are looked at, for scenarios with one that isn't.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common_ipc::link::{Bytes, Connection, Queue};
use common_ipc::sync::Mutex;
use cross_process_bridge::bridge;
use cross_process_bridge::manager::SharedList;
use integration_tests::proc;
use pkit::WorkerPool;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::servers::{start_in, zygote};
use crate::workers::PATIENCE;

/// What an honest child logs, and under which target.
pub(crate) const TARGET: &str = "honest";
pub(crate) const LOGGED: &str = "as ever";

/// Goes on until it is over, and says how often it has looked at an answer.
type Honest = fn(stage: &Stage) -> u64;

/// Where they play.
#[derive(Debug)]
pub(crate) struct Stage {
    over: AtomicBool,
    /// How many of them have got their first answer.
    begun: AtomicUsize,
    /// Of a manager.
    list: SharedList<u64>,
}

impl Stage {
    pub(crate) fn new(list: SharedList<u64>) -> Stage {
        Stage { over: AtomicBool::new(false), begun: AtomicUsize::new(0), list }
    }

    /// Waits until each of them has begun, and is connected to what it is to be connected to.
    pub(crate) fn wait_for_all(&self) {
        let all = || self.begun.load(Ordering::SeqCst) == HONEST.len() || self.over.load(Ordering::SeqCst);
        assert!(proc::eventually(all));
    }
}

pub(crate) const HONEST: [Honest; 9] =
    [echo, long, object, back_end, worker, queue, manager, mutex, task_by_task];

/// It is over when this is dropped: also where somebody fails.
pub(crate) struct Ends<'a>(pub(crate) &'a Stage);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Counts the calls of `step`, which is passed their number, until it is over.
fn repeat(stage: &Stage, mut step: impl FnMut(u64)) -> u64 {
    let ends = Ends(stage);
    let mut number = 0;
    while !stage.over.load(Ordering::SeqCst) {
        step(number);
        if number == 0 {
            stage.begun.fetch_add(1, Ordering::SeqCst);
        }
        number += 1;
        // There are eight others, and two processors or one.
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(ends);
    number
}

fn echo(stage: &Stage) -> u64 {
    let (here, there) = Connection::<Vec<u64>, u64>::pair().unwrap();
    let sums = |end: Connection<u64, Vec<u64>>| {
        while let Ok(numbers) = end.recv() {
            log::info!(target: TARGET, "{LOGGED}");
            end.send(&numbers.iter().sum()).unwrap();
        }
    };
    let child = start_in(sums, &there);
    let looked = repeat(stage, |number| {
        here.send(&vec![number; number as usize % 100]).unwrap();
        assert_eq!(here.recv_timeout(PATIENCE).unwrap(), Some(number * (number % 100)));
    });
    drop(here);
    child.output::<()>().unwrap();
    looked
}

/// Long ones.
fn long(stage: &Stage) -> u64 {
    let (here, there) = Connection::<Bytes, Bytes>::pair().unwrap();
    let turns = |end: Connection<Bytes, Bytes>| {
        while let Ok(bytes) = end.recv() {
            end.send(&bytes.iter().rev().copied().collect::<Vec<_>>().into()).unwrap();
        }
    };
    let child = start_in(turns, &there);
    let looked = repeat(stage, |number| {
        let bytes: Vec<u8> = (0..10_000).map(|place| (place * number) as u8).collect();
        here.send(&Bytes::from(&bytes[..])).unwrap();
        let back = here.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(back.iter().rev().eq(&bytes), "{number}");
    });
    drop(here);
    child.output::<()>().unwrap();
    looked
}

struct Counter(u64);

#[bridge]
impl Counter {
    fn new(first: u64) -> Counter {
        Counter(first)
    }

    fn add(&mut self, number: u64) -> u64 {
        self.0 += number;
        self.0
    }
}

fn object(stage: &Stage) -> u64 {
    let counter = CounterBridge::new(7);
    counter.process().launch_in(&zygote());
    counter.start().unwrap();
    let looked = repeat(stage, |number| assert_eq!(counter.add(3).unwrap(), 7 + 3 * (number + 1)));
    counter.stop().unwrap();
    looked
}

#[derive(Serialize, Deserialize)]
struct Squares;

impl Backend for Squares {
    type Command = (u64, Reply<u64>);
    type Event = u64;

    fn handle(&mut self, cx: &mut Context<Self>, (number, reply): Self::Command) -> Result<(), RemoteError> {
        cx.send_out(&number)?;
        reply.send(&(number * number))?;
        Ok(())
    }
}

fn back_end(stage: &Stage) -> u64 {
    let process = MessageProcess::new("squares", Squares).launch_in(&zygote());
    process.start().unwrap();
    let looked = repeat(stage, |number| {
        assert_eq!(process.request(|reply| (number, reply)).unwrap(), number * number);
        assert_eq!(process.recv().unwrap(), number);
    });
    process.stop().unwrap();
    looked
}

fn worker(stage: &Stage) -> u64 {
    let pool = WorkerPool::new(1).unwrap();
    let looked = repeat(stage, |number| {
        let task = pool.submit(|number: u64| (number, vec![number; 300]), number).unwrap();
        assert_eq!(crate::workers::result(task).unwrap(), (number, vec![number; 300]));
    });
    assert_eq!(pool.statistics().unwrap().died, 0);
    pool.close().unwrap();
    looked
}

fn queue(stage: &Stage) -> u64 {
    let (ask, answer) = (Queue::<Option<u64>>::new().unwrap(), Queue::<Vec<u64>>::new().unwrap());
    let lists = |(asked, answer): (Queue<Option<u64>>, Queue<Vec<u64>>)| {
        while let Some(number) = asked.recv().unwrap() {
            answer.send(&(0..number % 50).collect()).unwrap();
        }
    };
    let child = start_in(lists, &(ask.clone(), answer.clone()));
    let looked = repeat(stage, |number| {
        ask.send(&Some(number)).unwrap();
        let list = answer.recv_timeout(PATIENCE).unwrap().unwrap();
        assert!(list.into_iter().eq(0..number % 50));
    });
    ask.send(&None).unwrap();
    child.output::<()>().unwrap();
    looked
}

/// It and the child are clients of the manager that liars are clients of.
fn manager(stage: &Stage) -> u64 {
    let list = &stage.list;
    let (here, there) = Connection::<u64, ()>::pair().unwrap();
    let appends = |(list, end): (SharedList<u64>, Connection<(), u64>)| {
        while let Ok(number) = end.recv() {
            list.append(&number).unwrap();
            end.send(&()).unwrap();
        }
    };
    let child = start_in(appends, &(list.clone(), there));
    let looked = repeat(stage, |number| {
        here.send(&number).unwrap();
        here.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(list.len().unwrap() as u64, number + 1);
        assert_eq!(list.get(number as usize).unwrap(), Some(number));
    });
    drop(here);
    child.output::<()>().unwrap();
    looked
}

fn mutex(stage: &Stage) -> u64 {
    // Who turns which number: the sum stays the same.
    let shared = Mutex::new([1000u64, 0, 0]).unwrap();
    let moves = |shared: Mutex<[u64; 3]>| {
        loop {
            let mut all = shared.lock().unwrap();
            if all[2] == 1 {
                return;
            }
            all[0] -= 1;
            std::thread::yield_now();
            all[1] += 1;
            if all[0] == 0 {
                all.swap(0, 1);
            }
            drop(all);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let child = start_in(moves, &shared);
    let looked = repeat(stage, |_| {
        let all = shared.lock().unwrap();
        assert_eq!(all[0] + all[1], 1000);
    });
    shared.lock().unwrap()[2] = 1;
    child.output::<()>().unwrap();
    looked
}

/// One process after another.
fn task_by_task(stage: &Stage) -> u64 {
    repeat(stage, |number| {
        let child = start_in(|number: u64| number * 3, &number);
        assert_eq!(child.output_timeout::<u64>(PATIENCE).unwrap(), Some(number * 3));
    })
}
