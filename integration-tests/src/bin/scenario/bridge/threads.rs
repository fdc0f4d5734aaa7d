//! Objects whose methods are carried out by several threads: by fork, from a template and from a zygote.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common_ipc::process::Signal;
use cross_process_bridge::{BridgeError, Execution, Timeout, bridge};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{BEGUN, DROPPED, Death, ENDED, Tally, die, status_of, tally};
use crate::servers::zygote;

scenarios![
    fault_45_eight_callers_have_their_own_replies_from_four_threads,
    so_many_methods_run_at_once_and_no_more,
    a_method_that_changes_the_object_has_it_alone,
    a_method_that_changes_the_object_comes_in_its_turn,
    a_slow_method_beside_fast_ones,
    a_panic_in_one_thread_is_that_calls_error,
    fault_47_a_kill_under_load_from_several_threads,
    fault_14_a_crash_in_one_thread_is_told_to_all,
    fault_49_a_time_out_beside_other_calls,
    a_stop_waits_for_all_threads,
    a_restart_and_a_kill_beside_calls,
    a_method_that_takes_the_object_of_several_threads,
    the_end_of_the_last_handle_ends_all_threads,
];

struct Store {
    tally: Tally,
    inside: AtomicI64,
    most: AtomicI64,
    values: Vec<u64>,
    sum: AtomicU64,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.tally.set(DROPPED, self.tally.get(DROPPED).unwrap() + 1).unwrap();
    }
}

/// A method that is being carried out.
struct Inside<'a>(&'a Store);

impl<'a> Inside<'a> {
    fn of(store: &'a Store) -> Inside<'a> {
        let now = store.inside.fetch_add(1, Ordering::SeqCst) + 1;
        store.most.fetch_max(now, Ordering::SeqCst);
        Inside(store)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[bridge(threads = 4, traits(Debug), fields(values: Vec<u64>))]
impl Store {
    fn new(tally: Tally) -> Store {
        let (inside, most, sum) = (AtomicI64::new(0), AtomicI64::new(0), AtomicU64::new(0));
        Store { tally, inside, most, values: Vec::new(), sum }
    }

    fn echo(&self, number: u64) -> u64 {
        let _inside = Inside::of(self);
        self.sum.fetch_add(1, Ordering::Relaxed);
        number
    }

    fn text(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }

    fn sleep(&self, milliseconds: u64) -> u64 {
        let _inside = Inside::of(self);
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }

    /// Returns when another call of it is there.
    fn meet(&self, count: u64) {
        self.sum.fetch_add(1, Ordering::SeqCst);
        while self.sum.load(Ordering::SeqCst) < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn most(&self) -> i64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Takes its time between the look and the change.
    fn push(&mut self, value: u64) -> usize {
        assert_eq!(self.inside.fetch_add(100, Ordering::SeqCst), 0);
        let length = self.values.len();
        std::thread::yield_now();
        self.values.push(value);
        assert_eq!(self.values.len(), length + 1);
        assert_eq!(self.inside.fetch_sub(100, Ordering::SeqCst), 100);
        length
    }

    fn slow_push(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.values.push(milliseconds);
    }

    #[bridge(one_way)]
    fn note(&mut self, value: u64) {
        self.values.push(value);
    }

    fn seen(&self) -> usize {
        assert!(self.inside.load(Ordering::SeqCst) < 100);
        self.values.len()
    }

    fn panic(&self) {
        panic!("in one of the threads");
    }

    fn panic_alone(&mut self) {
        self.values.clear();
        panic!("in a change");
    }

    fn die(&self, death: Death) {
        die(death);
    }

    fn work(&self) -> u64 {
        let count = |place| {
            // Several do so at once.
            self.sum.fetch_add(1, Ordering::SeqCst);
            self.tally.set(place, self.sum.load(Ordering::SeqCst)).unwrap();
        };
        count(BEGUN);
        std::thread::sleep(Duration::from_micros(50));
        count(ENDED);
        1
    }

    fn threads() -> usize {
        proc::thread_names().iter().filter(|name| name.starts_with("calls-")).count()
    }

    fn finish(self, milliseconds: u64) -> usize {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.values.len()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

fn each(check: impl Fn(&StoreBridge, &Tally)) -> Outcome {
    let zygote = zygote();
    let new = || {
        let tally = tally();
        (StoreBridge::new(tally.clone()), tally)
    };
    let (forked, copied, sent) = (new(), new(), new());
    copied.0.process().launch_from_template().unwrap();
    sent.0.process().launch_in(&zygote);
    for (store, tally) in [forked, copied, sent] {
        store.start().unwrap();
        check(&store, &tally);
        let _ = store.stop();
    }
    Passed
}

fn fault_45_eight_callers_have_their_own_replies_from_four_threads() -> Outcome {
    each(|store, _| {
        let rounds = 10_000 * u64::from(stress_factor());
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let store = store.clone();
                scope.spawn(move || {
                    for round in 0..rounds {
                        let number = caller << 32 | round;
                        assert_eq!(store.echo(number).unwrap(), number);
                        if round % 1000 == 0 {
                            let text = store.text(&number.to_string(), 1000).unwrap();
                            assert_eq!(text, number.to_string().repeat(1000));
                        }
                    }
                });
            }
        });
        assert_eq!(store.threads().unwrap(), 3);
        assert_eq!(store.to_debug_string().unwrap(), "0 values");
    })
}

fn so_many_methods_run_at_once_and_no_more() -> Outcome {
    each(|store, _| {
        // Each of the four waits for the others.
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| store.meet(4).unwrap()))));
        std::thread::scope(|scope| (0..12).for_each(|_| drop(scope.spawn(|| store.sleep(5).unwrap()))));
        assert_eq!(store.most().unwrap(), 4);
    })
}

