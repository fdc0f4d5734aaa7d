//! Back ends that are tokio runtimes, by each way of starting them.

use std::thread;
use std::time::Duration;

use common_ipc::process::{Launch, LaunchOptions};
use integration_tests::{proc, stress_factor};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    AsyncBackMessageProcess, AsyncBackend, AsyncContext, EventSender, Execution, RemoteError, Reply, Signal,
    StopStep,
};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Death, die};
use crate::message::ways::{HANDLED, POST_RUN, PRE_RUN, Tally};
use crate::servers::zygote;

scenarios![
    a_back_end_of_tasks_serves,
    a_back_end_of_tasks_starts_again,
    fault_13_requests_of_a_back_end_of_tasks_that_dies,
    a_dropped_back_end_of_tasks_leaves_nothing,
    the_exit_of_the_program_ends_back_ends_of_tasks,
    fault_27_no_back_end_of_tasks_outlives_its_program,
    a_runtime_that_comes_after_the_fork,
    starts_and_ends_of_many_back_ends_of_tasks_leave_nothing,
];

#[derive(Serialize, Deserialize)]
enum Command {
    Number(u64),
    InTask { number: u64, milliseconds: u64, reply: Reply<u64> },
    Keep { reply: Reply<u64> },
    Block,
    Die(Death),
}

#[derive(Serialize, Deserialize)]
struct Probe {
    tally: Tally,
}

impl Probe {
    fn count(&self, place: usize) {
        self.tally.set(place, self.tally.get(place).unwrap() + 1).unwrap();
    }
}

impl AsyncBackend for Probe {
    type Command = Command;
    type Event = u64;

    fn pre_run(&mut self, _: &EventSender<u64>) -> Result<(), RemoteError> {
        self.count(PRE_RUN);
        Ok(())
    }

    async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        self.count(HANDLED);
        match command {
            Command::Number(number) => cx.send_out(&number).await?,
            Command::InTask { number, milliseconds, reply } => {
                cx.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    reply.send_async(&number).await?;
                    Ok(())
                });
            }
            Command::Keep { reply } => {
                cx.spawn(async move {
                    let _reply = reply;
                    std::future::pending().await
                });
            }
            Command::Block => {
                drop(tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(600))));
            }
            Command::Die(death) => die(death),
        }
        Ok(())
    }

    fn post_run(&mut self, _: &EventSender<u64>) -> Result<(), RemoteError> {
        self.count(POST_RUN);
        Ok(())
    }
}

struct Watched {
    process: AsyncBackMessageProcess<Probe>,
    tally: Tally,
}

impl Watched {
    fn new(name: &str) -> Watched {
        let tally = Tally::new(3).unwrap();
        Watched { process: AsyncBackMessageProcess::new(name, Probe { tally: tally.clone() }), tally }
    }

    fn by(
        self,
        way: impl FnOnce(AsyncBackMessageProcess<Probe>) -> AsyncBackMessageProcess<Probe>,
    ) -> Watched {
        Watched { process: way(self.process), tally: self.tally }
    }

    fn count(&self, place: usize) -> u64 {
        self.tally.get(place).unwrap()
    }

    fn in_task(&self, number: u64, milliseconds: u64) -> u64 {
        self.process.request(|reply| Command::InTask { number, milliseconds, reply }).unwrap()
    }
}

fn all_ways() -> [Watched; 3] {
    [
        Watched::new("forked"),
        Watched::new("copied").by(|process| process.launch_from_template().unwrap()),
        Watched::new("sent").by(|process| process.launch_in(&zygote())),
    ]
}

fn started() -> Watched {
    let watched = Watched::new("probe");
    watched.process.start().unwrap();
    watched
}

fn a_back_end_of_tasks_serves() -> Outcome {
    for watched in all_ways() {
        watched.process.start().unwrap();
        let pid = watched.process.pid().unwrap();
        thread::scope(|scope| {
            let front = watched.process.front();
            let slow =
                scope.spawn(|| front.request(|reply| Command::InTask { number: 7, milliseconds: 40, reply }));
            for number in 0..200 {
                front.send(&Command::Number(number)).unwrap();
            }
            for number in 0..200 {
                assert_eq!(front.recv().unwrap(), number);
            }
            assert_eq!(slow.join().unwrap().unwrap(), 7);
        });
        assert_eq!(watched.count(HANDLED), 201);
        let stopped = watched.process.stop().unwrap();
        assert_eq!((stopped.by, stopped.status.success()), (StopStep::EndedByItself, true));
        assert!(!proc::runs(pid as i32));
        assert_eq!((watched.count(PRE_RUN), watched.count(POST_RUN)), (1, 1));
    }
    Passed
}

