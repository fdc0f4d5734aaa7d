//! Each system call of what the siblings do fails, and what they have started is killed at each of its calls: a life from
//! its start to its end each time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::process::{Signal, init};
use common_ipc::testing::Scope;
use cross_process_bridge::bridge;
use cross_process_bridge::manager::{Manager, SharedList};
use offspring::spawn;
use pkit::{Process, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError};

use crate::Outcome::{self, Passed};
use crate::injected::{Any, Operation, PROVOKED, any, injected};
use crate::pkit::supervisor::{builder, child};

scenarios![
    injected_each_call_of_a_task,
    injected_a_task_killed_at_each_of_its_calls,
    injected_each_call_of_a_process,
    injected_a_process_killed_at_each_of_its_calls,
    injected_each_call_of_a_bridge,
    injected_a_bridge_killed_at_each_of_its_calls,
    injected_each_call_of_a_pool_of_workers,
    injected_workers_killed_at_each_of_their_calls,
    injected_each_call_of_a_message_process,
    injected_a_message_process_killed_at_each_of_its_calls,
    injected_each_call_of_a_manager,
    injected_a_manager_killed_at_each_of_its_calls,
    injected_each_call_of_a_supervisor,
];

const PATIENCE: Duration = Duration::from_secs(20);

/// What a life is subject to.
#[derive(Clone, Copy)]
enum Fate {
    /// Calls of this process fail.
    CallsFail,
    /// The same of a life with a thread.
    CallsButForThreadsFail,
    /// Its processes are killed.
    ProcessesDie,
}

use Fate::{CallsButForThreadsFail, CallsFail, ProcessesDie};

/// A life that ends well, or in an error; the next one, to which nothing happens, ends well.
fn live(fate: Fate, mut life: impl FnMut() -> Result<(), Any>) -> Outcome {
    let injector = injected!();
    let life = std::cell::RefCell::new(&mut life);
    let mut operation = Operation {
        prepare: &mut || (),
        run: &mut |()| (life.borrow_mut())(),
        finish: &mut |(), outcome| {
            let again = || (life.borrow_mut())();
            match (fate, outcome) {
                (_, Err(_)) => again().unwrap(),
                // One that was killed in the last moment is met by the next life.
                (ProcessesDie, Ok(())) if PROVOKED.swap(false, Ordering::Relaxed) => {
                    again().or_else(|_| again()).unwrap();
                }
                (_, Ok(())) => {}
            }
        },
    };
    match fate {
        CallsFail => operation.fails_well(&injector, Scope::Here),
        CallsButForThreadsFail => operation.fails_well_but_for_threads(&injector),
        ProcessesDie => operation.is_killed_well(&injector, &[Signal::KILL]),
    }
    Passed
}

fn task() -> Result<(), Any> {
    let sum = any(any(spawn(|| (1..=100u32).sum::<u32>()))?.join())?;
    assert_eq!(sum, 5050);
    Ok(())
}

fn injected_each_call_of_a_task() -> Outcome {
    live(CallsFail, task)
}

fn injected_a_task_killed_at_each_of_its_calls() -> Outcome {
    live(ProcessesDie, task)
}

fn process() -> Result<(), Any> {
    let process = Process::builder().name("answer").build(|| 42u8);
    for _ in 0..2 {
        any(process.start_wait())?;
        assert_eq!(any(process.join())?, 42);
    }
    Ok(())
}

fn injected_each_call_of_a_process() -> Outcome {
    live(CallsFail, process)
}

fn injected_a_process_killed_at_each_of_its_calls() -> Outcome {
    live(ProcessesDie, process)
}

struct Adder(i64);

#[bridge]
impl Adder {
    fn new(number: i64) -> Adder {
        Adder(number)
    }

    fn add(&mut self, number: i64) -> i64 {
        self.0 += number;
        self.0
    }

    fn long(&self, length: usize) -> Vec<u8> {
        vec![1; length]
    }
}

fn adder() -> Result<(), Any> {
    let adder = AdderBridge::new(5);
    any(adder.start())?;
    assert_eq!(any(adder.add(3))?, 8);
    assert_eq!(any(adder.long(3 << 20))?.len(), 3 << 20);
    any(adder.stop())
}

fn injected_each_call_of_a_bridge() -> Outcome {
    live(CallsFail, adder)
}

fn injected_a_bridge_killed_at_each_of_its_calls() -> Outcome {
    live(ProcessesDie, adder)
}

fn workers() -> Result<(), Any> {
    // The keeper is among those that are killed.
    any(init())?;
    let pool = any(WorkerPool::builder(2).build())?;
    let pool = pool.task_timeout(PATIENCE);
    let tasks = (0..4u64).map(|number| pool.submit(|number: u64| number * number, number));
    let tasks = any(tasks.collect::<Result<Vec<_>, _>>())?;
    for (task, number) in tasks.into_iter().zip(0u64..) {
        assert_eq!(any(task.join())?, number * number);
    }
    any(pool.close())
}

fn injected_each_call_of_a_pool_of_workers() -> Outcome {
    live(CallsButForThreadsFail, workers)
}

fn injected_workers_killed_at_each_of_their_calls() -> Outcome {
    live(ProcessesDie, workers)
}

#[derive(Serialize, Deserialize)]
struct Doubler;

impl Backend for Doubler {
    type Command = u32;
    type Event = u32;

    fn handle(&mut self, cx: &mut Context<Self>, number: u32) -> Result<(), RemoteError> {
        cx.send_out(&(2 * number))?;
        Ok(())
    }
}

fn message_process() -> Result<(), Any> {
    let process = MessageProcess::new("doubler", Doubler);
    any(process.start())?;
    any(process.send(&21))?;
    assert_eq!(any(process.recv_timeout(PATIENCE))?.expect("in time"), 42);
    any(process.stop())?;
    Ok(())
}

fn injected_each_call_of_a_message_process() -> Outcome {
    live(CallsFail, message_process)
}

fn injected_a_message_process_killed_at_each_of_its_calls() -> Outcome {
    live(ProcessesDie, message_process)
}

fn manager() -> Result<(), Any> {
    let manager = any(Manager::start())?;
    let list: SharedList<String> = any(manager.list())?;
    any(list.append(&"one".to_owned()))?;
    assert_eq!(any(list.to_vec())?, ["one"]);
    any(manager.stop())?;
    Ok(())
}

fn injected_each_call_of_a_manager() -> Outcome {
    live(CallsFail, manager)
}

fn injected_a_manager_killed_at_each_of_its_calls() -> Outcome {
    live(ProcessesDie, manager)
}

fn injected_each_call_of_a_supervisor() -> Outcome {
    live(CallsButForThreadsFail, || {
        let sleep = || std::thread::sleep(Duration::from_secs(60));
        let supervisor = any(builder().child(child("sleeper", sleep)).start())?;
        any(supervisor.child("sleeper"))?;
        any(supervisor.stop()).map(drop)
    })
}
