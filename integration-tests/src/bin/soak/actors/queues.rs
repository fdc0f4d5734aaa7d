//! A queue into which several processes put items and from which several take them; both kinds are killed.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common_ipc::link::{LinkError, Queue};
use common_ipc::memory::{MemoryError, SharedAtomics};
use offspring::{Handle, JoinError, spawn_in};
use serde::{Deserialize, Serialize};

use crate::model::excuse;
use crate::model::tally::Count;
use crate::model::watch::Pulse;
use crate::stage::{Round, Stage, options};

const NAME: &str = "queues";
const ITEMS: usize = 1 << 15;
/// So many items are a producer's.
const SHARE: usize = 1 << 12;
const PRODUCERS: usize = 2;
const CONSUMERS: usize = 2;

/// What is known of each item: it was about to be sent, it was sent, so often it was received. And whether all is over.
#[derive(Clone, Serialize, Deserialize)]
struct Board(SharedAtomics);

#[derive(Clone, Copy)]
enum Fact {
    Tried,
    Sent,
    Got,
}

impl Board {
    fn new() -> Result<Board, MemoryError> {
        SharedAtomics::new(3 * ITEMS + 1).map(Board)
    }

    fn note(&self, fact: Fact, item: usize) {
        self.0[fact as usize * ITEMS + item % ITEMS].fetch_add(1, SeqCst);
    }

    fn is(&self, fact: Fact, item: usize) -> u64 {
        self.0[fact as usize * ITEMS + item].load(SeqCst)
    }

    fn is_over(&self) -> bool {
        self.0[3 * ITEMS].load(SeqCst) > 0
    }

    fn close(&self) {
        self.0[3 * ITEMS].store(1, SeqCst);
    }
}

/// A number, and bytes: some so many that they travel in memory of their own.
type Item = (u32, Vec<u8>);
type Given = (Board, Queue<Item>, usize);

/// Returns how many sends have failed.
fn produce((board, queue, first): Given) -> u64 {
    let mut failed = 0;
    for item in first..first + SHARE {
        let length = match item % 500 {
            0 => 100_000,
            n if n % 50 == 0 => 2_000,
            n => n % 40,
        };
        let message = (item as u32, vec![item as u8; length]);
        if item % 64 == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        board.note(Fact::Tried, item);
        loop {
            match queue.send_timeout(&message, Duration::from_millis(50)) {
                Ok(()) => break board.note(Fact::Sent, item),
                Err(LinkError::TimedOut) if !board.is_over() => {}
                Err(LinkError::TimedOut) => return failed,
                Err(_) => {
                    failed += 1;
                    break;
                }
            }
        }
        if board.is_over() {
            break;
        }
    }
    failed
}

/// Until all is over, and nothing is left. Returns how many receives have failed.
fn consume((board, queue, _): Given) -> u64 {
    let mut failed = 0;
    loop {
        // Looked at before: what was sent before the end is taken out.
        let is_over = board.is_over();
        match queue.recv_timeout(Duration::from_millis(10)) {
            Ok(Some(item)) => receive(&board, &item),
            Ok(None) if is_over => return failed,
            Ok(None) => {}
            Err(_) => failed += 1,
        }
    }
}

fn receive(board: &Board, (item, bytes): &Item) {
    // One that isn't whole counts as none.
    if bytes.iter().all(|byte| *byte == *item as u8) {
        board.note(Fact::Got, *item as usize);
    }
}

pub(crate) fn run(stage: &Stage) {
    let pulse = stage.pulse(NAME);
    while !stage.is_over() {
        let (Ok(board), Ok(queue)) = (Board::new(), Queue::new()) else {
            // There are no descriptors at this moment.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut play = Play { stage, pulse: &pulse, board, queue, next: 0, died: 0, taken: 0 };
        play.round();
        play.settle();
    }
    pulse.over();
}

struct Play<'a> {
    stage: &'a Stage,
    pulse: &'a Pulse,
    board: Board,
    queue: Queue<Item>,
    /// The first item that nobody has yet.
    next: usize,
    /// Consumers that were killed, each of which may have taken one item with it; and receives that have failed.
    died: u64,
    /// Received here.
    taken: u64,
}

