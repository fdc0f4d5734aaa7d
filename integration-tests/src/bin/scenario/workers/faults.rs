//! Pools of workers whose workers die, in each phase of a task and each way; and what can't be read or written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::link::{Bytes, Execution};
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{ExitStatus, WorkFailure};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal as NixSignal;
use nix::unistd::Pid;
use pkit::{Signal, TaskHandle, WorkError, WorkerPool, Zygote};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Awkward, Death, die};
use crate::servers::zygote;
use crate::workers::{PATIENCE, count, goes_on, hang_after, pool, result};

scenarios!(
    fault_13_a_killed_worker_fails_the_task_it_is_at,
    fault_13_a_worker_killed_in_the_midst_of_a_reply,
    fault_13_a_worker_killed_before_it_is_ready,
    fault_14_how_a_worker_ended_is_told,
    fault_15_a_task_that_is_killed_fails_alone_in_a_pool,
    fault_15_a_poisonous_task_has_its_attempts_and_no_more,
    fault_16_arguments_that_cannot_be_read,
    fault_16_results_that_cannot_be_written_or_read,
    fault_16_panics_of_every_kind,
    fault_29_a_pool_outlives_its_zygote,
    fault_47_what_a_lost_task_has_done_is_told,
    fault_47_sixty_thousand_tasks_while_workers_are_killed,
);

pub(crate) fn kill(pid: u32, signal: NixSignal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), signal);
}

fn count_and_hang((counts, begun): (SharedAtomics, Event)) {
    count((counts, 0));
    hang_after(begun);
}

/// How a task's worker ended, if that is why it failed.
pub(crate) fn died<R>(result: Result<R, WorkError>) -> ExitStatus {
    match result {
        Err(WorkError::Died { status, attempts: 1, out_of_memory: false }) => status,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it succeeded"),
    }
}

fn fault_13_a_killed_worker_fails_the_task_it_is_at() -> Outcome {
    let pool = pool(1);
    for round in 0..50u32 {
        // Many are sent ahead, and many wait.
        goes_on(&pool, 100);
        let counts = SharedAtomics::new(1000).unwrap();
        let begun = Event::new().unwrap();
        let before: Vec<_> =
            (900..920).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
        let runs = pool.submit(count_and_hang, (counts.clone(), begun.clone())).unwrap();
        let others: Vec<_> =
            (1..600).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        kill(pool.pids().unwrap()[0], NixSignal::SIGKILL);
        if round % 2 == 0 {
            // While nobody waits for any of them.
            assert!(proc::eventually(|| others.iter().all(TaskHandle::is_done)));
        }
        for (place, task) in (900..920).zip(before) {
            assert_eq!(result(task).unwrap(), place);
        }
        assert_eq!(died(result(runs)).signal(), Some(Signal::KILL), "round {round}");
        for (place, task) in (1..600).zip(others) {
            assert_eq!(result(task).unwrap(), place);
        }
        let ran: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        assert!(ran[..600].iter().chain(&ran[900..920]).all(|count| *count == 1), "{ran:?}");
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.died, statistics.lost, statistics.retried), (50, 50, 0), "{statistics}");
    assert_eq!(statistics.started - statistics.workers as u64, 50, "{statistics}");
    Passed
}

fn fault_13_a_worker_killed_in_the_midst_of_a_reply() -> Outcome {
    let pool = pool(1);
    let (mut whole, mut cut) = (0, 0);
    for round in 0..120 * u64::from(stress_factor()) {
        let counts = SharedAtomics::new(12).unwrap();
        let begun = Event::new().unwrap();
        let long = |(counts, begun): (SharedAtomics, Event)| {
            count((counts, 0));
            let bytes = Bytes::from(vec![7; 8 << 20]);
            begun.set();
            bytes
        };
        let long = pool.submit(long, (counts.clone(), begun.clone())).unwrap();
        let others: Vec<_> =
            (1..12).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        std::thread::sleep(Duration::from_micros(round % 40 * 100));
        for pid in pool.pids().unwrap() {
            kill(pid, NixSignal::SIGKILL);
        }
        let mut own = 0;
        match result(long) {
            Ok(bytes) => {
                assert!(bytes.len() == 8 << 20 && bytes.iter().all(|byte| *byte == 7));
                whole += 1;
                own = 1;
            }
            Err(error) => {
                assert_eq!(error.execution(), Execution::Unknown);
                assert_eq!(died::<()>(Err(error)).signal(), Some(Signal::KILL));
                cut += 1;
            }
        }
        // One of the others may have been at its turn instead.
        let mut lost = 0;
        for (place, task) in (1..12).zip(others) {
            match result(task) {
                Ok(same) => assert_eq!(same, place),
                Err(error) => {
                    assert_eq!(died::<()>(Err(error)).signal(), Some(Signal::KILL));
                    lost += 1;
                }
            }
        }
        assert!(lost <= own, "round {round}");
        assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) <= 1));
    }
    assert!(cut > 5, "{whole} came whole, {cut} were cut");
    Passed
}

