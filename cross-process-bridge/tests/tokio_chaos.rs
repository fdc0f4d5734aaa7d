//! Tasks of several runtimes, and threads, that do everything at once to one bridge, and a ledger of what has run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common_ipc::memory::SharedArray;
use cross_process_bridge::{BridgeError, Execution, Zygote, bridge};

cross_process_bridge::init_before_main!();

/// Writes into a ledger which calls have run.
struct Clerk {
    ledger: SharedArray<u64>,
}

#[bridge]
impl Clerk {
    fn new(ledger: SharedArray<u64>) -> Clerk {
        Clerk { ledger }
    }

    fn enter(&mut self, number: usize, microseconds: u64) -> usize {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
        std::thread::sleep(Duration::from_micros(microseconds));
        number
    }

    fn enter_long(&mut self, number: usize, bytes: &[u8], long: usize) -> Vec<u8> {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
        assert!(bytes.iter().all(|byte| *byte == number as u8));
        vec![number as u8; long]
    }

    #[bridge(one_way)]
    fn jot(&mut self, number: usize) {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
    }
}

struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const ENTRIES: usize = 1 << 20;
/// What takes longer hangs.
const LONGEST: Duration = Duration::from_secs(30);

struct Office {
    clerk: ClerkBridge,
    next: AtomicUsize,
    begin: Instant,
    time: Duration,
}

/// Which of the calls ran for certain, and which didn't.
type Told = (Vec<usize>, Vec<usize>);

fn note(told: &mut Told, number: usize, result: Result<(), Execution>) {
    match result {
        Ok(()) | Err(Execution::Ran) => told.0.push(number),
        Err(Execution::NotRun) => told.1.push(number),
        Err(Execution::Unknown) => {}
    }
}

impl Office {
    fn next(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < ENTRIES && self.begin.elapsed() < self.time).then_some(number)
    }

    async fn task(self: Arc<Office>, seed: u64) -> Told {
        let mut dice = Dice(seed);
        let shared = self.clerk.to_async();
        let mut told = Told::default();
        while let Some(number) = self.next() {
            let tasks = match dice.throw(3) {
                0 => shared.with_timeout(Duration::from_micros(dice.throw(3000))),
                1 => self.clerk.to_async(),
                _ => shared.clone(),
            };
            let length = 1 << dice.throw(20);
            let time = Duration::from_micros(dice.throw(1500));
            let mut needs_start = false;
            let result_of = |error: BridgeError| {
                needs_start = error.needs_start();
                error.execution()
            };
            let result = match dice.throw(100) {
                0..=9 => {
                    let bytes = vec![number as u8; length];
                    let call = tasks.enter_long(number, &bytes, 1 << dice.throw(20));
                    let long = tokio::time::timeout(LONGEST, call).await.unwrap();
                    long.map(|long| assert!(long.iter().all(|byte| *byte == number as u8))).map_err(result_of)
                }
                10..=19 => {
                    let sent = tokio::time::timeout(LONGEST, tasks.jot(number)).await.unwrap();
                    // It may not have come to that.
                    sent.map_err(result_of).and(Err(Execution::Unknown))
                }
                20..=39 => {
                    // Dropped wherever it is.
                    let _ = tokio::time::timeout(time, tasks.enter(number, dice.throw(500))).await;
                    Err(Execution::Unknown)
                }
                40 => {
                    let child = self.clerk.process().child();
                    let _ = child.map(|child| child.kill());
                    Err(Execution::NotRun)
                }
                41 => {
                    let _ = tokio::time::timeout(time, tasks.stop()).await;
                    Err(Execution::NotRun)
                }
                _ => {
                    let call = tokio::time::timeout(LONGEST, tasks.enter(number, 0)).await.unwrap();
                    call.map(|same| assert_eq!(same, number)).map_err(result_of)
                }
            };
            note(&mut told, number, result);
            if needs_start {
                tasks.start().await.unwrap();
            }
        }
        told
    }

    fn thread(&self) -> Told {
        let mut told = Told::default();
        while let Some(number) = self.next() {
            let result = self.clerk.enter(number, 10).map(|same| assert_eq!(same, number));
            let needs_start = result.as_ref().is_err_and(BridgeError::needs_start);
            note(&mut told, number, result.map_err(|error| error.execution()));
            if needs_start {
                self.clerk.start().unwrap();
            }
        }
        told
    }
}

#[test]
fn fault_47_whatever_tasks_do_at_once_what_ran_is_told() {
    let factor = std::env::var("MULTIPROCESS_STRESS").map_or(1, |factor| factor.parse().unwrap());
    let ledger = SharedArray::new(ENTRIES).unwrap();
    let clerk = ClerkBridge::new(ledger.clone());
    clerk.process().launch_in(&Zygote::global());
    clerk.start().unwrap();
    let time = Duration::from_secs(4) * factor;
    let office = Arc::new(Office { clerk, next: AtomicUsize::new(0), begin: Instant::now(), time });
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let tasks: Vec<_> = (1..=6).map(|seed| several.spawn(Arc::clone(&office).task(seed * 7919))).collect();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| office.thread());
        // Runtimes that come and go, in the midst of calls.
        let short = scope.spawn(|| {
            let mut dice = Dice(3);
            while office.begin.elapsed() < time {
                let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let office = Arc::clone(&office);
                one.block_on(async {
                    let tasks = [11, 12, 13].map(|seed| tokio::spawn(Arc::clone(&office).task(seed)));
                    tokio::time::sleep(Duration::from_millis(dice.throw(50))).await;
                    drop(tasks);
                });
                one.shutdown_timeout(Duration::from_millis(dice.throw(2)));
            }
        });
        for task in tasks {
            all.push(several.block_on(task).unwrap());
        }
        all.push(thread.join().unwrap());
        short.join().unwrap();
    });
    let _ = office.clerk.stop();
    let (mut ran, mut not_run) = (0, 0);
    for told in all {
        for number in told.0 {
            assert_eq!(ledger.get(number).unwrap(), 1, "{number}");
            ran += 1;
        }
        for number in told.1 {
            assert_eq!(ledger.get(number).unwrap(), 0, "{number}");
            not_run += 1;
        }
    }
    assert!((0..ENTRIES).all(|number| ledger.get(number).unwrap() <= 1));
    println!("{ran} {not_run}");
    assert!(ran > 0);
}
