//! Many threads that do everything at once to one bridge, and a ledger of what has really run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common_ipc::memory::SharedArray;
use common_ipc::process::{Signal, active_children};
use cross_process_bridge::{BridgeError, Execution, Timeout, bridge};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios![fault_47_whatever_is_done_at_once_what_ran_is_told, ten_thousand_calls_and_deaths_leave_nothing,];

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

    fn panic(&mut self, number: usize) {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
        std::panic::resume_unwind(Box::new(number));
    }

    fn die(&mut self, number: usize) {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    fn finish(self, number: usize) -> usize {
        self.ledger.set(number, self.ledger.get(number).unwrap() + 1).unwrap();
        number
    }
}

struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// How often a call ran, by what its caller was told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Once,
    Never,
    AtMostOnce,
}

fn told<R>(result: &Result<R, BridgeError>) -> Told {
    match result.as_ref().map_err(BridgeError::execution) {
        Ok(_) | Err(Execution::Ran) => Told::Once,
        Err(Execution::NotRun) => Told::Never,
        Err(_) => Told::AtMostOnce,
    }
}

const ENTRIES: usize = 1 << 20;

fn fault_47_whatever_is_done_at_once_what_ran_is_told() -> Outcome {
    let time = Duration::from_secs(4) * stress_factor();
    let ledger = SharedArray::new(ENTRIES).unwrap();
    let clerk = ClerkBridge::new(ledger.clone());
    clerk.process().launch_in(&zygote());
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let work = |seed: u64| {
        let mut dice = Dice(seed);
        let mut all = Vec::new();
        while begin.elapsed() < time {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= ENTRIES {
                break;
            }
            let bridge = match dice.throw(4) {
                0 => clerk.with_timeout(Duration::from_micros(dice.throw(2000))),
                1 if dice.throw(50) == 0 => {
                    clerk.with_timeout(Timeout::after(Duration::from_micros(500)).and_kill())
                }
                _ => clerk.clone(),
            };
            let said = match dice.throw(1000) {
                0..=1 => told(&bridge.die(number)),
                2..=4 => told(&bridge.finish(number)),
                5..=20 => told(&bridge.panic(number)),
                21..=80 => {
                    let length = 1 << dice.throw(21);
                    let result = bridge.enter_long(number, &vec![number as u8; length], 1 << dice.throw(21));
                    assert!(result.iter().flatten().all(|byte| *byte == number as u8));
                    told(&result)
                }
                81..=200 => match bridge.jot(number) {
                    // It may not have come to that.
                    Ok(()) => Told::AtMostOnce,
                    error => told(&error),
                },
                201..=203 => {
                    let _ = clerk.process().stop_timeout(Duration::from_micros(dice.throw(3000)));
                    Told::Never
                }
                204 => {
                    let _ = clerk.process().restart_timeout(Duration::from_millis(dice.throw(3)));
                    Told::Never
                }
                205 => {
                    let _ = clerk.process().kill();
                    Told::Never
                }
                206 => {
                    if let Some(child) = clerk.process().child() {
                        let _ = child.signal(Signal::STOP);
                        std::thread::sleep(Duration::from_micros(dice.throw(2000)));
                        let _ = if dice.throw(2) == 0 { child.kill() } else { child.signal(Signal::CONT) };
                    }
                    Told::Never
                }
                207 => {
                    let _ = clerk.stop();
                    Told::Never
                }
                _ => {
                    let result = bridge.enter(number, if dice.throw(20) == 0 { dice.throw(1500) } else { 0 });
                    if let Ok(same) = &result {
                        assert_eq!(*same, number);
                    }
                    if result.as_ref().is_err_and(BridgeError::needs_start) {
                        clerk.start().unwrap();
                    }
                    told(&result)
                }
            };
            all.push((number, said));
        }
        all
    };
    let all: Vec<(usize, Told)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=6).map(|seed| scope.spawn(move || work(seed * 7919))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let _ = clerk.stop();
    drop(clerk);
    for (number, said) in &all {
        let ran = ledger.get(*number).unwrap();
        match said {
            Told::Once => assert_eq!(ran, 1, "{number}"),
            Told::Never => assert_eq!(ran, 0, "{number}"),
            Told::AtMostOnce => assert!(ran <= 1, "{number}"),
        }
    }
    let count = |told| all.iter().filter(|(_, said)| *said == told).count();
    println!("{} {} {}", count(Told::Once), count(Told::Never), count(Told::AtMostOnce));
    assert!(count(Told::Once) > 0 && active_children().is_empty());
    Passed
}

fn ten_thousand_calls_and_deaths_leave_nothing() -> Outcome {
    let ledger = SharedArray::new(8).unwrap();
    let clerk = ClerkBridge::new(ledger.clone());
    clerk.process().launch_in(&zygote());
    let rounds = 100 * u64::from(stress_factor());
    let mut before = None;
    for round in 0..rounds {
        clerk.start().unwrap();
        assert_eq!(clerk.enter(0, 0).unwrap(), 0);
        let _ = clerk.with_timeout(Duration::ZERO).enter(1, 0);
        let _ = clerk.with_timeout(Duration::from_micros(50)).enter_long(2, &vec![2; 1 << 20], 1 << 20);
        clerk.panic(3).unwrap_err();
        match round % 5 {
            0 => assert!(clerk.die(4).is_err()),
            1 => assert_eq!(clerk.clone().finish(5).unwrap(), 5),
            2 => clerk.process().kill().unwrap(),
            3 => clerk.process().restart().unwrap(),
            _ => clerk.stop().unwrap(),
        }
        let other = ClerkBridge::new(ledger.clone());
        other.process().launch_in(&zygote());
        other.start().unwrap();
        drop(other);
        if round == 20 {
            before = Some((std::fs::read_dir("/proc/self/fd").unwrap().count(), resident()));
        }
    }
    let _ = clerk.stop();
    if let Some((descriptors, memory)) = before {
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() <= descriptors);
        let now = resident();
        println!("{memory} KiB, then {now} KiB");
        assert!(now < memory + (4 << 10), "{memory} KiB, then {now} KiB");
    }
    Passed
}

fn resident() -> u64 {
    let text = proc::status_field(std::process::id() as i32, "VmRSS");
    text.split(' ').next().unwrap_or_default().parse().unwrap_or(0)
}