fn fault_13_a_worker_killed_before_it_is_ready() -> Outcome {
    zygote();
    let (counts, begun) = (SharedAtomics::new(1).unwrap(), Event::new().unwrap());
    let slow = |(counts, begun): (SharedAtomics, Event)| {
        // The first two take long.
        if counts[0].fetch_add(1, Ordering::SeqCst) < 2 {
            hang_after(begun);
        }
        std::process::id()
    };
    let pool = WorkerPool::builder(1).with_state_of(slow, (counts.clone(), begun.clone())).unwrap();
    let tasks: Vec<_> = (0..20u64)
        .map(|number| pool.submit(|pid: &mut u32, number: u64| (*pid, number), number).unwrap())
        .collect();
    for _ in 0..2 {
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        begun.clear();
        // It may have begun before its start has returned.
        assert!(proc::eventually(|| pool.pids().unwrap().len() == 1));
        kill(pool.pids().unwrap()[0], NixSignal::SIGKILL);
    }
    for (number, task) in (0..).zip(tasks) {
        assert_eq!(result(task).unwrap(), (pool.pids().unwrap()[0], number));
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.started, statistics.died, statistics.lost), (3, 2, 0), "{statistics}");
    Passed
}

fn fault_14_how_a_worker_ended_is_told() -> Outcome {
    let pool = pool(2);
    for round in 0..30 * stress_factor() {
        let deaths = [Death::Kill, Death::Abort, Death::Segfault, Death::StackOverflow, Death::Exit];
        let tasks = deaths.map(|death| pool.submit(die, death).unwrap());
        let term = pool.submit(|()| nix::sys::signal::raise(NixSignal::SIGTERM).unwrap(), ()).unwrap();
        let leaves = pool.submit(|()| raw::exit_at_once(), ()).unwrap();
        let panics = pool.submit(|()| -> u8 { panic!("round") }, ()).unwrap();
        let [killed, aborted, segfault, overflow, exited] = tasks.map(|task| died(result(task)));
        assert_eq!(killed.signal(), Some(Signal::KILL), "round {round}");
        assert_eq!(aborted.signal(), Some(Signal::ABRT), "round {round}");
        assert_eq!(segfault.signal(), Some(Signal::SEGV), "round {round}");
        // Where Rust's own handler says what it was, it aborts.
        assert!(matches!(overflow.signal(), Some(Signal::ABRT | Signal::SEGV)), "round {round}");
        assert_eq!(exited, ExitStatus::Exited(7), "round {round}");
        assert_eq!(died(result(term)).signal(), Some(Signal::TERM), "round {round}");
        assert_eq!(died(result(leaves)), ExitStatus::Exited(0), "round {round}");
        let panicked = result(panics).unwrap_err();
        assert!(matches!(&panicked, WorkError::Panicked(report) if report.message == "round"), "{panicked}");
        goes_on(&pool, 20);
    }
    let statistics = pool.statistics().unwrap();
    let rounds = u64::from(30 * stress_factor());
    assert_eq!((statistics.died, statistics.lost), (7 * rounds, 7 * rounds), "{statistics}");
    Passed
}

