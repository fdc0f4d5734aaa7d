//! Pools of workers and the program around them: its end, its signals, its forks, its limits and users.

use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::signal::Signal as NixSignal;
use pkit::{LaunchOptions, Resource, StatePool, TaskHandle, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::processes::children::start;
use crate::processes::parent_death::program;
use crate::servers::{kill, zygote};
use crate::workers::{PATIENCE, block_on, goes_on, hang, hang_after, pool, result};

scenarios!(
    fault_27_no_worker_outlives_its_program,
    workers_a_program_that_exits_ends_its_workers,
    fault_31_workers_leave_ctrl_c_to_their_program,
    fault_54_a_pool_of_the_parents_workers_is_wrong_process,
    fault_54_pools_of_workers_in_workers,
    workers_forks_beside_a_pool,
    workers_of_another_user_and_with_limits,
);

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str) -> bool {
    match name {
        "program_with_busy_workers" => busy_workers(true),
        "program_that_exits_with_busy_workers" => busy_workers(false),
        _ => return false,
    }
    true
}

/// Prints the ids of workers that spin, of which one has workers of its own, and stays or ends.
fn busy_workers(stays: bool) {
    let (reader, writer) = Connection::<(), u32>::pair().unwrap();
    let pool = pool(2);
    let spin = |()| loop {
        std::hint::spin_loop();
    };
    let task: TaskHandle<()> = pool.submit(spin, ()).unwrap();
    let nested = |(writer, spin): (Connection<u32, ()>, ())| {
        let pool = self::pool(1);
        let task: TaskHandle<()> = pool.submit(|()| hang(()), spin).unwrap();
        writer.send(&pool.pids().unwrap()[0]).unwrap();
        task.join().unwrap();
    };
    let other = pool.submit(nested, (writer, ())).unwrap();
    let inner = reader.recv().unwrap();
    for pid in pool.pids().unwrap().iter().chain([&inner]) {
        println!("{pid}");
    }
    if stays {
        hang(());
    }
    // The exit comes upon a pool that is there.
    std::mem::forget((pool, task, other));
}

fn fault_27_no_worker_outlives_its_program() -> Outcome {
    let (mut program, pids) = program(&["program_with_busy_workers"], 3);
    assert!(pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    Passed
}

fn workers_a_program_that_exits_ends_its_workers() -> Outcome {
    let (mut program, pids) = program(&["program_that_exits_with_busy_workers"], 3);
    assert_eq!(pids.len(), 3);
    assert!(program.wait().unwrap().success());
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    Passed
}

fn fault_31_workers_leave_ctrl_c_to_their_program() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 10);
    let pids = pool.pids().unwrap();
    let (begun, go) = (Event::new().unwrap(), Event::new().unwrap());
    let wait = |(begun, go): (Event, Event)| {
        begun.set();
        go.wait().unwrap();
        1u32
    };
    let task = pool.submit(wait, (begun.clone(), go.clone())).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    for pid in &pids {
        kill(*pid as i32, NixSignal::SIGINT);
    }
    std::thread::sleep(Duration::from_millis(50));
    go.set();
    assert_eq!(result(task).unwrap(), 1);
    goes_on(&pool, 10);
    assert_eq!(pool.pids().unwrap(), pids);
    Passed
}

