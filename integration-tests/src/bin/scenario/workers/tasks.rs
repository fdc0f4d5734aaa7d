//! Pools of workers: tasks, their handles, and what their arguments and results may be.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common_ipc::link::{Bytes, Connection, Execution};
use common_ipc::memory::{FrozenArray, SharedArray, SharedAtomics};
use common_ipc::process::WorkFailure;
use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use pkit::{StatePool, TaskHandle, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;
use crate::workers::{PATIENCE, Unpark, block_on, count, goes_on, hang, hang_after, pool, result};

scenarios!(
    workers_a_result_is_given_out_once,
    workers_a_task_says_whether_it_is_done,
    workers_many_futures_and_nobody_who_waits,
    workers_a_task_cancelled_before_it_is_claimed_holds_up_no_other,
    fault_45_each_of_8_threads_gets_the_replies_to_its_own_tasks,
    workers_arguments_and_results_of_every_length,
    workers_what_is_too_long_is_told,
    workers_memory_and_events_go_to_and_fro,
    workers_ends_of_connections_go_to_and_fro,
    workers_an_end_goes_with_nobody_elses_task,
    fault_48_a_dropped_future_leaves_its_task_to_be_done,
    workers_a_waker_that_panics_is_alone_with_that,
    fault_49_what_waits_has_a_timed_form,
    fault_50_tasks_that_wait_are_bounded_by_their_bytes,
    workers_short_tasks_pass_a_long_one,
    workers_short_tasks_pass_a_long_one_that_has_an_end,
    workers_a_task_keeps_its_worker_for_the_next_one,
);

fn workers_a_result_is_given_out_once() -> Outcome {
    let pool = pool(2);
    let mut task = pool.submit(|text: String| text + "!", "said".to_owned()).unwrap();
    assert_eq!(task.join_timeout(PATIENCE).unwrap().unwrap(), "said!");
    for again in [task.try_join(), task.join_timeout(PATIENCE)] {
        let error = again.unwrap_err();
        assert!(matches!(error, WorkError::Taken), "{error}");
        assert_eq!(error.execution(), Execution::Unknown);
    }
    assert!(!task.cancel().unwrap());
    assert!(matches!(block_on(&mut task), Err(WorkError::Taken)));
    assert!(matches!(task.join(), Err(WorkError::Taken)));
    // By the future, too.
    let mut task = pool.submit(|n: u64| n + 1, 1).unwrap();
    assert_eq!(block_on(&mut task).unwrap(), 2);
    assert!(matches!(block_on(&mut task), Err(WorkError::Taken)));
    // And errors.
    let mut task = pool.submit(|()| -> u8 { panic!("on purpose") }, ()).unwrap();
    assert!(matches!(task.join_timeout(PATIENCE), Err(WorkError::Panicked(_))));
    assert!(matches!(task.try_join(), Err(WorkError::Taken)));
    Passed
}

fn workers_a_task_says_whether_it_is_done() -> Outcome {
    let pool = pool(1);
    let (go, begun) = (Event::new().unwrap(), Event::new().unwrap());
    let wait = |(begun, go): (Event, Event)| {
        begun.set();
        go.wait().unwrap();
        std::process::id()
    };
    let mut task = pool.submit(wait, (begun.clone(), go.clone())).unwrap();
    let other = pool.submit(|n: u64| n, 5).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    assert!(task.id() != 0 && task.id() != other.id());
    assert!(!task.is_done() && !other.is_done());
    assert!(task.try_join().unwrap().is_none());
    assert!(task.join_timeout(Duration::from_millis(20)).unwrap().is_none());
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.submitted, statistics.answered, statistics.idle), (2, 0, 0));
    assert_eq!(statistics.waiting + statistics.under_way, 2);
    go.set();
    assert_eq!(task.join_timeout(PATIENCE).unwrap(), Some(pool.pids().unwrap()[0]));
    // Also if nobody waits for it.
    assert!(proc::eventually(|| other.is_done()));
    assert_eq!(result(other).unwrap(), 5);
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.answered, statistics.waiting, statistics.under_way), (2, 0, 0));
    assert_eq!((statistics.workers, statistics.idle, statistics.started), (1, 1, 1));
    Passed
}

fn workers_many_futures_and_nobody_who_waits() -> Outcome {
    let pool = pool(2);
    for round in 0..20 {
        let mut tasks: Vec<_> =
            (0..2_000u64).map(|number| pool.submit(|number: u64| number + 1, number).unwrap()).collect();
        if round % 2 == 0 {
            // The pool's own thread does all of it.
            assert!(proc::eventually(|| tasks.iter().all(TaskHandle::is_done)), "{:?}", pool.statistics());
        }
        let last = tasks.pop().unwrap();
        assert_eq!(block_on(last).unwrap(), 2_000);
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(block_on(task).unwrap(), number + 1);
        }
    }
    Passed
}