fn fault_15_a_task_that_is_killed_fails_alone_in_a_pool() -> Outcome {
    for size in [1, 3, 8] {
        let pool = pool(size);
        let counts = SharedAtomics::new(9).unwrap();
        let begun = Event::new().unwrap();
        let work = |(counts, place, begun): (SharedAtomics, usize, Event)| {
            count((counts.clone(), place));
            if place == 3 {
                counts[8].store(std::process::id().into(), Ordering::SeqCst);
                hang_after(begun);
            }
            place
        };
        let tasks: Vec<_> =
            (0..8).map(|place| pool.submit(work, (counts.clone(), place, begun.clone())).unwrap()).collect();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        kill(counts[8].load(Ordering::SeqCst) as u32, NixSignal::SIGKILL);
        for (place, task) in (0..8).zip(tasks) {
            match result(task) {
                Ok(same) => assert!(same == place && place != 3),
                Err(error) => {
                    assert_eq!(place, 3, "{error}");
                    assert_eq!(died::<()>(Err(error)).signal(), Some(Signal::KILL));
                }
            }
        }
        assert!(counts[..8].iter().all(|count| count.load(Ordering::SeqCst) == 1));
        goes_on(&pool, 100);
    }
    Passed
}

fn fault_15_a_poisonous_task_has_its_attempts_and_no_more() -> Outcome {
    let pool = pool(2).attempts(3);
    let counts = SharedAtomics::new(200).unwrap();
    let work = |(counts, place): (SharedAtomics, usize)| {
        if place % 10 == 9 {
            count((counts, place));
            std::process::abort();
        }
        // One that is lost once.
        let before = counts[place].fetch_add(1, Ordering::SeqCst);
        if place % 10 == 5 && before == 0 {
            std::process::exit(1);
        }
        place
    };
    let tasks: Vec<_> = (0..200).map(|place| pool.submit(work, (counts.clone(), place)).unwrap()).collect();
    for (place, task) in (0..200).zip(tasks) {
        let result = result(task);
        let begun = counts[place].load(Ordering::SeqCst);
        match place % 10 {
            9 => {
                let error = result.unwrap_err();
                assert!(matches!(&error, WorkError::Died { attempts: 3, .. }), "{error}");
                assert!(error.to_string().contains('3'), "{error}");
                assert_eq!(begun, 3);
            }
            rest => assert_eq!((result.unwrap(), begun), (place, if rest == 5 { 2 } else { 1 })),
        }
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.died, statistics.lost, statistics.retried), (80, 20, 60), "{statistics}");
    // A panic is no loss.
    let panics = pool.submit(|counts| -> () { panic!("{}", count((counts, 0))) }, counts.clone()).unwrap();
    assert!(matches!(result(panics), Err(WorkError::Panicked(_))));
    assert_eq!(counts[0].load(Ordering::SeqCst), 2);
    Passed
}

/// Panics where it is read, and not where it is written.
#[derive(Debug, Serialize)]
struct PanicsWhenRead(u8);

impl<'de> Deserialize<'de> for PanicsWhenRead {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<PanicsWhenRead, D::Error> {
        panic!("while it was read")
    }
}

/// Panics where it is dropped, unless that is the program.
#[derive(Debug, Serialize, Deserialize)]
struct PanicsWhenDropped(u32);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if std::process::id() != self.0 && !std::thread::panicking() {
            panic!("while it was dropped");
        }
    }
}

fn fault_16_arguments_that_cannot_be_read() -> Outcome {
    let pool = pool(1);
    let counts = SharedAtomics::new(1).unwrap();
    for _ in 0..5 {
        let refused = pool.submit(
            |(_, counts): (Awkward, SharedAtomics)| count((counts, 0)),
            (Awkward::CannotBeRead, counts.clone()),
        );
        let panics = pool.submit(
            |(_, counts): (PanicsWhenRead, SharedAtomics)| count((counts, 0)),
            (PanicsWhenRead(1), counts.clone()),
        );
        for task in [refused.unwrap(), panics.unwrap()] {
            let error = result(task).unwrap_err();
            assert!(matches!(&error, WorkError::Failed(WorkFailure::Argument { .. })), "{error}");
            assert_eq!(error.execution(), Execution::NotRun);
        }
        // Here, before anything is sent.
        for argument in [Awkward::CannotBeWritten, Awkward::PanicsWhenWritten] {
            let error = pool.submit(|_: Awkward| (), argument).unwrap_err();
            assert!(matches!(&error, WorkError::Argument(_)), "{error}");
            assert_eq!(error.execution(), Execution::NotRun);
        }
        let drops = pool.submit(|_: PanicsWhenDropped| (), PanicsWhenDropped(std::process::id())).unwrap();
        assert!(matches!(result(drops), Err(WorkError::Panicked(_))));
        goes_on(&pool, 10);
    }
    assert_eq!(counts[0].load(Ordering::SeqCst), 0);
    assert_eq!(pool.statistics().unwrap().started, 1, "the worker went on");
    Passed
}