fn fault_54_a_pool_of_the_parents_workers_is_wrong_process() -> Outcome {
    raw::allow_forks();
    let pool = pool(2);
    let state = StatePool::with_state(1, || 0u64).unwrap();
    let begun = Event::new().unwrap();
    let mut task = pool.submit(hang_after, begun.clone()).unwrap();
    let done = pool.submit(|n: u64| n, 7).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    assert!(proc::eventually(|| done.is_done()));
    let mut map = pool.map(1u64.., |n| n);
    let mut chunks = state.map_chunked(1u64.., pkit::Chunk::Of(3), |_, n| n);
    assert_eq!((map.next().unwrap().unwrap(), chunks.next().unwrap().unwrap()), (1, 1));
    let (mut other_task, mut other_map, mut other_chunks) = (Some(done), Some(map), Some(chunks));
    for _ in 0..3 {
        let child = start(|| {
            let refused = |error: WorkError| matches!(error, WorkError::WrongProcess(_));
            let all = [
                pool.submit(|n: u64| n, 1).is_err_and(refused),
                pool.try_submit(|n: u64| n, 1).is_err_and(refused),
                pool.submit_timeout(|n: u64| n, 1, PATIENCE).is_err_and(refused),
                state.submit(|_, n: u64| n, 1).is_err_and(refused),
                pool.map(0..2u64, |n| n).all(|result| result.is_err_and(refused)),
                pool.map_unordered(0..2u64, |n| n).all(|result| result.is_err_and(refused)),
                pool.map_chunked(0..9u64, pkit::Chunk::Of(2), |n| n).all(|result| result.is_err_and(refused)),
                pool.statistics().is_err_and(refused),
                pool.pids().is_err_and(refused),
                pool.close().is_err_and(refused),
                pool.close_timeout(PATIENCE).is_err_and(refused),
                pool.terminate(Duration::ZERO).is_err_and(refused),
                task.try_join().is_err_and(refused),
                task.cancel().is_err_and(refused),
                block_on(&mut task).is_err_and(refused),
                other_task.take().unwrap().join().is_err_and(refused),
                // What was there already may still be given out.
                other_map.as_mut().unwrap().take(3000).last().unwrap().is_err_and(refused),
            ];
            let chunks: Vec<_> = other_chunks.as_mut().unwrap().take(10).collect();
            drop((other_map.take(), other_chunks.take()));
            drop((pool.clone(), state.clone()));
            let format = format!("{pool:?} {state:?} {task:?}");
            (all.to_vec(), chunks.last().unwrap().is_err(), format.len() > 10)
        });
        let (all, chunks, format) = child.output::<(Vec<bool>, bool, bool)>().unwrap();
        assert!(all.iter().all(|refused| *refused) && chunks && format, "{all:?} {chunks}");
    }
    // Nothing was done to what they are copies of.
    assert!(!task.is_done());
    assert_eq!(result(other_task.unwrap()).unwrap(), 7);
    assert_eq!(other_map.as_mut().unwrap().next().unwrap().unwrap(), 2);
    assert_eq!(other_chunks.as_mut().unwrap().next().unwrap().unwrap(), 2);
    drop((other_map, other_chunks));
    // A child's own pool is its own.
    let child = start(|| {
        drop(pool.clone());
        let own = crate::workers::pool(1);
        goes_on(&own, 20);
        own.close().unwrap();
    });
    child.output::<()>().unwrap();
    task.cancel().unwrap();
    goes_on(&pool, 20);
    Passed
}

fn fault_54_pools_of_workers_in_workers() -> Outcome {
    let pool = pool(2);
    let sums = pool.map(0..3u64, |outer| {
        let pool = self::pool(2);
        let inner = pool.map(0..3u64, move |inner| inner);
        let sum: u64 = inner.map(Result::unwrap).sum();
        let pool = self::pool(1);
        let lowest = result(
            pool.submit(
                |n: u64| {
                    let pool = self::pool(1);
                    let n = result(pool.submit(|n: u64| n + 1, n).unwrap()).unwrap();
                    pool.close().unwrap();
                    n
                },
                outer * 10,
            )
            .unwrap(),
        );
        sum + lowest.unwrap()
    });
    assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [4, 14, 24]);
    drop(pool);
    for way in 0..3 {
        let (reader, writer) = Connection::<(), u32>::pair().unwrap();
        let root = crate::workers::pool(1);
        let nested = |writer: Connection<u32, ()>| {
            let middle = self::pool(1);
            let task = middle.submit(
                |writer: Connection<u32, ()>| {
                    writer.send(&std::process::id()).unwrap();
                    let lowest = self::pool(1);
                    let task = lowest.submit(hang, ()).unwrap();
                    writer.send(&lowest.pids().unwrap()[0]).unwrap();
                    task.join().unwrap();
                },
                writer,
            );
            task.unwrap().join().unwrap();
        };
        let task = root.submit(nested, writer).unwrap();
        let below = [reader.recv().unwrap() as i32, reader.recv().unwrap() as i32];
        assert!(below.iter().all(|pid| proc::runs(*pid)));
        match way {
            0 => assert!(task.cancel().unwrap()),
            1 => kill(root.pids().unwrap()[0] as i32, NixSignal::SIGKILL),
            _ => root.terminate(Duration::ZERO).unwrap(),
        }
        assert!(proc::eventually(|| !below.iter().any(|pid| proc::runs(*pid))), "{way}");
        assert!(result(task).is_err());
    }
    Passed
}