fn a_method_that_changes_the_object_has_it_alone() -> Outcome {
    each(|store, _| {
        let rounds = 300 * u64::from(stress_factor());
        std::thread::scope(|scope| {
            for caller in 0..8 {
                scope.spawn(move || {
                    for round in 0..rounds {
                        match (caller + round) % 4 {
                            0 => drop(store.push(round).unwrap()),
                            1 => store.note(round).unwrap(),
                            2 => drop(store.seen().unwrap()),
                            _ => drop(store.echo(round).unwrap()),
                        }
                    }
                });
            }
        });
        assert_eq!(store.seen().unwrap() as u64, rounds * 4);
        store.set_values(vec![1, 2]).unwrap();
        assert_eq!(store.values().unwrap(), [1, 2]);
    })
}

fn a_method_that_changes_the_object_comes_in_its_turn() -> Outcome {
    each(|store, _| {
        // However many others there are, all the time.
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let mut rounds = 0;
                        while store.seen().unwrap() < 50 {
                            store.sleep(1).unwrap();
                            rounds += 1;
                        }
                        rounds
                    })
                })
                .collect();
            for value in 0..50 {
                store.push(value).unwrap();
            }
            assert!(readers.into_iter().all(|reader| reader.join().is_ok()));
        });
        // And those behind it in theirs.
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| store.slow_push(50).unwrap());
            while !slow.is_finished() {
                store.echo(1).unwrap();
            }
        });
        assert_eq!(store.seen().unwrap(), 51);
    })
}

fn a_slow_method_beside_fast_ones() -> Outcome {
    each(|store, _| {
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| store.sleep(300).unwrap());
            let mut during = 0;
            while !slow.is_finished() {
                store.echo(during).unwrap();
                during += 1;
            }
            assert!(during > 20, "{during}");
        });
    })
}

fn a_panic_in_one_thread_is_that_calls_error() -> Outcome {
    each(|store, _| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..30 {
                        let error = store.panic().unwrap_err();
                        assert!(matches!(error, BridgeError::Panicked { .. }), "{error}");
                        assert_eq!(store.echo(round).unwrap(), round);
                        let error = store.panic_alone().unwrap_err();
                        assert!(error.to_string().contains("in a change"), "{error}");
                    }
                });
            }
        });
        assert_eq!(store.threads().unwrap(), 3);
        assert_eq!(store.push(1).unwrap(), 0);
    })
}