fn workers_a_task_cancelled_before_it_is_claimed_holds_up_no_other() -> Outcome {
    let pool = pool(1);
    goes_on(&pool, 10);
    let counts = SharedAtomics::new(2).unwrap();
    for round in 0..2_000u64 {
        let first = pool.submit(count, (counts.clone(), 0)).unwrap();
        let second = pool.submit(count, (counts.clone(), 1)).unwrap();
        let last = pool.submit(count, (counts.clone(), 0)).unwrap();
        if round % 3 == 0 {
            std::thread::sleep(Duration::from_micros(round / 40));
        }
        let was = counts[1].load(Ordering::SeqCst);
        let cancelled = second.cancel().unwrap();
        for task in [first, last] {
            assert_eq!(result(task).unwrap(), 0, "round {round}");
        }
        match result(second) {
            Ok(place) => assert!(place == 1 && !cancelled),
            Err(WorkError::Cancelled { execution: Execution::NotRun }) => {
                assert!(cancelled && counts[1].load(Ordering::SeqCst) == was, "round {round}");
            }
            Err(error) => assert!(cancelled && matches!(error, WorkError::Cancelled { .. }), "{error}"),
        }
    }
    assert_eq!(counts[0].load(Ordering::SeqCst), 4_000);
    Passed
}

fn fault_45_each_of_8_threads_gets_the_replies_to_its_own_tasks() -> Outcome {
    let pool = pool(3);
    let each = 10_000 * u64::from(stress_factor());
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let pool = &pool;
            scope.spawn(move || {
                let mut under_way = Vec::new();
                for number in 0..each {
                    let said = (thread << 32) | number;
                    let text = "x".repeat((number % 100) as usize);
                    let echo = |(said, text): (u64, String)| (said, text.len());
                    under_way.push((said, text.len(), pool.submit(echo, (said, text)).unwrap()));
                    // One by one, and many at once.
                    if thread % 2 == 0 || number % 100 == 99 {
                        for (said, length, task) in under_way.drain(..) {
                            assert_eq!(result(task).unwrap(), (said, length));
                        }
                    }
                }
            });
        }
    });
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.submitted, statistics.answered), (8 * each, 8 * each), "{statistics}");
    assert_eq!((statistics.died, statistics.started), (0, 3));
    Passed
}

fn pattern(length: usize) -> Vec<u8> {
    let some: Vec<u8> = (0..length.min(1009)).map(|place| (place * 7 + length) as u8).collect();
    some.into_iter().cycle().take(length).collect()
}

fn workers_arguments_and_results_of_every_length() -> Outcome {
    let pool = pool(2);
    let lengths =
        [0, 1, 100, 4_000, 32 << 10, (32 << 10) + 1, 65_000, 65_536, 1 << 20, (10 << 20) + 3, 10 << 20];
    for length in lengths {
        let expected = pattern(length);
        let last = |bytes: Bytes| (bytes.len(), bytes.last().copied());
        let there = pool.submit(last, Bytes::from(expected.clone())).unwrap();
        let back = pool.submit(|length: usize| Bytes::from(pattern(length)), length).unwrap();
        let both = pool.submit(|bytes: Bytes| bytes, Bytes::from(expected.clone())).unwrap();
        assert_eq!(result(there).unwrap(), (length, expected.last().copied()));
        assert!(result(back).unwrap()[..] == expected);
        assert!(result(both).unwrap()[..] == expected);
        if length <= 1 << 20 {
            // Each byte an element.
            let both = pool.submit(|bytes: Vec<u8>| bytes, expected.clone()).unwrap();
            assert!(result(both).unwrap() == expected);
        }
    }
    // Of types that take no bytes.
    result(pool.submit(|()| (), ()).unwrap()).unwrap();
    assert_eq!(result(pool.submit(|nothing: Vec<()>| nothing, vec![(); 100]).unwrap()).unwrap().len(), 100);
    // All at once, from several threads, while results of 10 MiB fill the way for what follows.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let long = Bytes::from(pattern(10 << 20));
                let tasks: Vec<_> =
                    (0..6).map(|_| pool.submit(|bytes: Bytes| bytes, long.clone()).unwrap()).collect();
                let short: Vec<_> = (0..100).map(|n: u64| pool.submit(|n: u64| n, n).unwrap()).collect();
                for task in tasks {
                    assert!(result(task).unwrap()[..] == long[..]);
                }
                for (n, task) in (0..).zip(short) {
                    assert_eq!(result(task).unwrap(), n);
                }
            });
        }
    });
    Passed
}

