//! Maps of pools of workers: their order, how far ahead they draw, what fails in their midst, and how they are given up.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::link::{Bytes, Connection};
use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use pkit::{Chunk, MapProgress, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::Awkward;
use crate::servers::zygote;
use crate::workers::{PATIENCE, count, goes_on, hang, pool, result};

scenarios!(
    workers_maps_are_lazy_and_in_order,
    workers_maps_give_what_comes_first,
    workers_maps_draw_no_further_ahead_than_they_may,
    workers_items_that_fail_fail_alone,
    workers_items_of_a_chunk_that_fail_fail_alone,
    workers_chunks_that_get_too_long_are_divided,
    workers_items_that_come_slowly,
    fault_46_a_map_of_a_map_of_the_same_pool,
    fault_46_items_and_followers_that_use_the_pool,
    workers_items_and_followers_that_panic,
    workers_a_map_given_up_leaves_warm_workers,
    workers_a_map_is_followed,
    workers_maps_of_nothing,
    fault_50_a_million_items_take_no_memory,
);

const CHUNKS: [Chunk; 4] = [Chunk::Of(0), Chunk::Of(3), Chunk::Of(1000), Chunk::Measured];

fn workers_maps_are_lazy_and_in_order() -> Outcome {
    let pool = pool(3);
    let drawn = Cell::new(0u64);
    let items = || {
        drawn.set(0);
        std::iter::repeat_with(|| {
            drawn.set(drawn.get() + 1);
            drawn.get()
        })
    };
    let work = |n: u64| {
        // Some of those drawn first are done last.
        if n % 5 == 1 {
            std::thread::sleep(Duration::from_micros(n % 7 * 100));
        }
        n * 10
    };
    let map = pool.map(items(), work);
    assert_eq!(drawn.get(), 0, "nothing before it is asked for");
    for (n, result) in (1..=2_000).zip(map) {
        assert_eq!(result.unwrap(), n * 10);
        assert!(drawn.get() >= n && drawn.get() <= n + 3 * 2 * 300, "{} drawn for {n}", drawn.get());
    }
    for chunk in CHUNKS {
        let map = pool.map_chunked(items(), chunk, work);
        assert_eq!(drawn.get(), 0);
        for (n, result) in (1..=5_000).zip(map) {
            assert_eq!(result.unwrap(), n * 10);
        }
    }
    Passed
}

fn workers_maps_give_what_comes_first() -> Outcome {
    let pool = pool(2);
    let go = Event::new().unwrap();
    let work = |(n, go): (u64, Event)| {
        if n == 0 {
            go.wait().unwrap();
        }
        n
    };
    let mut map = pool.map_unordered((0..50u64).map(|n| (n, go.clone())), work);
    let mut seen: Vec<_> = map.by_ref().take(49).map(Result::unwrap).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..50).collect::<Vec<_>>());
    go.set();
    assert_eq!(map.next().unwrap().unwrap(), 0);
    assert!(map.next().is_none() && map.next().is_none());
    for chunk in CHUNKS {
        let mut all: Vec<_> =
            pool.map_chunked_unordered(0..3_000u64, chunk, |n| n * 2).map(Result::unwrap).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..3_000).map(|n| n * 2)));
    }
    Passed
}

fn workers_maps_draw_no_further_ahead_than_they_may() -> Outcome {
    let pool = pool(2);
    for ahead in [0, 1, 2, 7, 100] {
        let most = ahead.max(1) as u64;
        let drawn = Cell::new(0u64);
        let items = || {
            drawn.set(0);
            std::iter::repeat_with(|| {
                drawn.set(drawn.get() + 1);
                drawn.get()
            })
        };
        for (n, result) in (1..=500).zip(pool.map(items(), |n| n).ahead(ahead)) {
            assert_eq!(result.unwrap(), n);
            // That of this result was returned.
            assert!(drawn.get() < n + most, "{} drawn for {n}, {ahead} ahead", drawn.get());
        }
        for (n, result) in (1..=500).zip(pool.map_unordered(items(), |n| n).ahead(ahead)) {
            assert!(result.unwrap() <= n + most && drawn.get() < n + most);
        }
        for (n, result) in (1..=500).zip(pool.map_chunked(items(), Chunk::Of(10), |n| n).ahead(ahead)) {
            assert_eq!(result.unwrap(), n);
            assert!(drawn.get() <= n + 10 * most, "{} drawn for {n}, {ahead} ahead", drawn.get());
        }
    }
    Passed
}

