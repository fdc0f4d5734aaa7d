//! Loops of offspring's that feed queues, which others read: back ends, the program's loop, bridges, workers.

use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{Child, ExitStatus, LaunchOptions};
use cross_process_bridge::bridge;
use integration_tests::proc;
use offspring::{LoopStep, Subprocess, SubprocessLoop};
use pkit::WorkerPool;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MainLoop, MessageProcess, RemoteError};

use crate::Outcome::{self, Passed};
use crate::main_loop::sources::next;
use crate::servers::zygote;
use crate::together::{PATIENCE, WAYS, Way, pairs};
use crate::workers::result;

scenarios![
    together_a_loop_feeds_a_back_end,
    fault_13_together_a_loop_that_is_killed_and_the_back_end_it_fed,
    together_a_loop_feeds_the_programs_loop,
    together_loops_feed_bridges_and_workers,
    together_a_back_end_that_is_killed_leaves_the_rest_to_the_next,
];

/// What goes over a queue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Item {
    Number(u64),
    /// From the loop's end.
    Last {
        fed: u64,
    },
}

/// Numbers from 1 on, up to one of them or until it is told to stop.
#[derive(Serialize, Deserialize)]
pub(crate) struct Feeder {
    pub(crate) queue: Queue<Item>,
    pub(crate) up_to: u64,
    pub(crate) fed: u64,
}

impl SubprocessLoop for Feeder {
    fn step(&mut self) -> LoopStep {
        if self.fed == self.up_to {
            return LoopStep::Stop;
        }
        self.fed += 1;
        self.queue.send(&Item::Number(self.fed)).unwrap();
        LoopStep::After(Duration::ZERO)
    }

    fn end(&mut self) {
        self.queue.send(&Item::Last { fed: self.fed }).unwrap();
    }
}

/// A loop that feeds this queue.
pub(crate) fn feed(way: Way, queue: &Queue<Item>, up_to: u64) -> Child {
    let feeder = Feeder { queue: queue.clone(), up_to, fed: 0 };
    let task = match way {
        Way::Fork => feeder.spawn_with(LaunchOptions::new().give(queue)),
        Way::Zygote => feeder.spawn_in(&zygote(), LaunchOptions::new()),
    };
    task.unwrap().process().unwrap().clone()
}

/// Ends when it wants to.
pub(crate) const FOR_EVER: u64 = u64::MAX;

/// What a reader has seen when an end came: how many numbers, and whether they were all there were, each in its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) numbers: u64,
    pub(crate) out_of_turn: u64,
    pub(crate) fed: Option<u64>,
}

impl Seen {
    pub(crate) fn take(&mut self, item: Item) {
        match item {
            Item::Number(number) => {
                self.numbers += 1;
                self.out_of_turn += u64::from(number != self.numbers);
            }
            Item::Last { fed } => self.fed = Some(fed),
        }
    }

    pub(crate) fn all(count: u64) -> Seen {
        Seen { numbers: count, out_of_turn: 0, fed: Some(count) }
    }
}

/// Reads a queue beside its commands: one asks for what was seen so far.
#[derive(Serialize, Deserialize)]
struct Reader {
    queue: Queue<Item>,
    seen: Seen,
}

impl Backend for Reader {
    type Command = ();
    type Event = Seen;

    fn pre_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        cx.watch(self.queue.clone(), |reader, cx, queue| {
            let Some(item) = queue.try_recv()? else { return Ok(()) };
            reader.seen.take(item);
            if reader.seen.fed.is_some() {
                cx.send_out(&std::mem::take(&mut reader.seen))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn handle(&mut self, cx: &mut Context<Self>, (): ()) -> Result<(), RemoteError> {
        Ok(cx.send_out(&self.seen)?)
    }
}

fn reader(way: Way, queue: &Queue<Item>) -> MessageProcess<Reader> {
    let back = Reader { queue: queue.clone(), seen: Seen::default() };
    way.message("reader", back, LaunchOptions::new().give(queue))
}

fn heard(reader: &MessageProcess<Reader>) -> Seen {
    reader.recv_timeout(PATIENCE).unwrap().expect("it tells")
}

fn together_a_loop_feeds_a_back_end() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let reader = reader(above, &queue);
        // One that ends by itself, one that is told to, in the midst.
        let feeder = feed(below, &queue, 1000);
        assert_eq!(heard(&reader), Seen::all(1000));
        assert_eq!(feeder.wait_timeout(PATIENCE).unwrap(), Some(ExitStatus::Exited(0)));
        let feeder = feed(below, &queue, FOR_EVER);
        assert!(proc::eventually(|| {
            reader.send(&()).unwrap();
            heard(&reader).numbers > 500
        }));
        assert!(feeder.shutdown().unwrap().status.success());
        let last = heard(&reader);
        assert_eq!(last, Seen::all(last.numbers));
        assert!(last.numbers > 500);
        assert!(reader.stop().unwrap().status.success());
    }
    Passed
}

fn fault_13_together_a_loop_that_is_killed_and_the_back_end_it_fed() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let reader = reader(above, &queue);
        for _ in 0..5 {
            let feeder = feed(below, &queue, FOR_EVER);
            assert!(proc::eventually(|| {
                reader.send(&()).unwrap();
                heard(&reader).numbers > 50
            }));
            feeder.kill().unwrap();
            assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().signal().is_some());
            // Nobody's end ends a queue. What it had sent is before this in there.
            queue.send(&Item::Last { fed: 0 }).unwrap();
            let seen = heard(&reader);
            assert!(seen.numbers > 50 && seen.out_of_turn == 0, "{seen:?}");
        }
        // The next one is fed and ends as ever.
        feed(below, &queue, 100);
        assert_eq!(heard(&reader), Seen::all(100));
        assert!(reader.stop().unwrap().status.success());
    }
    Passed
}

