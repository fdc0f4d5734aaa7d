//! A loop of offspring's that feeds a queue, which a back end of tokio tasks reads beside its commands.

use std::cell::Cell;
use std::rc::Rc;

use common_ipc::link::Queue;
use common_ipc::process::LaunchOptions;
use integration_tests::proc;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext, RemoteError, Reply};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;
use crate::together::loops::{FOR_EVER, Item, Seen, feed};
use crate::together::{PATIENCE, Way, pairs};

scenarios![
    together_a_loop_feeds_a_back_end_of_tasks,
    fault_13_together_a_loop_that_is_killed_and_the_back_end_of_tasks_it_fed,
    together_a_back_end_of_tasks_reads_what_two_loops_feed_to_two,
];

#[derive(Serialize, Deserialize)]
enum Command {
    Square { number: u64, reply: Reply<u64> },
    Seen { reply: Reply<Seen> },
}

#[derive(Serialize, Deserialize)]
struct Reader {
    queue: Queue<Item>,
    /// What the task that reads has seen.
    #[serde(skip)]
    seen: Rc<Cell<Seen>>,
}

impl AsyncBackend for Reader {
    type Command = Command;
    type Event = Seen;

    async fn async_pre(&mut self, cx: &AsyncContext<Self>) -> Result<(), RemoteError> {
        let (queue, shared, outlet) = (self.queue.clone(), Rc::clone(&self.seen), cx.clone());
        cx.spawn_background(async move {
            let mut seen = Seen::default();
            loop {
                seen.take(queue.recv_async().await?);
                if seen.fed.is_some() {
                    outlet.send_out(&std::mem::take(&mut seen)).await?;
                }
                shared.set(seen);
            }
        });
        Ok(())
    }

    async fn handle(&mut self, _: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Square { number, reply } => reply.send_async(&(number * number)).await?,
            Command::Seen { reply } => reply.send_async(&self.seen.get()).await?,
        }
        Ok(())
    }
}

type Process = AsyncBackMessageProcess<Reader>;

fn reader(way: Way, queue: &Queue<Item>) -> Process {
    let process = Process::new("reader", Reader { queue: queue.clone(), seen: Rc::default() });
    let process = match way {
        Way::Fork => process.launch_with(LaunchOptions::new().give(queue)),
        Way::Zygote => process.launch_in(&zygote()),
    };
    process.start().unwrap();
    process
}

fn heard(reader: &Process) -> Seen {
    reader.recv_timeout(PATIENCE).unwrap().expect("it tells")
}

/// Asks until it has seen more than this, and for other things meanwhile.
fn has_seen(reader: &Process, numbers: u64) -> bool {
    proc::eventually(|| {
        let square = reader.request_timeout(PATIENCE, |reply| Command::Square { number: 12, reply });
        assert_eq!(square.unwrap(), 144);
        reader.request_timeout(PATIENCE, |reply| Command::Seen { reply }).unwrap().numbers > numbers
    })
}

fn together_a_loop_feeds_a_back_end_of_tasks() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let reader = reader(above, &queue);
        let feeder = feed(below, &queue, 1000);
        assert_eq!(heard(&reader), Seen::all(1000));
        assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().success());
        let feeder = feed(below, &queue, FOR_EVER);
        assert!(has_seen(&reader, 500));
        assert!(feeder.shutdown().unwrap().status.success());
        let last = heard(&reader);
        assert_eq!(last, Seen::all(last.numbers));
        assert!(last.numbers > 500);
        assert!(reader.stop().unwrap().status.success());
    }
    Passed
}

fn fault_13_together_a_loop_that_is_killed_and_the_back_end_of_tasks_it_fed() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let reader = reader(above, &queue);
        for _ in 0..5 {
            let feeder = feed(below, &queue, FOR_EVER);
            assert!(has_seen(&reader, 50));
            feeder.kill().unwrap();
            assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().signal().is_some());
            // What it had sent is before this in the queue.
            queue.send(&Item::Last { fed: 0 }).unwrap();
            let seen = heard(&reader);
            assert!(seen.numbers > 50 && seen.out_of_turn == 0, "{seen:?}");
        }
        feed(below, &queue, 100);
        assert_eq!(heard(&reader), Seen::all(100));
        assert!(reader.stop().unwrap().status.success());
    }
    Passed
}

fn together_a_back_end_of_tasks_reads_what_two_loops_feed_to_two() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let readers = [reader(above, &queue), reader(below, &queue)];
        let feeders = [feed(above, &queue, 400), feed(below, &queue, 400)];
        for feeder in &feeders {
            assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().success());
        }
        // Each item was somebody's, and so was each end.
        let (mut told, mut ends, mut all) = (0, 0, 0);
        let is_all = || {
            all = told;
            for reader in &readers {
                all += reader.request_timeout(PATIENCE, |reply| Command::Seen { reply }).unwrap().numbers;
                while let Some(seen) = reader.try_recv().unwrap() {
                    told += seen.numbers;
                    ends += 1;
                }
            }
            all == 800 && ends == 2
        };
        assert!(proc::eventually(is_all), "{all} numbers, {ends} ends");
        for reader in readers {
            assert!(reader.stop().unwrap().status.success());
        }
    }
    Passed
}