fn workers_items_that_fail_fail_alone() -> Outcome {
    let pool = pool(2);
    let hasty = pool.clone().task_timeout(Duration::from_millis(100));
    let counts = SharedAtomics::new(60).unwrap();
    let items = || {
        (0..60usize).map(|place| {
            let awkward = match place {
                7 => Awkward::CannotBeWritten,
                8 => Awkward::PanicsWhenWritten,
                9 => Awkward::CannotBeRead,
                _ => Awkward::Plain,
            };
            (counts.clone(), place, awkward)
        })
    };
    let work = |(counts, place, _): (SharedAtomics, usize, Awkward)| {
        count((counts, place));
        match place {
            11 => panic!("eleven"),
            20 => std::process::exit(5),
            21 => std::process::abort(),
            30 => hang(()),
            _ => {}
        }
        place
    };
    for ordered in [true, false] {
        let results: Vec<_> = if ordered {
            hasty.map(items(), work).collect()
        } else {
            let mut results: Vec<_> = hasty.map_unordered(items(), work).collect();
            assert_eq!(results.len(), 60);
            results.sort_by_key(|result| result.as_ref().map_or(usize::MAX, |place| *place));
            results
        };
        let mut failed = [0; 6];
        for (place, result) in results.into_iter().enumerate() {
            match result {
                Ok(same) => assert!(!ordered || same == place),
                Err(error) => {
                    failed[match error {
                        WorkError::Argument(_) => 0,
                        WorkError::Failed(_) => 1,
                        WorkError::Panicked(_) => 2,
                        WorkError::Died { .. } => 3,
                        WorkError::TimedOut { .. } => 4,
                        _ => 5,
                    }] += 1;
                    assert!(!ordered || [7, 8, 9, 11, 20, 21, 30].contains(&place), "{place}: {error}");
                }
            }
        }
        assert_eq!(failed, [2, 1, 1, 2, 1, 0]);
    }
    for (place, count) in counts.iter().enumerate() {
        let expected = if (7..10).contains(&place) { 0 } else { 2 };
        assert_eq!(count.load(Ordering::SeqCst), expected, "{place}");
    }
    // What moves goes with each.
    let (ends, others): (Vec<_>, Vec<_>) = (0..20).map(|_| Connection::<(), u32>::pair().unwrap()).unzip();
    let send = |end: Connection<u32, ()>| end.send(&5).unwrap();
    assert_eq!(pool.map(others, send).filter(Result::is_ok).count(), 20);
    assert!(ends.iter().all(|end| end.recv().unwrap() == 5));
    Passed
}