fn workers_what_is_too_long_is_told() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).max_message(100_000).build().unwrap();
    let counts = SharedAtomics::new(1).unwrap();
    let long = pool.submit(
        |(_, counts): (Vec<u8>, SharedAtomics)| count((counts, 0)),
        (vec![0; 100_001], counts.clone()),
    );
    let error = long.unwrap_err();
    assert!(matches!(error, WorkError::Argument(_)), "{error}");
    assert_eq!((error.execution(), counts[0].load(Ordering::SeqCst)), (Execution::NotRun, 0));
    let task = pool
        .submit(
            |counts: SharedAtomics| {
                count((counts, 0));
                vec![0u8; 100_001]
            },
            counts.clone(),
        )
        .unwrap();
    let error = result(task).unwrap_err();
    match &error {
        WorkError::Failed(WorkFailure::TooLarge { length, max }) => {
            assert!(*length > 100_000 && *max <= 100_000, "{error}");
        }
        _ => panic!("{error}"),
    }
    assert_eq!((error.execution(), counts[0].load(Ordering::SeqCst)), (Execution::Ran, 1));
    // What is as long as that comes through, and what a panic says is cut.
    let task = pool.submit(|bytes: Vec<u8>| bytes, vec![7; 99_000]).unwrap();
    assert_eq!(result(task).unwrap(), vec![7; 99_000]);
    let task = pool.submit(|()| -> u8 { panic!("{}", "long ".repeat(100_000)) }, ()).unwrap();
    match result(task) {
        Err(WorkError::Panicked(report)) => assert!(report.message.starts_with("long long"), "{report}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.statistics().unwrap().started, 1);
    Passed
}

fn workers_memory_and_events_go_to_and_fro() -> Outcome {
    let pool = pool(2);
    let shared = SharedArray::from_slice(&[1u32, 2, 3]).unwrap();
    let done = Event::new().unwrap();
    let task = pool.submit(
        |(shared, done): (SharedArray<u32>, Event)| {
            shared.set(1, 20).unwrap();
            let own = SharedArray::from_slice(&[shared.get(2).unwrap(); 1000]).unwrap();
            let frozen = SharedArray::from_slice(&[9u64; 100_000]).unwrap().freeze().unwrap();
            let never = Event::new().unwrap();
            done.set();
            (shared, own, frozen, never)
        },
        (shared.clone(), done.clone()),
    );
    let (same, own, frozen, never) = result(task.unwrap()).unwrap();
    assert!(done.is_set() && !never.is_set());
    same.set(0, 10).unwrap();
    assert_eq!(shared.to_vec(), [10, 20, 3]);
    assert_eq!(own.to_vec(), [3; 1000]);
    assert_eq!(frozen.len(), 100_000);
    // To another worker, and many at once.
    let tasks: Vec<_> = (0..50)
        .map(|place| {
            pool.submit(
                |(frozen, own, place): (FrozenArray<u64>, SharedArray<u32>, usize)| {
                    own.set(place, 100 + place as u32).unwrap();
                    frozen.iter().sum::<u64>()
                },
                (frozen.clone(), own.clone(), place),
            )
            .unwrap()
        })
        .collect();
    for task in tasks {
        assert_eq!(result(task).unwrap(), 900_000);
    }
    assert_eq!((own.get(0).unwrap(), own.get(49).unwrap(), own.get(50).unwrap()), (100, 149, 3));
    Passed
}

fn workers_ends_of_connections_go_to_and_fro() -> Outcome {
    let pool = pool(2);
    for round in 0..50u32 {
        let (here, there) = Connection::<u32, u32>::pair().unwrap();
        let task = pool.submit(
            |there: Connection<u32, u32>| {
                there.send(&(there.recv().unwrap() + 1)).unwrap();
                let (one, other) = Connection::<u32, u32>::pair().unwrap();
                one.send(&there.recv().unwrap()).unwrap();
                (there, other)
            },
            there,
        );
        let task = task.unwrap();
        here.send(&round).unwrap();
        assert_eq!(here.recv().unwrap(), round + 1);
        here.send(&(round + 10)).unwrap();
        let (there, other) = result(task).unwrap();
        assert_eq!(other.recv().unwrap(), round + 10);
        assert!(other.recv().is_err(), "its other end was dropped in the worker");
        there.send(&1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
    }
    Passed
}

/// What moves can't be taken back from the worker that has it.
fn workers_an_end_goes_with_nobody_elses_task() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).recycle_after_tasks(3).build().unwrap();
    let hasty = pool.clone().task_timeout(Duration::from_millis(2));
    for round in 0..60u32 {
        let (mut tasks, mut ends, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..6u32 {
            match (round + number) % 4 {
                0 => others.push(hasty.submit(hang, ()).unwrap()),
                1 => {
                    let task = pool.submit(hang, ()).unwrap();
                    assert!(task.cancel().unwrap());
                    others.push(task);
                }
                2 => others.push(pool.submit(|()| -> () { std::process::abort() }, ()).unwrap()),
                _ => others.push(pool.submit(|()| std::thread::sleep(Duration::from_millis(1)), ()).unwrap()),
            }
            let (here, there) = Connection::<(), u32>::pair().unwrap();
            let send = |(end, number): (Connection<u32, ()>, u32)| end.send(&number).unwrap();
            tasks.push(pool.submit(send, (there, number)).unwrap());
            ends.push(here);
        }
        for (number, (task, end)) in (0..).zip(tasks.into_iter().zip(&ends)) {
            result(task).unwrap_or_else(|error| panic!("round {round}, task {number}: {error}"));
            assert_eq!(end.recv().unwrap(), number);
        }
        for task in others {
            let _ = result(task);
        }
    }
    let statistics = pool.statistics().unwrap();
    assert!(statistics.recycled > 10 && statistics.died > 30, "{statistics}");
    Passed
}

fn fault_48_a_dropped_future_leaves_its_task_to_be_done() -> Outcome {
    let pool = pool(1);
    let counts = SharedAtomics::new(1).unwrap();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current(), AtomicU64::new(0))));
    for _ in 0..100 {
        let mut task = pool
            .submit(
                |counts: SharedAtomics| {
                    std::thread::sleep(Duration::from_micros(300));
                    count((counts, 0))
                },
                counts.clone(),
            )
            .unwrap();
        let polled = pin!(&mut task).poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(0))));
        drop(task);
        // Its reply isn't taken for that of the next one.
        assert_eq!(result(pool.submit(|n: u64| n, 7).unwrap()).unwrap(), 7);
    }
    assert_eq!(counts[0].load(Ordering::SeqCst), 100);
    assert_eq!(pool.statistics().unwrap().answered, 200);
    Passed
}