fn fault_16_results_that_cannot_be_written_or_read() -> Outcome {
    let pool = pool(1);
    let counts = SharedAtomics::new(1).unwrap();
    for round in 1..=5 {
        let tasks = [0, 1, 2].map(|which| {
            let make = |(which, counts): (u8, SharedAtomics)| {
                count((counts.clone(), 0));
                let made = match which {
                    0 => Awkward::CannotBeWritten,
                    1 => Awkward::PanicsWhenWritten,
                    _ => Awkward::CannotBeRead,
                };
                // What takes something along isn't read back by its sender, which debug builds do otherwise.
                (made, counts)
            };
            pool.submit(make, (which, counts.clone())).unwrap()
        });
        for (which, task) in (0..).zip(tasks) {
            let error = result(task).unwrap_err();
            match (&error, which) {
                (WorkError::Failed(WorkFailure::Result { .. }), 0 | 1) => {}
                (WorkError::Failed(WorkFailure::Unreadable { .. }), 2) => {}
                _ => panic!("{which}: {error}"),
            }
            assert_eq!(error.execution(), Execution::Ran);
        }
        let here = pool.submit(|counts| (PanicsWhenRead(1), counts), counts.clone()).unwrap();
        let error = result::<(PanicsWhenRead, SharedAtomics)>(here).unwrap_err();
        assert!(matches!(error, WorkError::Failed(WorkFailure::Unreadable { .. })), "{error}");
        // It was sent before.
        let drops = pool.submit(|pid: u32| PanicsWhenDropped(pid), std::process::id()).unwrap();
        assert_eq!(result(drops).unwrap().0, std::process::id());
        assert_eq!(counts[0].load(Ordering::SeqCst), 3 * round);
        goes_on(&pool, 10);
    }
    // One of many items.
    let items = [Awkward::Plain, Awkward::PanicsWhenWritten, Awkward::Plain, Awkward::CannotBeRead];
    let places = pool.map_chunked(0..4u8, pkit::Chunk::Of(4), |place| match place {
        1 => Awkward::PanicsWhenWritten,
        _ => Awkward::Plain,
    });
    let results: Vec<_> = places.collect();
    for (place, (result, item)) in results.into_iter().zip(items).enumerate() {
        match result {
            Ok(same) => assert!(same == Awkward::Plain && place != 1, "{item:?}"),
            Err(error) => {
                assert!(matches!(error, WorkError::Failed(WorkFailure::Result { .. })), "{error}");
                assert_eq!(place, 1);
            }
        }
    }
    assert_eq!(pool.statistics().unwrap().started, 1, "the worker went on");
    Passed
}

fn fault_16_panics_of_every_kind() -> Outcome {
    struct PanicsAgain;
    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            panic!("while the payload was dropped");
        }
    }
    let pool = pool(1);
    let panics: [fn(()); 5] = [
        |()| panic!("a text"),
        |()| panic!("{}", "a text".to_owned()),
        |()| std::panic::panic_any(7u64),
        |()| std::panic::panic_any(PanicsAgain),
        |()| std::panic::resume_unwind(Box::new(())),
    ];
    for (which, panics) in panics.into_iter().enumerate() {
        match result(pool.submit(panics, ()).unwrap()).unwrap_err() {
            WorkError::Panicked(report) => {
                assert_eq!(report.message == "a text", which < 2, "{report}");
                assert!(which == 4 || report.location.contains("workers/faults.rs"), "{which}: {report}");
            }
            error => panic!("{which}: {error}"),
        }
        goes_on(&pool, 10);
    }
    assert_eq!(pool.statistics().unwrap().started, 1, "the worker went on");
    Passed
}