fn workers_items_of_a_chunk_that_fail_fail_alone() -> Outcome {
    let pool = pool(2);
    let hasty = pool.clone().task_timeout(Duration::from_millis(200));
    let work = |(counts, place): (SharedAtomics, usize)| {
        count((counts, place));
        match place {
            3 | 17 => panic!("on purpose"),
            4 | 39 => std::process::exit(5),
            5 => std::process::abort(),
            30 => hang(()),
            _ => {}
        }
        place
    };
    for chunk in [Chunk::Of(1), Chunk::Of(7), Chunk::Of(40), Chunk::Of(100)] {
        for ordered in [true, false] {
            let counts = SharedAtomics::new(40).unwrap();
            let items = (0..40).map(|place| (counts.clone(), place));
            let results: Vec<_> = if ordered {
                hasty.map_chunked(items, chunk, work).collect()
            } else {
                hasty.map_chunked_unordered(items, chunk, work).collect()
            };
            assert_eq!(results.len(), 40);
            let mut failed = [0; 3];
            for (place, result) in results.iter().enumerate() {
                match result {
                    Ok(same) => assert!(!ordered || *same == place),
                    Err(WorkError::Panicked(_)) => failed[0] += 1,
                    Err(WorkError::Died { .. }) => failed[1] += 1,
                    Err(WorkError::TimedOut { .. }) => failed[2] += 1,
                    Err(error) => panic!("{place}: {error}"),
                }
                assert!(!ordered || result.is_ok() || [3, 4, 5, 17, 30, 39].contains(&place));
            }
            assert_eq!(failed, [2, 3, 1], "{chunk:?}");
            let done: u64 = results.iter().flatten().map(|place| *place as u64).sum();
            assert_eq!(done, (0..40).sum::<u64>() - 3 - 4 - 5 - 17 - 30 - 39);
            for (place, count) in counts.iter().enumerate() {
                // Those before one at which the worker was lost are done once more, those that are lost aren't.
                let count = count.load(Ordering::SeqCst);
                assert!(
                    if [4, 5, 30, 39].contains(&place) { count == 1 } else { count >= 1 },
                    "{place} {count}"
                );
            }
        }
    }
    // What can't be sent or read is told of its whole chunk, which can't be told apart; others are done.
    let items = (0..30u8).map(|n| match n {
        4 => (n, Awkward::CannotBeWritten),
        15 => (n, Awkward::CannotBeRead),
        _ => (n, Awkward::Plain),
    });
    let results: Vec<_> = pool.map_chunked(items, Chunk::Of(5), |(n, _)| n).collect();
    assert_eq!(results.len(), 30);
    for (n, result) in (0..30).zip(results) {
        assert!(matches!(result, Ok(same) if same == n) || n < 5 || (15..20).contains(&n), "{n}");
    }
    goes_on(&pool, 100);
    Passed
}

fn workers_chunks_that_get_too_long_are_divided() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).max_message(100_000).build().unwrap();
    let long = |n: u64| Bytes::from(vec![n as u8; 9_000]);
    for chunk in [Chunk::Of(64), Chunk::Measured] {
        // Long items, ...
        for (n, result) in (0..400).zip(pool.map_chunked((0..400).map(long), chunk, |item| item.len())) {
            assert_eq!(result.unwrap_or_else(|error| panic!("{n}: {error}")), 9_000);
        }
        // ... long results, ...
        let results = pool.map_chunked(0..400u64, chunk, |n| Bytes::from(vec![n as u8; 9_000]));
        for (n, result) in (0..400u64).zip(results) {
            assert!(
                result.unwrap_or_else(|error| panic!("{n}: {error}")).iter().all(|byte| *byte == n as u8)
            );
        }
        // ... and one that is too long even alone.
        let items = (0..40u64).map(|n| Bytes::from(vec![0u8; if n == 25 { 100_001 } else { 10 }]));
        for (n, result) in (0..40).zip(pool.map_chunked(items, chunk, |item| item.len())) {
            assert_eq!(result.is_err(), n == 25, "{n}: {result:?}");
        }
        let results =
            pool.map_chunked(0..40u64, chunk, |n| Bytes::from(vec![0u8; if n == 25 { 100_001 } else { 10 }]));
        for (n, result) in (0..40).zip(results) {
            assert_eq!(result.is_err(), n == 25, "{n}: {:?}", result.map(|bytes| bytes.len()));
        }
    }
    Passed
}

fn workers_items_that_come_slowly() -> Outcome {
    let pool = pool(2);
    // Each is there only when the result of the one before was seen.
    let (sender, receiver) = std::sync::mpsc::channel();
    sender.send(1u64).unwrap();
    for (n, result) in (1..=100).zip(pool.map(receiver.iter(), |n| n).ahead(1)) {
        assert_eq!(result.unwrap(), n);
        sender.send(n + 1).unwrap();
    }
    // From another thread, in its own time; tasks go on while the map waits for items.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..60u64 {
                sender.send(n).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let all: Vec<_> = pool.map_unordered(receiver, |n| n).map(Result::unwrap).collect();
        assert_eq!(all.len(), 60);
    });
    Passed
}