fn workers_a_waker_that_panics_is_alone_with_that() -> Outcome {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker, on purpose");
        }
    }
    let pool = pool(1);
    let waker = Waker::from(Arc::new(Panics));
    for _ in 0..5 {
        let slow = |()| std::thread::sleep(Duration::from_millis(20));
        let mut task = pool.submit(slow, ()).unwrap();
        let other = pool.submit(slow, ()).unwrap();
        assert!(pin!(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        // Its waker is called on the pool's thread.
        assert!(proc::eventually(|| task.is_done()));
        block_on(other).unwrap();
        goes_on(&pool, 100);
    }
    assert!(proc::thread_names().iter().any(|name| name == "pkit-workers"));
    Passed
}

fn fault_49_what_waits_has_a_timed_form() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).max_waiting(1000).build().unwrap();
    let begun = Event::new().unwrap();
    let mut task = pool.submit(hang_after, begun.clone()).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    let short = Duration::from_millis(30);
    let lasts = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        assert!(begin.elapsed() >= short);
    };
    lasts(&mut || assert!(task.join_timeout(short).unwrap().is_none()));
    // What was sent ahead, what waits, and one too many.
    let mut waiting = Vec::new();
    let error = loop {
        match pool.try_submit(|bytes: Vec<u8>| bytes, vec![0; 700]) {
            Ok(task) => waiting.push(task),
            Err(error) => break error,
        }
        assert!(waiting.len() < 20);
    };
    assert!(matches!(error, WorkError::Full) && error.execution() == Execution::NotRun, "{error}");
    lasts(&mut || {
        let full = pool.submit_timeout(|bytes: Vec<u8>| bytes, vec![0; 700], short);
        assert!(matches!(full, Err(WorkError::Full)));
    });
    lasts(&mut || assert!(!pool.close_timeout(short).unwrap()));
    assert!(matches!(pool.submit_timeout(hang, (), short), Err(WorkError::Closed)));
    task.cancel().unwrap();
    assert!(pool.close_timeout(PATIENCE).unwrap());
    for task in waiting {
        assert_eq!(result(task).unwrap().len(), 700);
    }
    // The same of a pool with states.
    let pool = WorkerPool::builder(1).max_waiting(1000).with_state(|| 1u64).unwrap();
    let begun = Event::new().unwrap();
    let task = pool.submit(|_, begun| hang_after(begun), begun.clone()).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    let add = |state: &mut u64, bytes: Vec<u8>| {
        *state += 1;
        bytes.len()
    };
    let mut waiting = Vec::new();
    while let Ok(task) = pool.try_submit(add, vec![0; 700]) {
        waiting.push(task);
    }
    assert!(matches!(pool.submit_timeout(add, vec![0; 700], short), Err(WorkError::Full)));
    // Room comes while somebody waits for it.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| pool.submit_timeout(add, vec![0; 700], PATIENCE).unwrap());
        std::thread::sleep(short);
        task.cancel().unwrap();
        assert_eq!(result(waits.join().unwrap()).unwrap(), 700);
    });
    Passed
}

