//! Pools of workers: what is counted of each task, and ends of pools that nobody has planned, or several at once.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::Duration;

use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::signal::Signal as NixSignal;
use pkit::{Chunk, StatePool, Statistics, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::processes::children::start;
use crate::servers::{kill, zygote};
use crate::workers::no_children_but_servers;
use crate::workers::{PATIENCE, goes_on, hang, hang_after, pool, result};

scenarios!(
    workers_each_task_is_in_one_counter,
    workers_what_was_sent_makes_room_for_more,
    workers_a_pool_that_cannot_wait_any_more_is_ended_and_says_why,
    workers_of_two_who_end_a_pool_the_shorter_grace_counts,
    workers_that_have_done_nothing_are_not_recycled_by_age,
    workers_the_rest_of_a_chunk_is_wrong_process_in_a_fork,
);

fn sum(counts: &Statistics) -> u64 {
    let now = (counts.waiting + counts.under_way) as u64;
    counts.answered + counts.cancelled + counts.timed_out + counts.lost + counts.given_up + now
}

fn workers_each_task_is_in_one_counter() -> Outcome {
    let pool = pool(2);
    let is_whole = |given_up: u64| {
        let counts = pool.statistics().unwrap();
        assert_eq!((sum(&counts), counts.given_up), (counts.submitted, given_up), "{counts}");
    };
    goes_on(&pool, 20);
    is_whole(0);
    assert!(result::<()>(pool.submit(|()| panic!("on purpose"), ()).unwrap()).is_err());
    assert!(result::<()>(pool.submit(|()| std::process::exit(3), ()).unwrap()).is_err());
    let hasty = pool.clone().task_timeout(Duration::from_millis(20));
    assert!(matches!(result(hasty.submit(hang, ()).unwrap()), Err(WorkError::TimedOut { .. })));
    is_whole(0);
    let begun = Event::new().unwrap();
    let runs: Vec<_> = (0..2).map(|_| pool.submit(hang_after, begun.clone()).unwrap()).collect();
    let waits: Vec<_> = (0..50).map(|_| pool.submit(hang, ()).unwrap()).collect();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    is_whole(0);
    assert!(runs[0].cancel().unwrap() && waits[7].cancel().unwrap() && waits[49].cancel().unwrap());
    is_whole(0);
    // A cancelled task's worker is there again before it counts what is left.
    pool.terminate(Duration::ZERO).unwrap();
    let given_up = runs.into_iter().chain(waits).map(result).filter(|result| match result {
        Err(WorkError::Ended { why, .. }) => why.is_none(),
        Err(WorkError::Cancelled { .. }) => false,
        other => panic!("{other:?}"),
    });
    is_whole(given_up.count() as u64);
    // Those that no worker can be had for.
    let never = StatePool::<()>::with_state(1, || panic!("on purpose")).unwrap();
    let tasks: Vec<_> = (0..9).map(|n| never.submit(|_, n: u64| n, n).unwrap()).collect();
    let failed = tasks.into_iter().map(result).filter(|result| matches!(result, Err(WorkError::Init(_))));
    assert_eq!(failed.count(), 9);
    let counts = never.statistics().unwrap();
    assert_eq!((sum(&counts), counts.given_up, counts.submitted), (9, 9, 9), "{counts}");
    Passed
}

fn workers_what_was_sent_makes_room_for_more() -> Outcome {
    zygote();
    const SIZE: usize = 200_000;
    let pool = WorkerPool::builder(1).max_waiting(5 * SIZE).build().unwrap();
    let wait = |(go, _): (Event, Vec<u8>)| go.wait().unwrap();
    let events: Vec<_> = (0..40).map(|_| Event::new().unwrap()).collect();
    let mut tasks = std::collections::VecDeque::new();
    let mut next = events.iter();
    let mut last = next.next().unwrap();
    let mut offer = |tasks: &mut std::collections::VecDeque<_>| match pool
        .try_submit(wait, (last.clone(), vec![1; SIZE]))
    {
        Ok(task) => {
            tasks.push_back(task);
            last = next.next().unwrap();
            true
        }
        Err(WorkError::Full) => false,
        Err(error) => panic!("{error}"),
    };
    while offer(&mut tasks) {}
    let waiting = pool.statistics().unwrap().waiting;
    assert!((2..=6).contains(&waiting), "{waiting} are waiting");
    // What is done makes room for another one, but for the first few: so many are sent ahead as long as nothing is known.
    let before = tasks.len();
    for event in events.iter().take(20) {
        event.set();
        result(tasks.pop_front().unwrap()).unwrap();
        while offer(&mut tasks) {}
        assert!(pool.statistics().unwrap().waiting > 1);
    }
    assert!(tasks.len() + 5 >= before, "there were {before}, and are {}", tasks.len());
    drop(pool);
    assert!(tasks.into_iter().all(|task| matches!(result(task), Err(WorkError::Ended { .. }))));
    Passed
}

fn epolls() -> HashSet<i32> {
    let all = proc::descriptors(std::process::id() as i32).into_iter();
    all.filter(|(_, what)| what.to_string_lossy().contains("eventpoll")).map(|(number, _)| number).collect()
}

fn workers_a_pool_that_cannot_wait_any_more_is_ended_and_says_why() -> Outcome {
    zygote();
    // Whatever there is once for all pools is there before, and stays.
    let another = WorkerPool::new(1).unwrap();
    goes_on(&another, 10);
    let before = epolls();
    let pool = WorkerPool::new(2).unwrap();
    goes_on(&pool, 20);
    let own: Vec<_> = epolls().difference(&before).copied().collect();
    assert_eq!(own.len(), 1, "the pool's poller wasn't found");
    let begun = Event::new().unwrap();
    let runs: Vec<_> = (0..2).map(|_| pool.submit(hang_after, begun.clone()).unwrap()).collect();
    let waits: Vec<_> = (0..20u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    let other = std::fs::File::open("/dev/null").unwrap();
    raw::place(other.as_fd(), own[0]);
    // Whatever happens next wakes the thread.
    runs[0].cancel().unwrap();
    for (turn, task) in runs.into_iter().enumerate() {
        match result(task) {
            Err(WorkError::Ended { why: Some(why), .. }) => assert!(why.contains("waited for"), "{why}"),
            Err(WorkError::Cancelled { .. }) if turn == 0 => {}
            other => panic!("{other:?}"),
        }
    }
    for task in waits {
        // The worker in the cancelled one's place may have done some.
        match result(task) {
            Ok(_) => {}
            Err(error @ WorkError::Ended { .. }) => {
                assert!(error.to_string().contains("waited for"), "{error}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(pool.submit(|n: u64| n, 1), Err(WorkError::Closed)));
    goes_on(&another, 10);
    drop((pool, another));
    assert!(proc::eventually(no_children_but_servers));
    Passed
}

fn workers_of_two_who_end_a_pool_the_shorter_grace_counts() -> Outcome {
    let pool = pool(2);
    let deaf = |begun: Event| {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        hang_after(begun);
    };
    let begun: Vec<_> = (0..2).map(|_| Event::new().unwrap()).collect();
    let tasks: Vec<_> = begun.iter().map(|begun| pool.submit(deaf, begun.clone()).unwrap()).collect();
    assert!(begun.iter().all(|begun| begun.wait_timeout(PATIENCE).unwrap()));
    let pids = pool.pids().unwrap();
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| pool.terminate(10 * PATIENCE));
        assert!(proc::eventually(|| tasks.iter().all(|task| task.is_done())));
        assert!(pids.iter().all(|pid| proc::runs(*pid as i32)), "they are deaf");
        pool.terminate(Duration::ZERO).unwrap();
        assert!(pids.iter().all(|pid| proc::stat(*pid as i32).is_none()), "they were collected");
        patient.join().unwrap().unwrap();
    });
    // Whoever closes it afterwards has nothing to wait for.
    assert!(pool.close_timeout(PATIENCE).unwrap());
    Passed
}

fn workers_that_have_done_nothing_are_not_recycled_by_age() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).recycle_after(Duration::ZERO).build().unwrap();
    let all_up = || pool.statistics().is_ok_and(|counts| counts.idle == 2);
    assert!(proc::eventually(all_up));
    let pids = pool.pids().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((pool.pids().unwrap(), pool.statistics().unwrap().started), (pids, 2));
    // One that has is: there is a fresh one for each task.
    let mut pids = HashSet::new();
    for _ in 0..10 {
        assert!(pids.insert(result(pool.submit(|()| std::process::id(), ()).unwrap()).unwrap()));
    }
    assert!(proc::eventually(all_up));
    let counts = pool.statistics().unwrap();
    assert_eq!((counts.started, counts.recycled, counts.died), (12, 10, 0), "{counts}");
    Passed
}

fn workers_the_rest_of_a_chunk_is_wrong_process_in_a_fork() -> Outcome {
    raw::allow_forks();
    let pool = pool(1);
    let items = [1u64, 0, 2, 3].into_iter();
    let mut map = pool.map_chunked(items, Chunk::Of(4), |n| {
        if n == 0 {
            kill(std::process::id() as i32, NixSignal::SIGKILL);
        }
        n
    });
    assert_eq!(map.next().unwrap().unwrap(), 1);
    assert!(matches!(map.next(), Some(Err(WorkError::Died { .. }))));
    let mut copy = Some(map);
    let child = start(|| {
        let results: Vec<_> = copy.take().unwrap().collect();
        results.into_iter().all(|result| matches!(result, Err(WorkError::WrongProcess(_))))
    });
    assert!(child.output::<bool>().unwrap());
    let rest: Result<Vec<_>, _> = copy.unwrap().collect();
    assert_eq!(rest.unwrap(), [2, 3]);
    Passed
}