fn workers_forks_beside_a_pool() -> Outcome {
    // Its thread is no obstacle to a fork, whether it sleeps or not.
    let pool = pool(2);
    goes_on(&pool, 20);
    for _ in 0..20 {
        assert_eq!(start(|| 5u32).output::<u32>().unwrap(), 5);
    }
    let mut under_way = Vec::new();
    for round in 0..200u64 {
        let work = |n: u64| {
            std::thread::sleep(Duration::from_micros(n % 7 * 100));
            n
        };
        under_way.extend((0..20).map(|n| (round + n, pool.submit(work, round + n).unwrap())));
        assert_eq!(start(move || round).output::<u64>().unwrap(), round);
        if round % 10 == 9 {
            for (n, task) in under_way.drain(..) {
                assert_eq!(result(task).unwrap(), n);
            }
        }
    }
    pool.close().unwrap();
    assert_eq!(start(|| 6u32).output::<u32>().unwrap(), 6);
    Passed
}

fn workers_of_another_user_and_with_limits() -> Outcome {
    zygote();
    // More than it may have: the allocation aborts, as in any Rust program.
    let options = LaunchOptions::new().limit(Resource::AddressSpace, 1 << 30, 1 << 30);
    let pool = WorkerPool::builder(2).options(options).build().unwrap();
    for _ in 0..3 {
        let task = pool.submit(|bytes: usize| std::hint::black_box(vec![1u8; bytes]).len(), 2 << 30).unwrap();
        match result(task) {
            Err(WorkError::Died { status, out_of_memory: false, .. }) => {
                assert_eq!(status.signal(), Some(pkit::Signal::ABRT));
            }
            other => panic!("{other:?}"),
        }
        goes_on(&pool, 20);
    }
    if !nix::unistd::geteuid().is_root() {
        return Passed;
    }
    let options = LaunchOptions::new().uid(65_534).gid(65_534).groups([]);
    let pool = WorkerPool::builder(2).options(options).build().unwrap();
    let uid = |()| nix::unistd::getuid().as_raw();
    assert_eq!(result(pool.submit(uid, ()).unwrap()).unwrap(), 65_534);
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let echo = |end: Connection<u32, u32>| end.send(&end.recv().unwrap()).unwrap();
    let task = pool.submit(echo, there).unwrap();
    here.send(&5).unwrap();
    assert_eq!(here.recv().unwrap(), 5);
    result(task).unwrap();
    goes_on(&pool, 100);
    let hangs = pool.clone().task_timeout(Duration::from_millis(20)).submit(hang, ()).unwrap();
    assert!(matches!(result(hangs), Err(WorkError::TimedOut { .. })));
    for pid in pool.pids().unwrap() {
        assert_eq!(proc::status_field(pid as i32, "Uid"), "65534 65534 65534 65534");
    }
    let forever = pool.submit(hang, ()).unwrap();
    pool.terminate(Duration::from_secs(20)).unwrap();
    assert!(matches!(result(forever), Err(WorkError::Ended { .. })));
    Passed
}
