//! Each system call of what processes have between them fails: connections, queues, events, locks, memory.

use std::time::Duration;

use common_ipc::link::{Bytes, Connection, LinkError, Queue};
use common_ipc::memory::{FrozenArray, MemoryError, SharedArray};
use common_ipc::process::{Child, Launch, LaunchOptions, Signal};
use common_ipc::sync::{Event, Mutex, Semaphore};
use common_ipc::testing::Scope;
use integration_tests::proc;

use crate::Outcome::{self, Passed};
use crate::injected::{Any, Operation, any, injected};

scenarios![
    injected_each_call_of_a_connection,
    injected_each_call_of_an_echo,
    injected_an_echo_killed_at_each_of_its_calls,
    injected_each_call_of_a_queue,
    injected_each_call_of_shared_memory,
    injected_each_call_of_what_is_waited_for,
];

const PATIENCE: Duration = Duration::from_secs(20);

type Ends = Connection<(u32, Bytes), (u32, Bytes)>;

/// Longer than the ring, so that it has to wait for room.
fn long() -> Bytes {
    Bytes::from(vec![7u8; 3 << 20])
}

fn echo() -> (Ends, Child) {
    let (here, there) = Ends::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(|| {
        while let Ok(message) = there.recv() {
            if there.send(&message).is_err() {
                break;
            }
        }
    });
    (here, child.unwrap())
}

fn there_and_back(here: &Ends) -> Result<(), LinkError> {
    for bytes in [Bytes::from(vec![1; 10]), long()] {
        here.send_timeout(&(1, bytes.clone()), PATIENCE)?;
        let (number, back) = here.recv_timeout(PATIENCE)?.expect("in time");
        assert!(number == 1 && back == bytes);
    }
    Ok(())
}

fn ends((here, child): (Ends, Child)) {
    drop(here);
    let ended = child.wait_timeout(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "it ends with its connection");
}

fn injected_each_call_of_a_connection() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (),
        run: &mut |()| Ends::pair().map(drop),
        finish: &mut |(), _| drop(Ends::pair().unwrap()),
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_each_call_of_an_echo() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut echo,
        run: &mut |(here, _)| there_and_back(here),
        finish: &mut |both, _| ends(both),
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_an_echo_killed_at_each_of_its_calls() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut echo,
        run: &mut |(here, _)| there_and_back(here),
        finish: &mut |(here, child), outcome| {
            if outcome.is_ok() {
                // All the same it may have been killed after its last reply.
                drop(here);
                let status = child.wait_timeout(PATIENCE).unwrap().expect("it ends with its connection");
                assert!(status.success() || status.signal() == Some(Signal::KILL), "{status}");
                return;
            }
            assert!(proc::eventually(|| !child.is_alive().unwrap()));
            here.recv_timeout(PATIENCE).expect_err("nobody is there");
        },
    }
    .is_killed_well(&injector, &[Signal::KILL]);
    Passed
}

fn injected_each_call_of_a_queue() -> Outcome {
    let injector = injected!();
    Operation::<_, _, LinkError> {
        prepare: &mut || Queue::<(u32, Bytes)>::new().unwrap(),
        run: &mut |queue| {
            drop(Queue::<u32>::new()?);
            queue.send_timeout(&(1, Bytes::from(vec![1; 10])), PATIENCE)?;
            queue.send_timeout(&(2, long()), PATIENCE)?;
            Ok([queue.recv_timeout(PATIENCE)?, queue.recv_timeout(PATIENCE)?]
                .map(|item| item.expect("in time").0))
        },
        finish: &mut |queue, outcome| {
            match outcome {
                Ok(numbers) => assert_eq!(numbers, [1, 2]),
                // What was sent is there, or was lost with the error; no half item is in the way of others.
                Err(_) => while queue.try_recv().unwrap().is_some() {},
            }
            queue.send_timeout(&(3, Bytes::default()), PATIENCE).unwrap();
            assert_eq!(queue.recv_timeout(PATIENCE).unwrap().unwrap().0, 3);
        },
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_each_call_of_shared_memory() -> Outcome {
    let injector = injected!();
    Operation::<_, _, MemoryError> {
        prepare: &mut || (),
        run: &mut |()| {
            let array = SharedArray::from_slice(&[1u32, 2, 3])?;
            let frozen: FrozenArray<u32> = array.freeze()?;
            Ok(frozen.iter().sum::<u32>())
        },
        finish: &mut |(), outcome| {
            if let Ok(sum) = outcome {
                assert_eq!(sum, 6);
            }
        },
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_each_call_of_what_is_waited_for() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (Event::new().unwrap(), Semaphore::new(2).unwrap(), Mutex::new(5u32).unwrap()),
        run: &mut |(event, semaphore, mutex)| {
            drop((any(Event::new())?, any(Semaphore::new(1))?, any(Mutex::new(1u32))?));
            event.set();
            any(event.wait_timeout(PATIENCE))?;
            event.clear();
            let _permit = any(semaphore.acquire_timeout(PATIENCE))?;
            let guard = any(mutex.lock_timeout(PATIENCE))?.expect("in time");
            Ok::<u32, Any>(*guard)
        },
        finish: &mut |(event, semaphore, mutex), outcome| {
            if let Ok(value) = outcome {
                assert_eq!(value, 5);
            }
            // Nothing is held any more.
            let permits = [semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap()];
            assert!(permits.iter().all(Option::is_some));
            assert_eq!(mutex.try_lock().unwrap().map(|guard| *guard), Some(5));
            event.set();
        },
    }
    .fails_well(&injector, Scope::Here);
    Passed
}
