//! What a manager keeps, used from several processes: each operation that was said to be done was done once.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::{MemoryError, SharedAtomics};
use cross_process_bridge::manager::{Manager, ManagerError, SharedList, SharedLock, SharedMap, SharedQueue};
use offspring::{Handle, JoinError, Stdio, spawn_in};
use serde::{Deserialize, Serialize};

use crate::model::excuse;
use crate::model::tally::{Count, Tally};
use crate::model::watch::Pulse;
use crate::stage::{ROUND, Round, Stage, options};

const NAME: &str = "managers";
const CLIENTS: usize = 2;
/// So many operations are one client's.
const SHARE: usize = 1 << 13;
const OPERATIONS: usize = SHARE * 16;
const MOMENT: Duration = Duration::from_millis(50);

/// What its client was told of each operation, and how often each item of the queue was received.
#[derive(Clone, Serialize, Deserialize)]
struct Board(SharedAtomics);

const TRIED: u64 = 1;
const DONE: u64 = 2;
const NOT_DONE: u64 = 3;
const HOLDER: usize = 2 * OPERATIONS;
const OVER: usize = HOLDER + 1;
const GAPS: usize = HOLDER + 2;

impl Board {
    fn new() -> Result<Board, MemoryError> {
        SharedAtomics::new(GAPS + 1).map(Board)
    }

    fn told(&self, operation: usize) -> u64 {
        self.0[operation].load(SeqCst)
    }

    fn tell(&self, operation: usize, told: u64) {
        self.0[operation].store(told, SeqCst);
    }

    fn is_over(&self) -> bool {
        self.0[OVER].load(SeqCst) > 0
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    list: SharedList<u32>,
    map: SharedMap<u32, u32>,
    queue: SharedQueue<u32>,
    lock: SharedLock,
    board: Board,
    tally: Tally,
}

impl Shared {
    fn make(manager: &Manager, board: Board, tally: Tally) -> Result<Shared, ManagerError> {
        let (list, map) = (manager.list()?, manager.map()?);
        let (queue, lock) = (manager.queue(100)?, manager.lock()?);
        Ok(Shared { list, map, queue, lock, board, tally })
    }

    /// One operation. Which one, its number says.
    fn operate(&self, number: usize) -> Result<(), ManagerError> {
        let value = number as u32;
        match number % 4 {
            0 => self.list.append(&value),
            1 => self.map.insert(&value, &value).map(drop),
            2 => {
                let sent = self.queue.send_timeout(&value, MOMENT);
                let received = self.queue.try_recv();
                match received {
                    Ok(item) => item.into_iter().for_each(|item| self.received(item)),
                    // It may have taken one.
                    Err(_) => drop(self.board.0[GAPS].fetch_add(1, SeqCst)),
                }
                sent
            }
            _ => {
                let guard = self.lock.lock_timeout(MOMENT)?;
                let holder = self.board.0[HOLDER].swap(value.into(), SeqCst);
                let is_alone = holder == 0 || guard.holder_died();
                self.tally.check(is_alone, || format!("{NAME}: {holder} and {value} have the lock at once"));
                self.board.0[HOLDER].store(0, SeqCst);
                Ok(())
            }
        }
    }

    fn received(&self, item: u32) {
        if let Some(count) = self.board.0.get(OPERATIONS + item as usize) {
            count.fetch_add(1, SeqCst);
        }
    }

    /// Writes down what it was told of an operation.
    fn carry_out(&self, number: usize) -> Result<(), ManagerError> {
        self.board.tell(number, TRIED);
        let result = self.operate(number);
        match result.as_ref().map_or_else(ManagerError::execution, |()| Execution::Ran) {
            Execution::NotRun => self.board.tell(number, NOT_DONE),
            Execution::Ran => self.board.tell(number, DONE),
            Execution::Unknown => {}
        }
        match &result {
            Ok(()) => self.tally.fine(),
            Err(error) => self.tally.failed(error.execution()),
        }
        result
    }
}

/// A client: operation after operation, until all is over or the manager is gone.
fn work((shared, first): Given) {
    for number in (first..first + SHARE).take_while(|_| !shared.board.is_over()) {
        if number % 16 == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        if shared.carry_out(number).is_err_and(|error| error.is_gone()) {
            return;
        }
    }
}

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    while !stage.is_over() {
        pulse.at("start a manager");
        let begun = Board::new().map_err(|_| None).and_then(|board| {
            let manager = Manager::builder().options(options(NAME)).start_in(&stage.zygote).map_err(Some)?;
            stage.tally.add_both(Count::Started, Count::Ended);
            let shared = Shared::make(&manager, board, stage.tally.clone()).map_err(Some)?;
            Ok((manager, shared))
        });
        match begun {
            Ok((manager, shared)) => {
                // A manager that is killed takes with it what could be looked at.
                let time = ROUND / 3 + random.up_to(ROUND / 3);
                let mut play =
                    Play { stage, pulse: &pulse, manager: &manager, shared, next: 0, died: 0, time };
                play.round();
                play.settle();
                pulse.at("stop");
                let _ = manager.stop();
            }
            Err(Some(error)) => stage.not_started(NAME, &error, is_of_a_fault(stage, &error)),
            Err(None) => stage.not_started(NAME, &"no memory for a board", true),
        }
        pulse.at("wait for all");
        stage.wait_for_all_of(NAME);
    }
    pulse.over();
}