fn fault_46_a_map_of_a_map_of_the_same_pool() -> Outcome {
    zygote();
    for size in 1..=3 {
        let pool = WorkerPool::builder(size).max_waiting(2_000).build().unwrap();
        let one = pool.map(0..300u64, |n| n + 1).map(Result::unwrap);
        let two = pool.map_unordered(one, |n| n * 10).map(Result::unwrap);
        let three = pool.map_chunked(two, Chunk::Of(7), |n| n + 3).map(Result::unwrap);
        let mut four: Vec<_> = pool.map(three, |n| n).map(Result::unwrap).collect();
        four.sort_unstable();
        assert!(four.into_iter().eq((1..=300).map(|n| n * 10 + 3)), "{size}");
        assert!(pool.close_timeout(PATIENCE).unwrap());
    }
    Passed
}

fn fault_46_items_and_followers_that_use_the_pool() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(1).max_waiting(0).build().unwrap();
    let inner = |n: u64| result(pool.submit(|n: u64| n + 1, n).unwrap()).unwrap();
    let seen = Cell::new(0);
    let items = (0..200u64).map(inner);
    let map = pool.map(items, |n| n * 2).follow(|_| seen.set(seen.get() + inner(0)));
    assert!(map.map(Result::unwrap).eq((0..200).map(|n| (n + 1) * 2)));
    assert!(seen.get() > 10);
    let chunks =
        pool.map_chunked((0..200u64).map(inner), Chunk::Of(9), |n| n).follow(|_| assert_eq!(inner(0), 1));
    assert!(chunks.map(Result::unwrap).eq((0..200).map(|n| n + 1)));
    Passed
}

fn workers_items_and_followers_that_panic() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 100);
    let pids = pool.pids().unwrap();
    for round in 0..10u64 {
        let items = (0..100u64).inspect(|n| assert!(*n != 50 + round, "an item, on purpose"));
        let mut map = pool.map(items, |n| n);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            map.by_ref().map(Result::unwrap).for_each(drop);
        }));
        assert!(caught.is_err());
        // It goes on after that item, or is dropped.
        if round % 2 == 0 {
            assert_eq!(map.filter(Result::is_ok).last().unwrap().unwrap(), 99);
        } else {
            drop(map);
        }
        let map = pool.map_chunked(0..100u64, Chunk::Of(3), |n| n);
        let map = map.follow(|progress| assert!(progress.done < 20, "a follower, on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| map.count())).is_err());
        goes_on(&pool, 100);
        assert_eq!(pool.pids().unwrap(), pids);
    }
    Passed
}

fn workers_a_map_given_up_leaves_warm_workers() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 100);
    let pids = pool.pids().unwrap();
    for round in 0..60usize {
        let counts = SharedAtomics::new(1).unwrap();
        let items = std::iter::repeat_with(|| (counts.clone(), 0));
        let work = |(counts, place)| {
            std::thread::sleep(Duration::from_micros(100));
            count((counts, place))
        };
        let taken = match round % 4 {
            0 => pool.map(items, work).take(round).count(),
            1 => pool.map_unordered(items, work).take(round).count(),
            2 => pool.map_chunked(items, Chunk::Of(4), work).take(round).count(),
            _ => pool.map_chunked_unordered(items, Chunk::Measured, work).take(round).count(),
        };
        assert_eq!(taken, round);
        // What was begun is done, nothing else.
        let is_idle = || {
            let statistics = pool.statistics().unwrap();
            (statistics.waiting, statistics.under_way, statistics.idle) == (0, 0, 2)
        };
        assert!(proc::eventually(is_idle), "{}", pool.statistics().unwrap());
        let done = counts[0].load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(counts[0].load(Ordering::SeqCst), done);
        assert!(done >= round as u64);
        assert_eq!(pool.pids().unwrap(), pids, "they are the same workers");
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!(statistics.submitted, statistics.answered + statistics.cancelled, "{statistics}");
    assert!(statistics.cancelled > 0 && statistics.died == 0, "{statistics}");
    Passed
}

