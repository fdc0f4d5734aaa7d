//! Pools of workers: what is rare, odd or spiteful.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use nix::sys::signal::Signal as NixSignal;
use pkit::{Chunk, StatePool, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;
use crate::workers::faults::kill;
use crate::workers::{goes_on, hang, pool, result};

scenarios!(
    workers_an_unordered_map_goes_on_beside_an_item_that_takes_long,
    workers_a_map_returns_what_is_done_though_there_is_no_room_for_more,
    workers_any_grace_will_do,
    workers_a_panic_is_told_however_short_messages_are,
    workers_replaced_ones_are_not_piled_up,
    workers_many_replaced_ones_leave_no_descriptors,
    workers_measured_chunks_of_long_items,
    workers_one_that_ends_by_itself_is_not_started_over_and_over,
    workers_a_stopped_one_does_not_keep_a_task_with_a_limit,
    workers_a_task_does_not_wait_for_a_slow_start,
    workers_of_many_wakers_the_last_one_is_kept,
);

fn wait_at((wait, number): (Option<Event>, u32)) -> u32 {
    if let Some(event) = wait {
        event.wait().unwrap();
    }
    number
}

fn workers_an_unordered_map_goes_on_beside_an_item_that_takes_long() -> Outcome {
    let pool = pool(2);
    let event = Event::new().unwrap();
    let items = (0..500).map(|number| ((number == 0).then(|| event.clone()), number));
    let mut results = pool.map_unordered(items, wait_at).ahead(8);
    let mut quick: Vec<u32> = results.by_ref().take(499).map(Result::unwrap).collect();
    event.set();
    quick.sort_unstable();
    assert!(quick.into_iter().eq(1..500));
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert!(results.next().is_none());
    Passed
}

fn workers_a_map_returns_what_is_done_though_there_is_no_room_for_more() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).max_waiting(0).build().unwrap();
    let events: Vec<_> = (0..40).map(|_| Event::new().unwrap()).collect();
    let items = events.iter().zip(0..).map(|(event, number)| (Some(event.clone()), number));
    events[0].set();
    // Each is done only when the result of the one before has been seen.
    let mut seen = 0;
    for (number, result) in (0u32..).zip(pool.map(items, wait_at).ahead(20)) {
        assert_eq!(result.unwrap(), number);
        seen += 1;
        if let Some(next) = events.get(number as usize + 1) {
            next.set();
        }
    }
    assert_eq!(seen, 40);
    Passed
}

fn workers_any_grace_will_do() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).grace(Duration::MAX).recycle_after_tasks(3).build().unwrap();
    goes_on(&pool, 10);
    pool.close().unwrap();
    let pool = WorkerPool::builder(1).grace(Duration::MAX).build().unwrap();
    goes_on(&pool, 10);
    pool.terminate(Duration::MAX).unwrap();
    Passed
}

fn workers_a_panic_is_told_however_short_messages_are() -> Outcome {
    zygote();
    for max in [0, 1, 8, 20, 60] {
        let pool = WorkerPool::builder(1).max_message(max).build().unwrap();
        let task = pool.submit(|()| panic!("{}", "long ".repeat(1000)), ()).unwrap();
        let panicked: Result<(), _> = result(task);
        assert!(matches!(panicked, Err(WorkError::Panicked(_))), "{max}: {panicked:?}");
        let full = vec![1u8; max.saturating_sub(8)];
        if max > 8 {
            let task = pool.submit(|bytes: Vec<u8>| bytes.len(), full.clone()).unwrap();
            assert_eq!(result(task).unwrap(), full.len());
        }
        let task = pool.submit(|()| vec![1u8; 50_000], ()).unwrap();
        assert!(matches!(result(task), Err(WorkError::Failed(_))));
        assert_eq!(pool.statistics().unwrap().died, 0);
    }
    Passed
}

/// Counts itself, from its beginning until it is gone for good.
struct SlowToGo(SharedAtomics);

impl SlowToGo {
    fn new(there: SharedAtomics) -> SlowToGo {
        there[0].fetch_add(1, Ordering::SeqCst);
        SlowToGo(there)
    }
}

impl Drop for SlowToGo {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_secs(1));
        self.0[0].fetch_sub(1, Ordering::SeqCst);
    }
}