fn fault_29_a_pool_outlives_its_zygote() -> Outcome {
    let pool = pool(2).attempts(5);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut killed = 0;
            while killed < 20 {
                // There is none between a start that has failed and the next one.
                if let Some(zygote) = Zygote::global().id() {
                    kill(zygote, NixSignal::SIGKILL);
                    killed += 1;
                }
                std::thread::sleep(Duration::from_millis(15));
                if let Some(pid) = pool.pids().unwrap().first() {
                    kill(*pid, NixSignal::SIGKILL);
                }
                std::thread::sleep(Duration::from_millis(15));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut done = 0u64;
        while !stop.load(Ordering::Relaxed) {
            for task in [0, 1, 2, 3].map(|n: u64| pool.submit(|n: u64| n + 1, n).unwrap()) {
                assert!(result(task).unwrap() <= 4);
                done += 1;
            }
        }
        assert!(done > 20);
    });
    assert!(proc::eventually(|| pool.statistics().unwrap().workers == 2));
    goes_on(&pool, 100);
    Passed
}

fn fault_47_what_a_lost_task_has_done_is_told() -> Outcome {
    let pool = pool(2);
    const TASKS: usize = 20_000;
    let counts = SharedAtomics::new(TASKS).unwrap();
    let stop = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(12345);
                std::thread::sleep(Duration::from_micros((round >> 33) % 3000));
                let pids = pool.pids().unwrap();
                if !pids.is_empty() {
                    kill(pids[(round >> 40) as usize % pids.len()], NixSignal::SIGKILL);
                }
            }
        });
        let hasty = pool.clone().task_timeout(Duration::from_millis(1));
        let mut told = Vec::new();
        for first in (0..TASKS).step_by(100) {
            let tasks: Vec<_> = (first..first + 100)
                .map(|place| {
                    let pool = if place % 3 == 0 { &hasty } else { &pool };
                    let work = |(counts, place): (SharedAtomics, usize)| {
                        count((counts, place));
                        if place % 50 == 0 {
                            std::thread::sleep(Duration::from_millis(2));
                        }
                    };
                    let task = pool.submit(work, (counts.clone(), place)).unwrap();
                    if place % 17 == 0 {
                        task.cancel().unwrap();
                    }
                    task
                })
                .collect();
            told.extend(tasks.into_iter().map(result));
        }
        stop.store(true, Ordering::Relaxed);
        told
    });
    let mut kinds = [0; 4];
    for (place, told) in told.into_iter().enumerate() {
        let ran = counts[place].load(Ordering::SeqCst);
        let (kind, fits) = match told.as_ref().map_err(WorkError::execution) {
            Ok(()) => (0, ran == 1),
            Err(Execution::Ran) => (1, ran == 1),
            Err(Execution::NotRun) => (2, ran == 0),
            Err(Execution::Unknown) => (3, ran <= 1),
        };
        assert!(fits, "{place} ran {ran} times: {told:?}");
        kinds[kind] += 1;
    }
    assert!(kinds[0] > TASKS / 2 && kinds[2] > 0 && kinds[3] > 10, "{kinds:?}");
    Passed
}

fn fault_47_sixty_thousand_tasks_while_workers_are_killed() -> Outcome {
    const TASKS: u64 = 60_000;
    let pool = pool(3).attempts(5);
    let stop = AtomicBool::new(false);
    let mut seen = vec![0u8; TASKS as usize];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1u64;
            while !stop.load(Ordering::Relaxed) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                std::thread::sleep(Duration::from_micros(500 + (random >> 33) % 4000));
                let pids = pool.pids().unwrap();
                if !pids.is_empty() {
                    kill(pids[(random >> 40) as usize % pids.len()], NixSignal::SIGKILL);
                }
            }
        });
        for result in pool.map_unordered(0..TASKS, |number| (number, number * 3)) {
            let (number, tripled) = result.unwrap();
            assert_eq!(tripled, number * 3);
            seen[number as usize] += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|count| *count == 1));
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.answered, statistics.lost), (TASKS, 0), "{statistics}");
    assert!(statistics.died > 20, "{statistics}");
    Passed
}