impl Play<'_> {
    fn round(&mut self) {
        let round = Round::begin(self.stage);
        let (mut producers, mut consumers) = (Vec::new(), Vec::new());
        while round.goes_on() {
            while producers.len() < PRODUCERS && self.next + SHARE <= ITEMS {
                producers.extend(self.start(produce, self.next));
                self.next += SHARE;
            }
            if consumers.len() < CONSUMERS {
                consumers.extend(self.start(consume, 0));
            }
            self.take();
            self.pulse.at("look who has ended");
            self.collect(&mut producers, false);
            self.collect(&mut consumers, true);
            if producers.is_empty() && self.next + SHARE > ITEMS {
                break;
            }
        }
        self.board.close();
        while !producers.is_empty() || !consumers.is_empty() {
            self.take();
            self.pulse.at("the last ones");
            self.collect(&mut producers, false);
            self.collect(&mut consumers, true);
        }
        while self.take() {}
    }

    fn start(&mut self, body: fn(Given) -> u64, first: usize) -> Option<Handle<u64, Given>> {
        self.pulse.at("start");
        let given = (self.board.clone(), self.queue.clone(), first);
        match spawn_in(&self.stage.zygote, options(NAME), body, given) {
            Ok(handle) => {
                self.stage.tally.one(Count::Started);
                Some(handle)
            }
            Err(error) => {
                self.stage.not_started(NAME, &error, excuse::start(&self.stage.record, &error));
                None
            }
        }
    }

    /// Takes one item out, if one comes.
    fn take(&mut self) -> bool {
        self.pulse.at("recv_timeout");
        match self.queue.recv_timeout(Duration::from_millis(1)) {
            Ok(Some(item)) => {
                receive(&self.board, &item);
                self.taken += 1;
                true
            }
            Ok(None) => false,
            Err(error) => {
                // One with memory, while there was no descriptor for that: it stays where it is, or is lost.
                self.died += u64::from(matches!(error, LinkError::Lost));
                let is_explained = excuse::descriptors(&self.stage.record);
                self.stage.tally.check(is_explained, || format!("{NAME}: recv: {error}"));
                true
            }
        }
    }

    fn collect(&mut self, handles: &mut Vec<Handle<u64, Given>>, consumes: bool) {
        handles.retain(|handle| {
            let failed = match handle.try_wait() {
                Ok(None) => return true,
                Ok(Some(failed)) => failed,
                Err(JoinError::Died(status)) if status.signal().is_some() => 1,
                Err(error) => {
                    self.stage.tally.check(false, || format!("{NAME}: {error}"));
                    1
                }
            };
            self.died += if consumes { failed } else { 0 };
            self.stage.tally.one(Count::Ended);
            false
        });
    }

    /// Each item that was sent was received once, but for those that the dead had taken.
    fn settle(&self) {
        let tally = &self.stage.tally;
        let (mut missing, mut received) = (0, 0);
        for item in 0..ITEMS {
            let (tried, sent) = (self.board.is(Fact::Tried, item), self.board.is(Fact::Sent, item));
            let got = self.board.is(Fact::Got, item);
            received += got;
            if got > 1 {
                tally.wrong(Count::Double, || format!("{NAME}: item {item} came {got} times"));
            }
            tally.check(got == 0 || tried > 0, || format!("{NAME}: item {item} came, and was never sent"));
            missing += u64::from(sent > 0 && got == 0);
        }
        if missing > self.died {
            tally.wrong(Count::Lost, || {
                format!("{NAME}: {missing} items are missing, and {} were taken by those who died", self.died)
            });
        }
        tally.add(Count::Messages, received);
        tally.one(Count::Rounds);
    }
}