fn workers_replaced_ones_are_not_piled_up() -> Outcome {
    zygote();
    let there = SharedAtomics::new(1).unwrap();
    let pool =
        WorkerPool::builder(2).recycle_after_tasks(1).with_state_of(SlowToGo::new, there.clone()).unwrap();
    let tasks: Vec<_> = (0..30).map(|n: u32| pool.submit(|_: &mut SlowToGo, n: u32| n, n).unwrap()).collect();
    let mut most = 0;
    for task in tasks {
        result(task).unwrap();
        most = most.max(there[0].load(Ordering::SeqCst));
    }
    assert!(most <= 8, "{most} processes for a pool of two");
    pool.terminate(Duration::ZERO).unwrap();
    Passed
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn workers_many_replaced_ones_leave_no_descriptors() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).grace(Duration::from_secs(600)).recycle_after_tasks(1).build().unwrap();
    goes_on(&pool, 20);
    let before = descriptors();
    goes_on(&pool, 600);
    let after = descriptors();
    assert!(after < before + 60, "{before} descriptors, then {after}");
    Passed
}

fn workers_measured_chunks_of_long_items() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).max_message(1 << 20).build().unwrap();
    let items = (0..400u32).map(|number| (number, vec![7u8; 20_000]));
    let results = pool.map_chunked(items, Chunk::Measured, |(number, bytes): (u32, Vec<u8>)| {
        assert_eq!(bytes.len(), 20_000);
        number
    });
    for (number, result) in (0..).zip(results) {
        assert_eq!(result.unwrap(), number);
    }
    // The results are what is long.
    let results = pool.map_chunked(0..400u32, Chunk::Measured, |number| (number, vec![7u8; 20_000]));
    for (number, result) in (0..).zip(results) {
        assert_eq!(result.unwrap().0, number);
    }
    // A chunk of a set size is sent as two, four, ... if it is too long.
    let items = (0..300u32).map(|number| (number, vec![7u8; 20_000]));
    let results = pool.map_chunked(items, Chunk::Of(150), |(number, _): (u32, Vec<u8>)| number);
    assert!(results.map(Result::unwrap).eq(0..300));
    Passed
}

fn workers_one_that_ends_by_itself_is_not_started_over_and_over() -> Outcome {
    zygote();
    let pool = StatePool::with_state(1, || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(3));
            std::process::exit(3);
        });
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let started = pool.statistics().unwrap().started;
    assert!(started < 40, "{started} workers were started for nobody");
    pool.terminate(Duration::ZERO).unwrap();
    Passed
}

fn workers_a_stopped_one_does_not_keep_a_task_with_a_limit() -> Outcome {
    for size in [2, 1] {
        let pool = pool(size).task_timeout(Duration::from_millis(200));
        goes_on(&pool, 20);
        let stopped = pool.pids().unwrap()[0];
        kill(stopped, NixSignal::SIGSTOP);
        // Nobody has begun them there: others do them.
        goes_on(&pool, 10);
        let ends: Vec<_> = (0..2).map(|_| Event::new().unwrap()).collect();
        for _ in &ends {
            let (here, there) = common_ipc::link::Connection::<u32, u32>::pair().unwrap();
            let task = pool.submit(|end: common_ipc::link::Connection<u32, u32>| end.send(&7).is_ok(), there);
            assert!(matches!(result(task.unwrap()), Ok(true)));
            assert_eq!(here.recv().unwrap(), 7);
        }
        pool.terminate(Duration::ZERO).unwrap();
    }
    Passed
}

fn workers_a_task_does_not_wait_for_a_slow_start() -> Outcome {
    zygote();
    let gate = Event::new().unwrap();
    gate.set();
    let begun = SharedAtomics::new(1).unwrap();
    let init = |(gate, begun): (Event, SharedAtomics)| {
        begun[0].fetch_add(1, Ordering::SeqCst);
        gate.wait().unwrap();
    };
    let pool = WorkerPool::builder(2).with_state_of(init, (gate.clone(), begun.clone())).unwrap();
    while pool.statistics().unwrap().idle < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    gate.clear();
    kill(pool.pids().unwrap()[0], NixSignal::SIGKILL);
    while begun[0].load(Ordering::SeqCst) < 3 || pool.statistics().unwrap().workers < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // One of them has no room, but for a moment.
    let tasks: Vec<_> = (0..30u64)
        .map(|number| {
            let task = |_: &mut (), number: u64| {
                std::thread::sleep(Duration::from_millis(10));
                number
            };
            pool.submit(task, number).unwrap()
        })
        .collect();
    for (number, task) in (0..).zip(tasks) {
        assert_eq!(result(task).unwrap(), number);
    }
    gate.set();
    Passed
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

fn workers_of_many_wakers_the_last_one_is_kept() -> Outcome {
    let pool = pool(1);
    let mut task = std::pin::pin!(pool.submit(hang, ()).unwrap());
    let wakers: Vec<_> = (0..100).map(|_| Arc::new(Nothing)).collect();
    for waker in &wakers {
        let waker = Waker::from(Arc::clone(waker));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let kept: usize = wakers.iter().map(|waker| Arc::strong_count(waker) - 1).sum();
    assert_eq!(kept, 1);
    pool.terminate(Duration::ZERO).unwrap();
    Passed
}