fn fault_47_a_kill_under_load_from_several_threads() -> Outcome {
    each(|store, _| {
        let mut in_the_midst = 0;
        for round in 0..15 * u64::from(stress_factor()) {
            store.start().unwrap();
            let child = store.process().child().unwrap();
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            loop {
                                if let Err(error) = store.work() {
                                    break error;
                                }
                            }
                        })
                    })
                    .collect();
                std::thread::sleep(Duration::from_micros(round * 300));
                child.kill().unwrap();
                let errors: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
                assert!(errors.iter().all(|error| status_of(error).signal() == Some(Signal::KILL)));
                // No more than there are threads, and one that has taken the next request.
                let unknown = errors.iter().filter(|error| error.execution() == Execution::Unknown).count();
                assert!(unknown <= 5, "{errors:?}");
                in_the_midst += unknown;
            });
        }
        assert!(in_the_midst > 0, "no call was under way: the test proves nothing");
    })
}

fn fault_14_a_crash_in_one_thread_is_told_to_all() -> Outcome {
    for (death, signal) in
        [(Death::Kill, Signal::KILL), (Death::Abort, Signal::ABRT), (Death::Segfault, Signal::SEGV)]
    {
        each(|store, _| {
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..3).map(|_| scope.spawn(|| store.sleep(600_000))).collect();
                std::thread::sleep(Duration::from_millis(20));
                let error = store.die(death).unwrap_err();
                assert_eq!(status_of(&error).signal(), Some(signal), "{error}");
                for caller in callers {
                    let error = caller.join().unwrap().unwrap_err();
                    assert_eq!(status_of(&error).signal(), Some(signal), "{error}");
                    assert_eq!(error.execution(), Execution::Unknown);
                }
            });
        });
    }
    Passed
}

fn fault_49_a_time_out_beside_other_calls() -> Outcome {
    each(|store, _| {
        let hasty = store.with_timeout(Duration::from_millis(20));
        let error = hasty.sleep(100).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { killed: false, .. }), "{error}");
        // Others aren't kept by it.
        assert_eq!(store.echo(1).unwrap(), 1);
        // One that wants the object alone waits for it.
        assert_eq!(store.push(1).unwrap(), 0);
        let ruthless = store.with_timeout(Timeout::after(Duration::from_millis(20)).and_kill());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| store.sleep(600_000).unwrap_err());
            std::thread::sleep(Duration::from_millis(10));
            let error = ruthless.sleep(600_000).unwrap_err();
            assert!(matches!(error, BridgeError::Timeout { killed: true, .. }), "{error}");
            assert_eq!(status_of(&other.join().unwrap()).signal(), Some(Signal::KILL));
        });
    })
}

fn a_stop_waits_for_all_threads() -> Outcome {
    each(|store, tally| {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| store.sleep(150))).collect();
            std::thread::sleep(Duration::from_millis(50));
            store.stop().unwrap();
            assert_eq!(tally.get(DROPPED).unwrap(), 1);
            for caller in callers {
                assert_eq!(caller.join().unwrap().unwrap(), 150);
            }
        });
        assert!(matches!(store.echo(1), Err(BridgeError::NotStarted { .. })));
    })
}

fn a_restart_and_a_kill_beside_calls() -> Outcome {
    each(|store, _| {
        for round in 0..6 {
            store.start().unwrap();
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..6).map(|_| scope.spawn(|| while store.work().is_ok() {})).collect();
                std::thread::sleep(Duration::from_millis(10));
                if round % 2 == 0 {
                    store.process().kill().unwrap();
                } else {
                    store.process().restart_timeout(Duration::from_secs(5)).unwrap();
                    store.stop().unwrap();
                }
                assert!(callers.into_iter().all(|caller| caller.join().is_ok()));
            });
        }
    })
}

fn a_method_that_takes_the_object_of_several_threads() -> Outcome {
    each(|store, _| {
        store.push(1).unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| store.sleep(200).unwrap());
            assert!(proc::eventually(|| store.most().unwrap() == 1), "it hasn't begun");
            // It waits for that.
            assert_eq!(store.clone().finish(10).unwrap(), 1);
            assert_eq!(slow.join().unwrap(), 200);
        });
        assert!(matches!(store.echo(1), Err(BridgeError::NotStarted { .. })));
    })
}

fn the_end_of_the_last_handle_ends_all_threads() -> Outcome {
    let tally = tally();
    let store = StoreBridge::new(tally.clone());
    store.start().unwrap();
    let clone = store.clone();
    store.with_timeout(Duration::from_millis(10)).sleep(100).unwrap_err();
    drop(store);
    assert_eq!(clone.echo(1).unwrap(), 1);
    drop(clone);
    assert_eq!(tally.get(DROPPED).unwrap(), 1);
    Passed
}
