//! What arrives in a zygote's child: its argument, and all of the library's that is part of that.

use std::time::Duration;

use common_ipc::link::{Bytes, Connection, LinkError, Queue};
use common_ipc::memory::{FrozenArray, SharedArray};
use common_ipc::process::{Launch, LaunchOptions, StartError};
use common_ipc::sync::{Event, EventFd, LockError, Mutex, Semaphore};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::servers::{start_in, zygote};

scenarios!(
    fault_07_an_end_that_went_to_a_zygotes_child_is_wrong_process_here,
    fault_13_the_death_of_a_zygotes_child_ends_a_receive,
    fault_36_a_lock_of_a_dead_zygotes_child_is_told_of,
    fault_40_arguments_of_every_size_arrive,
    a_hundred_descriptors_arrive_and_too_many_are_an_error,
    an_end_stays_here_when_the_start_fails,
    all_that_processes_share_arrives,
    an_output_of_every_size_comes_back,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

type Link = Connection<u32, u32>;

fn echo(link: Link) {
    while let Ok(number) = link.recv() {
        link.send(&(number + 1)).unwrap();
    }
}

fn fault_07_an_end_that_went_to_a_zygotes_child_is_wrong_process_here() -> Outcome {
    let (here, there) = Link::pair().unwrap();
    let child = start_in(echo, &there);
    for number in 0..100 {
        here.send(&number).unwrap();
        assert_eq!(here.recv().unwrap(), number + 1);
    }
    assert!(matches!(there.send(&1), Err(LinkError::WrongProcess(_))));
    // Nor can it go anywhere else.
    let error = Launch::new(&LaunchOptions::new()).start_in(&zygote(), echo, &there).unwrap_err();
    assert!(matches!(error, StartError::Encode(_)), "{error:?}");
    drop(here);
    child.output::<()>().unwrap();
    Passed
}

fn fault_13_the_death_of_a_zygotes_child_ends_a_receive() -> Outcome {
    let (here, there) = Link::pair().unwrap();
    // Neither the zygote nor a sibling has a copy of the end.
    let child = start_in(
        |link: Link| {
            link.send(&1).unwrap();
            sleep_for_long();
        },
        &there,
    );
    let sibling = start_in(|()| sleep_for_long(), &());
    assert_eq!(here.recv().unwrap(), 1);
    child.kill().unwrap();
    // The deadline is there for a test that fails; what is asserted is that it isn't needed.
    assert!(matches!(here.recv_timeout(PATIENCE), Err(LinkError::Closed)));
    assert!(sibling.is_alive().unwrap());
    for child in [child, sibling] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn fault_36_a_lock_of_a_dead_zygotes_child_is_told_of() -> Outcome {
    let (total, held) = (Mutex::new(5u64).unwrap(), Event::new().unwrap());
    let child = start_in(
        |(total, held): (Mutex<u64>, Event)| {
            *total.lock().unwrap() += 1;
            let _guard = total.lock().unwrap();
            held.set();
            sleep_for_long();
        },
        &(total.clone(), held.clone()),
    );
    assert!(held.wait_timeout(PATIENCE).unwrap());
    child.kill().unwrap();
    let told = total.lock_timeout(PATIENCE);
    assert!(matches!(told, Err(LockError::OwnerDied { .. })), "{told:?}");
    drop(told);
    child.wait().unwrap();
    Passed
}

fn fault_40_arguments_of_every_size_arrive() -> Outcome {
    // Around the page that a request is, and far beyond.
    let lengths = (3500..4200).step_by(7).chain([0, 1, 65_535, 65_536, 5_000_000]);
    for length in lengths {
        let pattern = |seed: usize| (0..length).map(move |at| (at * 31 + seed) as u8).collect::<Vec<u8>>();
        let child = start_in(
            |(bytes, list, text): (Bytes, Vec<u8>, String)| (bytes.to_vec(), list, text.len()),
            &(Bytes::from(pattern(1)), pattern(2), "x".repeat(length % 5000)),
        );
        let (bytes, list, text): (Vec<u8>, Vec<u8>, usize) = child.output().unwrap();
        assert!(bytes == pattern(1) && list == pattern(2) && text == length % 5000, "of {length}");
    }
    Passed
}

fn a_hundred_descriptors_arrive_and_too_many_are_an_error() -> Outcome {
    let events: Vec<Event> = (0..260).map(|_| Event::new().unwrap()).collect();
    let set = |events: Vec<Event>| events.iter().for_each(Event::set);
    start_in(set, &events[..100].to_vec()).output::<()>().unwrap();
    assert_eq!(events.iter().filter(|event| event.is_set()).count(), 100);
    // 253 is the kernel's limit for a message, and a request has some of its own.
    start_in(set, &events[..247].to_vec()).output::<()>().unwrap();
    assert_eq!(events.iter().filter(|event| event.is_set()).count(), 247);
    let options = LaunchOptions::new();
    for count in [248, 253, 254, 260] {
        let started = Launch::new(&options).start_in(&zygote(), set, &events[..count].to_vec());
        assert!(matches!(started, Err(StartError::Encode(_))), "{count}: {started:?}");
    }
    start_in(set, &events[150..].to_vec()).output::<()>().unwrap();
    assert!(events.iter().all(Event::is_set));
    Passed
}

fn an_end_stays_here_when_the_start_fails() -> Outcome {
    let (here, there) = Link::pair().unwrap();
    let options = LaunchOptions::new().cwd("/does/not/exist");
    for _ in 0..3 {
        let failed = Launch::new(&options).start_in(&zygote(), echo, &there);
        assert!(matches!(failed, Err(StartError::Setup { .. })), "{failed:?}");
        there.send(&1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
    }
    let child = start_in(echo, &there);
    here.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 2);
    drop(here);
    child.output::<()>().unwrap();
    Passed
}

#[derive(Serialize, Deserialize)]
struct Shared {
    jobs: Queue<u32>,
    done: Queue<u32>,
    go: Event,
    also: EventFd,
    permits: Semaphore,
    total: Mutex<u64>,
    array: SharedArray<u32>,
    frozen: FrozenArray<u8>,
}

fn use_all_of_it(shared: Shared) {
    shared.go.wait().unwrap();
    assert!(shared.array.shape() == [2, 3] && *shared.frozen == *b"frozen");
    while let Some(job) = shared.jobs.try_recv().unwrap() {
        let _permit = shared.permits.acquire().unwrap();
        *shared.total.lock().unwrap() += u64::from(job);
        shared.array.set(5, shared.array.get(5).unwrap() + 1).unwrap();
        shared.done.send(&job).unwrap();
    }
    shared.also.set().unwrap();
}

fn all_that_processes_share_arrives() -> Outcome {
    let shared = Shared {
        jobs: Queue::new().unwrap(),
        done: Queue::new().unwrap(),
        go: Event::new().unwrap(),
        also: EventFd::new().unwrap(),
        permits: Semaphore::new(1).unwrap(),
        total: Mutex::new(0).unwrap(),
        array: SharedArray::with_shape(&[2, 3]).unwrap(),
        frozen: SharedArray::from_slice(b"frozen").unwrap().freeze().unwrap(),
    };
    let children: Vec<_> = (0..3).map(|_| start_in(use_all_of_it, &shared)).collect();
    for job in 1..=100 {
        shared.jobs.send(&job).unwrap();
    }
    shared.go.set();
    let mut done: Vec<u32> = (0..100).map(|_| shared.done.recv_timeout(PATIENCE).unwrap().unwrap()).collect();
    done.sort_unstable();
    assert!(done.iter().copied().eq(1..=100));
    for child in children {
        child.output::<()>().unwrap();
    }
    assert_eq!((*shared.total.lock().unwrap(), shared.array.get(5).unwrap()), (5050, 100));
    assert!(shared.also.is_set().unwrap());
    assert_eq!(shared.permits.available(), 1);
    Passed
}

fn an_output_of_every_size_comes_back() -> Outcome {
    for length in [0, 511, 512, 513, 65_536, 5_000_000] {
        let text: String = start_in(|length: usize| "x".repeat(length), &length).output().unwrap();
        assert_eq!(text.len(), length);
    }
    // A handle among them is of no use beyond its process, and is refused there.
    let error = start_in(|()| Event::new().unwrap(), &()).output::<Event>().unwrap_err();
    assert!(matches!(error, common_ipc::process::JoinError::Encode { .. }), "{error:?}");
    Passed
}