fn a_back_end_of_tasks_starts_again() -> Outcome {
    for watched in all_ways() {
        for round in 1..=3 {
            watched.process.start().unwrap();
            assert_eq!(watched.in_task(round, 0), round);
            match round {
                1 => watched.process.child().unwrap().kill().unwrap(),
                _ => drop(watched.process.stop().unwrap()),
            }
            assert!(watched.process.wait_stop_timeout(Duration::from_secs(20)).unwrap().is_some());
        }
        assert_eq!((watched.count(PRE_RUN), watched.count(POST_RUN)), (3, 2));
    }
    Passed
}

fn fault_13_requests_of_a_back_end_of_tasks_that_dies() -> Outcome {
    for death in [Death::Kill, Death::Abort, Death::Segfault, Death::StackOverflow, Death::Exit] {
        let watched = started();
        let front = watched.process.front();
        thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| front.request(|reply| Command::Keep { reply }))).collect();
            assert!(proc::eventually(|| watched.count(HANDLED) == 4));
            front.send(&Command::Die(death)).unwrap();
            for asked in asking {
                let error = asked.join().unwrap().unwrap_err();
                let status = &error.ended().unwrap().status;
                match death {
                    Death::Exit => assert!(status.code().is_some(), "{error}"),
                    _ => assert!(status.signal().is_some(), "{error}"),
                }
                assert_eq!(error.execution(), Execution::Unknown);
            }
        });
    }
    Passed
}

fn a_dropped_back_end_of_tasks_leaves_nothing() -> Outcome {
    for watched in all_ways() {
        watched.process.start().unwrap();
        watched.process.send(&Command::Block).unwrap();
        watched.process.send(&Command::Number(1)).unwrap();
        assert_eq!(watched.process.recv().unwrap(), 1);
        let pid = watched.process.pid().unwrap();
        let Watched { process, tally } = watched;
        drop(process);
        assert!(!proc::runs(pid as i32));
        assert_eq!(tally.get(POST_RUN).unwrap(), 1);
    }
    Passed
}

fn the_exit_of_the_program_ends_back_ends_of_tasks() -> Outcome {
    let tally = Tally::new(3).unwrap();
    let its_own = tally.clone();
    let program = Launch::new(&LaunchOptions::new())
        .start(move || {
            let process = AsyncBackMessageProcess::new("left", Probe { tally: its_own });
            process.start().unwrap();
            process.request(|reply| Command::InTask { number: 1, milliseconds: 0, reply }).unwrap();
            std::mem::forget(process);
        })
        .unwrap();
    program.output::<()>().unwrap();
    assert!(proc::eventually(|| tally.get(POST_RUN).unwrap() == 1));
    Passed
}

fn fault_27_no_back_end_of_tasks_outlives_its_program() -> Outcome {
    let tally = Tally::new(3).unwrap();
    let its_own = tally.clone();
    let program = Launch::new(&LaunchOptions::new())
        .start(move || -> () {
            let process = AsyncBackMessageProcess::new("orphan", Probe { tally: its_own });
            process.start().unwrap();
            process.request(|reply| Command::InTask { number: 1, milliseconds: 0, reply }).unwrap();
            // A handler that nobody answers, in the midst of which its program dies.
            process.request(|reply| Command::Keep { reply }).map(drop).unwrap();
        })
        .unwrap();
    assert!(proc::eventually(|| tally.get(HANDLED).unwrap() == 2));
    program.signal(Signal::KILL).unwrap();
    program.wait().unwrap();
    assert!(proc::eventually(|| tally.get(POST_RUN).unwrap() == 1));
    Passed
}

fn a_runtime_that_comes_after_the_fork() -> Outcome {
    let watched = started();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let process = &watched.process;
        for number in 0..100 {
            let milliseconds = number % 3;
            let asked = process.request_async(|reply| Command::InTask { number, milliseconds, reply }).await;
            assert_eq!(asked.unwrap(), number);
            process.send_async(&Command::Number(number)).await.unwrap();
            assert_eq!(process.recv_async().await.unwrap(), number);
        }
        assert_eq!(process.stop_async().await.unwrap().by, StopStep::EndedByItself);
        assert!(process.recv_async().await.unwrap_err().ended().unwrap().is_clean());
    });
    Passed
}

fn starts_and_ends_of_many_back_ends_of_tasks_leave_nothing() -> Outcome {
    for round in 0..30 * u64::from(stress_factor()) {
        let watched = started();
        watched.process.send(&Command::Number(round)).unwrap();
        match round % 3 {
            0 => drop(watched.process.stop().unwrap()),
            1 => watched.process.child().unwrap().kill().unwrap(),
            _ => assert_eq!(watched.process.recv().unwrap(), round),
        }
    }
    Passed
}