fn fault_50_tasks_that_wait_are_bounded_by_their_bytes() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).max_waiting(8 << 20).build().unwrap();
    let before = proc::resident_kib();
    let task = |bytes: Bytes| {
        std::thread::sleep(Duration::from_micros(200));
        bytes.len()
    };
    let mut tasks = Vec::new();
    let mut most = 0;
    for _ in 0..500 {
        // Half a GiB in all.
        tasks.push(pool.submit(task, Bytes::from(vec![1; 1 << 20])).unwrap());
        most = most.max(proc::resident_kib());
        assert!(pool.statistics().unwrap().waiting <= 9);
    }
    assert!(most < before + (100 << 10), "{before} KiB, then {most} KiB");
    for task in tasks {
        assert_eq!(result(task).unwrap(), 1 << 20);
    }
    // One that is longer than all that may wait waits alone.
    let pool = WorkerPool::builder(1).max_waiting(0).build().unwrap();
    for _ in 0..20 {
        let tasks = [(); 3].map(|()| pool.submit(task, Bytes::from(vec![0; 1 << 20])).unwrap());
        for task in tasks {
            assert_eq!(result(task).unwrap(), 1 << 20);
        }
    }
    Passed
}

fn workers_short_tasks_pass_a_long_one() -> Outcome {
    let pool = pool(2);
    for _ in 0..10 {
        // As fast as they are, many are sent ahead.
        goes_on(&pool, 400);
        let (begun, go) = (Event::new().unwrap(), Event::new().unwrap());
        let long = |(begun, go): (Event, Event)| {
            begun.set();
            go.wait().unwrap();
        };
        let long = pool.submit(long, (begun.clone(), go.clone())).unwrap();
        let short: Vec<_> = (0..200u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
        for (n, task) in (0..).zip(short) {
            assert_eq!(result(task).unwrap(), n);
        }
        // Another worker than theirs is at it, or about to be.
        assert!(!long.is_done() && proc::eventually(|| begun.is_set()));
        go.set();
        result(long).unwrap();
    }
    Passed
}

fn workers_short_tasks_pass_a_long_one_that_has_an_end() -> Outcome {
    let pool = pool(2);
    for _ in 0..10 {
        goes_on(&pool, 400);
        let (here, there) = Connection::<(), ()>::pair().unwrap();
        let long = pool.submit(|end: Connection<(), ()>| end.recv().unwrap(), there).unwrap();
        let short: Vec<_> = (0..200u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
        for (n, task) in (0..).zip(short) {
            assert_eq!(result(task).unwrap(), n);
        }
        assert!(!long.is_done());
        here.send(&()).unwrap();
        result(long).unwrap();
    }
    Passed
}

fn workers_a_task_keeps_its_worker_for_the_next_one() -> Outcome {
    zygote();
    let pool = StatePool::with_state(1, Vec::<u64>::new).unwrap();
    let push = |seen: &mut Vec<u64>, n: u64| {
        seen.push(n);
        (std::process::id(), seen.clone())
    };
    let (pid, _) = result(pool.submit(push, 1).unwrap()).unwrap();
    let panics = pool.submit(
        |seen: &mut Vec<u64>, n: u64| {
            seen.push(n);
            panic!("in the midst");
        },
        2,
    );
    assert!(matches!(result::<()>(panics.unwrap()), Err(WorkError::Panicked(_))));
    assert_eq!(result(pool.submit(push, 3).unwrap()).unwrap(), (pid, vec![1, 2, 3]));
    // A task for another kind of state is refused, and not begun: the types see to that.
    let clone = pool.clone();
    drop(pool);
    assert_eq!(result(clone.submit(push, 4).unwrap()).unwrap(), (pid, vec![1, 2, 3, 4]));
    Passed
}