fn workers_a_map_is_followed() -> Outcome {
    let pool = pool(2);
    let items = 1_000u64;
    let last = Cell::new(MapProgress::default());
    let seen = Cell::new(0);
    let follow = |progress: &MapProgress| {
        let before = last.get();
        assert!(progress.done >= before.done && progress.done + progress.under_way <= items, "{progress:?}");
        assert_eq!(progress.total, Some(items));
        last.set(*progress);
        seen.set(seen.get() + 1);
    };
    let fails = |n: u64| {
        assert!(n % 100 != 50, "on purpose");
        n
    };
    let maps: [Box<dyn Iterator<Item = Result<u64, WorkError>>>; 6] = [
        Box::new(pool.map(0..items, |n| n).follow(follow)),
        Box::new(pool.map_unordered(0..items, |n| n).follow(follow)),
        Box::new(pool.map(0..items, fails).follow(follow)),
        Box::new(pool.map_chunked(0..items, Chunk::Of(7), fails).follow(follow)),
        Box::new(pool.map_chunked(0..items, Chunk::Measured, |n| n).follow(follow)),
        Box::new(pool.map_chunked_unordered(0..items, Chunk::Of(300), |n| n).follow(follow)),
    ];
    for map in maps {
        last.set(MapProgress::default());
        seen.set(0);
        let mut map = map.enumerate();
        assert_eq!(seen.get(), 0);
        for (place, _) in map.by_ref() {
            assert!(last.get().done > place as u64, "{place}: {:?}", last.get());
        }
        assert_eq!((last.get().done, last.get().under_way), (items, 0));
        assert!(seen.get() > 2);
    }
    // Of those who don't know how many there are.
    let mut map = pool.map((0..20u64).filter(|n| n % 2 == 0), |n| n).follow(|progress| {
        assert_eq!(progress.total, None);
    });
    assert_eq!(map.by_ref().count(), 10);
    assert_eq!(map.size_hint(), (0, Some(0)));
    let mut map = pool.map(0..20u64, |n| n);
    for left in (0..20).rev() {
        assert_eq!(map.size_hint(), (left + 1, Some(left + 1)));
        map.next().unwrap().unwrap();
    }
    Passed
}

fn workers_maps_of_nothing() -> Outcome {
    let pool = pool(1);
    assert!(pool.map(Vec::<u64>::new(), |n| n).next().is_none());
    assert!(pool.map_unordered(Vec::<u64>::new(), |n| n).next().is_none());
    for chunk in CHUNKS {
        assert!(pool.map_chunked(Vec::<u64>::new(), chunk, |n| n).next().is_none());
        assert_eq!(pool.map_chunked([()], chunk, |()| ()).count(), 1);
        assert_eq!(pool.map_chunked(vec![(); 1_000], chunk, |()| ()).filter(Result::is_ok).count(), 1_000);
    }
    assert_eq!(pool.statistics().unwrap().died, 0);
    Passed
}

fn fault_50_a_million_items_take_no_memory() -> Outcome {
    let pool = pool(2);
    let items = 1_000_000 * u64::from(stress_factor());
    let mut after_some = 0;
    let mut seen = 0u64;
    for (n, result) in (0..).zip(pool.map_chunked(0..items, Chunk::Measured, |n| n + 1)) {
        assert_eq!(result.unwrap(), n + 1);
        seen += 1;
        if n == items / 10 {
            after_some = proc::resident_kib();
        }
    }
    assert_eq!(seen, items);
    let after_all = proc::resident_kib();
    assert!(after_all < after_some + 8_000, "{after_some} KiB, then {after_all} KiB");
    // One by one, the first of which holds up the others: no more are drawn meanwhile.
    let go = Event::new().unwrap();
    let (drawn, release) = (Cell::new(0u64), go.clone());
    let items = (0..200_000u64).map(|n| {
        drawn.set(n);
        (n, (n == 0).then(|| go.clone()))
    });
    let work = |(n, go): (u64, Option<Event>)| {
        if let Some(go) = go {
            go.wait().unwrap();
        }
        n
    };
    let mut map = pool.map(items, work);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            release.set();
        });
        assert_eq!(map.next().unwrap().unwrap(), 0);
    });
    assert!(drawn.get() < 2_000, "{} drawn", drawn.get());
    let before = proc::resident_kib();
    for (n, result) in (1..).zip(map) {
        assert_eq!(result.unwrap(), n);
    }
    let after = proc::resident_kib();
    assert!(after < before + 8_000, "{before} KiB, then {after} KiB");
    Passed
}