fn together_a_loop_feeds_the_programs_loop() -> Outcome {
    #[derive(Debug)]
    enum Event {
        Item(Option<Item>),
        Ended,
    }
    for way in WAYS {
        let queue = Queue::new().unwrap();
        let mut main_loop = MainLoop::new().unwrap();
        main_loop.watch_fd(queue.clone(), |queue| Event::Item(queue.try_recv().unwrap())).unwrap();
        let feeders: Vec<_> = (0..2).map(|_| feed(way, &queue, 300)).collect();
        for feeder in &feeders {
            let copy = feeder.clone();
            // The descriptor of a child can be read for good once it has ended.
            main_loop.watch_fd(copy, |_| Event::Ended).unwrap();
        }
        let (mut sum, mut lasts, mut ends) = (0, 0, 0);
        while lasts < 2 || ends == 0 {
            match next(&mut main_loop) {
                Event::Item(Some(Item::Number(number))) => sum += number,
                Event::Item(Some(Item::Last { fed })) => lasts += u32::from(fed == 300),
                Event::Item(None) => {}
                Event::Ended => ends += 1,
            }
        }
        assert_eq!((sum, lasts), (2 * 300 * 301 / 2, 2));
        for feeder in feeders {
            assert_eq!(feeder.wait_timeout(PATIENCE).unwrap(), Some(ExitStatus::Exited(0)));
        }
    }
    Passed
}

struct Summing;

#[bridge]
impl Summing {
    fn new() -> Summing {
        Summing
    }

    /// Reads until a loop's end.
    fn sum(&self, queue: Queue<Item>) -> Result<(u64, u64), RemoteError> {
        sum(queue)
    }
}

fn sum(queue: Queue<Item>) -> Result<(u64, u64), RemoteError> {
    let mut sum = 0;
    loop {
        match queue.recv_timeout(PATIENCE)?.ok_or(RemoteError::msg("nothing came"))? {
            Item::Number(number) => sum += number,
            Item::Last { fed } => return Ok((sum, fed)),
        }
    }
}

fn together_loops_feed_bridges_and_workers() -> Outcome {
    zygote();
    let workers = WorkerPool::new(2).unwrap();
    for way in WAYS {
        let queues: Vec<_> = (0..3).map(|_| Queue::new().unwrap()).collect();
        let feeders: Vec<_> =
            (1..).zip(&queues).map(|(number, queue)| feed(way, queue, number * 100)).collect();
        let tasks = queues[..2].iter().map(|queue| workers.submit(sum, queue.clone()).unwrap());
        let tasks: Vec<_> = tasks.collect();
        let summing = SummingBridge::new();
        way.of_bridge(summing.process());
        let by_bridge = summing.scope(|summing| summing.sum(queues[2].clone()).unwrap().unwrap()).unwrap();
        let mut sums: Vec<_> = tasks.into_iter().map(|task| result(task).unwrap().unwrap()).collect();
        sums.push(by_bridge);
        assert_eq!(sums, [(5050, 100), (20_100, 200), (45_150, 300)]);
        for feeder in feeders {
            assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().success());
        }
    }
    workers.close().unwrap();
    Passed
}

fn together_a_back_end_that_is_killed_leaves_the_rest_to_the_next() -> Outcome {
    for (above, below) in pairs() {
        let queue = Queue::new().unwrap();
        let reader = reader(above, &queue);
        let feeder = feed(below, &queue, FOR_EVER);
        let mut numbers = 0;
        for _ in 0..3 {
            assert!(proc::eventually(|| {
                reader.send(&()).unwrap();
                numbers = heard(&reader).numbers;
                numbers > 50
            }));
            reader.child().unwrap().kill().unwrap();
            assert!(!reader.wait_stop_timeout(PATIENCE).unwrap().unwrap().is_clean());
            reader.start().unwrap();
        }
        // A loop whose reader is gone waits for room, and has lost nothing that it knows of.
        feeder.terminate().unwrap();
        let last = heard(&reader);
        assert!(last.fed.unwrap() > 150 && last.numbers < last.fed.unwrap(), "{last:?}");
        assert!(feeder.wait_timeout(PATIENCE).unwrap().unwrap().success());
        assert!(reader.stop().unwrap().status.success());
    }
    Passed
}