fn is_of_a_fault(stage: &Stage, error: &ManagerError) -> bool {
    match error {
        ManagerError::Gone { .. } => true,
        ManagerError::Start(error) => excuse::start(&stage.record, error),
        ManagerError::Connection { .. } | ManagerError::Bridge(_) => excuse::descriptors(&stage.record),
        _ => false,
    }
}

type Given = (Shared, usize);

struct Play<'a> {
    stage: &'a Stage,
    pulse: &'a Pulse,
    manager: &'a Manager,
    shared: Shared,
    next: usize,
    time: Duration,
    /// Clients that were killed, each of which may have taken an item with it.
    died: u64,
}

impl Play<'_> {
    fn round(&mut self) {
        let round = Round::of(self.stage, self.time);
        let mut clients = Vec::new();
        let pid = self.manager.child().id();
        while round.goes_on() && self.next + SHARE <= OPERATIONS {
            if clients.len() < CLIENTS {
                clients.extend(self.start());
                continue;
            }
            // This process is one as well, for a while.
            let (first, turn) = (self.share(), Instant::now());
            for number in (first..first + SHARE).take_while(|_| turn.elapsed() < MOMENT) {
                let began = Instant::now();
                self.pulse.at(["append", "insert", "send and receive", "lock"][number % 4]);
                let Err(error) = self.shared.carry_out(number) else { continue };
                let is_true =
                    matches!(error, ManagerError::Timeout { .. }) || is_of_a_fault(self.stage, &error);
                self.stage.tally.check(is_true, || format!("{NAME}: {error}"));
                if error.is_gone() {
                    self.stage.blocked.note(NAME, &self.stage.record, pid, began);
                    break;
                }
            }
            std::thread::sleep(MOMENT);
            self.collect(&mut clients);
            if !self.manager.child().is_alive().unwrap_or(false) {
                break;
            }
        }
        self.shared.board.0[OVER].store(1, SeqCst);
        while !clients.is_empty() {
            self.pulse.at("the last clients");
            std::thread::sleep(Duration::from_millis(1));
            self.collect(&mut clients);
        }
    }

    fn share(&mut self) -> usize {
        self.next += SHARE;
        self.next - SHARE
    }

    fn start(&mut self) -> Option<Handle<(), Given>> {
        self.pulse.at("start a client");
        let given = (self.shared.clone(), self.share());
        // What it finds wrong it says.
        let options = options(NAME).stderr(Stdio::Inherit);
        match spawn_in(&self.stage.zygote, options, work, given) {
            Ok(client) => {
                self.stage.tally.one(Count::Started);
                Some(client)
            }
            Err(error) => {
                self.stage.not_started(NAME, &error, excuse::start(&self.stage.record, &error));
                None
            }
        }
    }

    fn collect(&mut self, clients: &mut Vec<Handle<(), Given>>) {
        clients.retain(|client| {
            match client.try_wait() {
                Ok(None) => return true,
                Ok(Some(())) => {}
                Err(JoinError::Died(status)) if status.signal().is_some() => self.died += 1,
                Err(error) => self.stage.tally.check(false, || format!("{NAME}: a client: {error}")),
            }
            self.stage.tally.one(Count::Ended);
            false
        });
    }

    /// What the manager has is what it was told to keep, unless it is gone with it.
    fn settle(&self) {
        let read = || -> Result<_, ManagerError> {
            self.pulse.at("read the list");
            let list = self.shared.list.to_vec()?;
            self.pulse.at("read the map");
            let map = self.shared.map.entries()?;
            self.pulse.at("empty the queue");
            while let Some(item) = self.shared.queue.recv_timeout(Duration::ZERO)? {
                self.shared.received(item);
            }
            Ok((list, map))
        };
        let (list, map) = match read() {
            Ok(read) => read,
            Err(error) => {
                let is_true = is_of_a_fault(self.stage, &error);
                return self.stage.tally.check(is_true, || format!("{NAME}: in the end: {error}"));
            }
        };
        let mut there = vec![0u64; OPERATIONS];
        let kept = list.into_iter().chain(map.into_iter().map(|(key, _)| key));
        kept.for_each(|number| there[number as usize % OPERATIONS] += 1);
        let mut missing = 0;
        for (number, count) in there.iter().enumerate() {
            let count =
                if number % 4 == 2 { self.shared.board.0[OPERATIONS + number].load(SeqCst) } else { *count };
            let tally = &self.stage.tally;
            if count > 1 {
                tally.wrong(Count::Double, || format!("{NAME}: {number} is there {count} times"));
            }
            match self.shared.board.told(number) {
                DONE if number % 4 == 2 => missing += u64::from(count == 0),
                DONE if number % 4 != 3 && count == 0 => {
                    tally.wrong(Count::Lost, || format!("{NAME}: {number} was done, and isn't there"));
                }
                NOT_DONE => tally.check(count == 0, || format!("{NAME}: {number} wasn't done, and is there")),
                0 => tally.check(count == 0, || format!("{NAME}: {number} was never tried, and is there")),
                _ => {}
            }
        }
        // Who dies may have been given one, and so may one whose receive has failed.
        let gone = self.died + self.shared.board.0[GAPS].load(SeqCst);
        if missing > gone {
            self.stage
                .tally
                .wrong(Count::Lost, || format!("{NAME}: {missing} items are missing, {gone} may be gone"));
        }
        self.stage.tally.one(Count::Rounds);
    }
}
