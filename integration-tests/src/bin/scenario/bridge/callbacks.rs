//! Closures that are lent to methods behind a bridge: by fork, from a template and from a zygote.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use common_ipc::process::Signal;
use cross_process_bridge::{BridgeError, Execution, Timeout, bridge};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Awkward, BEGUN, DROPPED, Death, ENDED, Tally, die, status_of, tally};
use crate::servers::zygote;

scenarios![
    closures_of_every_kind_are_called,
    a_closure_may_borrow_what_only_this_thread_has,
    a_panic_of_a_closure_goes_on_in_the_caller,
    a_method_may_catch_the_panic_of_a_closure,
    fault_16_what_a_closure_returns_cannot_be_serialised,
    fault_46_a_closure_that_calls_the_bridge,
    other_threads_are_told_at_once_while_a_closure_runs,
    a_closure_that_uses_another_bridge,
    fault_14_deaths_in_each_phase_of_a_call_with_closures,
    fault_47_a_kill_at_any_moment_of_a_call_with_closures,
    fault_49_the_time_is_for_the_whole_call,
    a_stop_a_restart_and_a_kill_within_a_closure,
    a_stop_from_another_thread_while_a_closure_runs,
    a_panic_of_the_method_between_its_closures,
];

struct Worker {
    tally: Tally,
    total: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.count(DROPPED);
    }
}

impl Worker {
    fn count(&self, place: usize) {
        self.tally.set(place, self.tally.get(place).unwrap() + 1).unwrap();
    }
}

#[bridge]
impl Worker {
    fn new(tally: Tally) -> Worker {
        Worker { tally, total: 0 }
    }

    fn echo(&self, number: u64) -> u64 {
        number
    }

    #[bridge(one_way)]
    fn note(&mut self) {
        self.total += 1;
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        0..
    }

    /// Counts what it does.
    fn steps(&mut self, count: u64, mut progress: impl FnMut(u64) -> u64) -> u64 {
        self.count(BEGUN);
        let sum = (0..count).map(&mut progress).sum();
        self.count(ENDED);
        sum
    }

    fn texts(&self, texts: &[String], visit: &mut dyn FnMut(&str, usize) -> bool) -> Vec<String> {
        let kept = texts.iter().zip(0..).filter(|(text, number)| visit(text, *number));
        kept.map(|(text, _)| text.clone()).collect()
    }

    fn two<F>(&self, first: F, second: &dyn Fn(&[u8]) -> Vec<u8>, list: &mut Vec<Vec<u8>>)
    where
        F: Fn(u8) -> Option<Vec<u8>>,
    {
        for number in 0..3 {
            list.extend(first(number).map(|bytes| second(&bytes)));
        }
    }

    fn perhaps(&self, visit: Option<&mut dyn FnMut()>, make: Option<impl Fn(u64) -> u64>) -> u64 {
        if let Some(visit) = visit {
            visit();
        }
        make.map_or(0, |make| make(make(2)))
    }

    fn on_its_own(mut sum: impl FnMut(u64) -> u64) -> u64 {
        (0..10).map(&mut sum).max().unwrap_or_default()
    }

    /// Goes on when a closure has panicked.
    fn catches(&mut self, mut closure: impl FnMut(u64) -> u64) -> (bool, bool) {
        let mut fails = |number| catch_unwind(AssertUnwindSafe(|| closure(number))).is_err();
        let fails = (fails(0), fails(1));
        self.count(ENDED);
        fails
    }

    fn awkward(&mut self, kind: u8, mut closure: impl FnMut(Awkward) -> Awkward) -> Awkward {
        self.count(BEGUN);
        closure(match kind {
            0 => Awkward::Plain,
            1 => Awkward::CannotBeWritten,
            _ => Awkward::PanicsWhenWritten,
        })
    }

    fn dies_before(&mut self, death: Death, mut closure: impl FnMut()) {
        self.count(BEGUN);
        die(death);
        closure();
    }

    fn dies_after(&mut self, death: Death, mut closure: impl FnMut()) {
        closure();
        self.count(BEGUN);
        die(death);
    }

    fn panics_between(&mut self, mut closure: impl FnMut(u64)) {
        closure(1);
        panic!("between closures");
    }

    fn works(&mut self, milliseconds: u64, mut closure: impl FnMut()) {
        self.count(BEGUN);
        closure();
        std::thread::sleep(Duration::from_millis(milliseconds));
        closure();
        self.count(ENDED);
    }
}

fn each(check: impl Fn(&WorkerBridge, &Tally)) -> Outcome {
    let zygote = zygote();
    let new = || {
        let tally = tally();
        (WorkerBridge::new(tally.clone()), tally)
    };
    let (forked, copied, sent) = (new(), new(), new());
    copied.0.process().launch_from_template().unwrap();
    sent.0.process().launch_in(&zygote);
    for (worker, tally) in [forked, copied, sent] {
        worker.start().unwrap();
        check(&worker, &tally);
        let _ = worker.stop();
    }
    Passed
}

fn assert_busy<T>(called: Result<T, BridgeError>) {
    let Err(error) = called else { panic!("it was carried out") };
    assert!(matches!(error, BridgeError::Busy { .. }), "{error}");
    assert_eq!(error.execution(), Execution::NotRun);
}

fn closures_of_every_kind_are_called() -> Outcome {
    each(|worker, _| {
        assert_eq!(worker.steps(1000, |number| number * 2).unwrap(), 999_000);
        assert_eq!(worker.steps(0, |_| unreachable!()).unwrap(), 0);
        let mut seen = Vec::new();
        let texts = ["a".to_owned(), "b".repeat(100_000), String::new()];
        let kept = worker.texts(&texts, &mut |text, number| {
            seen.push((text.len(), number));
            text.len() < 2
        });
        assert_eq!(kept.unwrap(), ["a", ""]);
        assert_eq!(seen, [(1, 0), (100_000, 1), (0, 2)]);
        let mut list = vec![vec![9]];
        let first = |number| (number != 1).then(|| vec![number; 3]);
        worker.two(first, &|bytes| bytes.iter().map(|byte| byte + 1).collect(), &mut list).unwrap();
        assert_eq!(list, [vec![9], vec![1; 3], vec![3; 3]]);
        let mut calls = 0;
        assert_eq!(worker.perhaps(Some(&mut || calls += 1), Some(|number| number + 3)).unwrap(), 8);
        assert_eq!((calls, worker.perhaps(None, None::<fn(u64) -> u64>).unwrap()), (1, 0));
        assert_eq!(worker.on_its_own(|number| number ^ 1).unwrap(), 9);
    })
}

fn a_closure_may_borrow_what_only_this_thread_has() -> Outcome {
    each(|worker, _| {
        let (here, counter) = (std::thread::current().id(), Rc::new(Cell::new(0)));
        let mut list = Vec::new();
        let sum = worker.steps(100, |number| {
            assert_eq!(std::thread::current().id(), here);
            counter.set(counter.get() + number);
            list.push(number);
            1
        });
        assert_eq!((sum.unwrap(), counter.get(), list.len()), (100, 4950, 100));
    })
}

fn a_panic_of_a_closure_goes_on_in_the_caller() -> Outcome {
    each(|worker, tally| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            worker.steps(10, |number| if number == 3 { std::panic::panic_any("its own payload") } else { 0 })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "its own payload");
        // The method was unwound.
        assert_eq!((tally.get(BEGUN).unwrap(), tally.get(ENDED).unwrap()), (1, 0));
        assert_eq!(worker.echo(1).unwrap(), 1);
    })
}

fn a_method_may_catch_the_panic_of_a_closure() -> Outcome {
    each(|worker, tally| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            worker.catches(|number| if number == 0 { panic!("the first one") } else { number })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the first one");
        assert_eq!(tally.get(ENDED).unwrap(), 1);
        assert_eq!(worker.catches(|number| number).unwrap(), (false, false));
    })
}

fn fault_16_what_a_closure_returns_cannot_be_serialised() -> Outcome {
    each(|worker, tally| {
        for awkward in [Awkward::CannotBeWritten, Awkward::PanicsWhenWritten, Awkward::CannotBeRead] {
            let error = worker.awkward(0, |_| awkward.clone()).unwrap_err();
            match awkward {
                // A release build doesn't look at it before the other side does.
                Awkward::CannotBeRead => assert!(
                    matches!(error, BridgeError::Encode { .. } | BridgeError::Panicked { .. }),
                    "{error}"
                ),
                _ => assert!(matches!(error, BridgeError::Encode { .. }), "{error}"),
            }
            assert_eq!(error.execution(), Execution::Ran);
            assert_eq!(worker.echo(1).unwrap(), 1);
        }
        // With what it is called: that is the method's own mistake.
        for kind in [1, 2] {
            let error = worker.awkward(kind, |_| unreachable!()).unwrap_err();
            assert!(matches!(error, BridgeError::Panicked { .. }), "{error}");
            assert!(error.to_string().contains("can't be sent"), "{error}");
        }
        assert_eq!(worker.awkward(0, |item| item).unwrap(), Awkward::Plain);
        assert_eq!(tally.get(BEGUN).unwrap(), 6);
    })
}

fn fault_46_a_closure_that_calls_the_bridge() -> Outcome {
    each(|worker, _| {
        let sum = worker.steps(3, |number| {
            assert_busy(worker.echo(number));
            assert_busy(worker.clone().numbers());
            assert_busy(worker.note());
            assert_busy(worker.steps(1, |number| number));
            assert_busy(worker.with_timeout(Duration::from_secs(1)).on_its_own(|number| number));
            number
        });
        assert_eq!(sum.unwrap(), 3);
        assert_eq!(worker.echo(1).unwrap(), 1);
    })
}

fn other_threads_are_told_at_once_while_a_closure_runs() -> Outcome {
    each(|worker, _| {
        // The closure waits for who was told: if they had to wait for it, none would ever go on.
        let sum = worker.steps(3, |number| {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    let clone = worker.clone();
                    scope.spawn(move || assert_busy(clone.echo(number)));
                }
            });
            number
        });
        assert_eq!(sum.unwrap(), 3);
        // Some of them on their way when it begins.
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for number in 0..1000 {
                            match worker.echo(number) {
                                Ok(came) => assert_eq!(came, number),
                                called => assert_busy(called),
                            }
                        }
                    })
                })
                .collect();
            while callers.iter().any(|caller| !caller.is_finished()) {
                assert_eq!(worker.steps(4, |number| number).unwrap(), 6);
            }
        });
    })
}

fn a_closure_that_uses_another_bridge() -> Outcome {
    let other = WorkerBridge::new(tally());
    other.start().unwrap();
    let passed = each(|worker, _| {
        let sum = worker.steps(5, |number| {
            let inner = other.steps(number, |number| other.process().pid().map_or(0, |_| number)).unwrap();
            let taken: u64 = other.numbers().unwrap().take(3).map(Result::unwrap).sum();
            // A stream of this one can't be had, nor can the other's while one is open.
            let open = other.numbers().unwrap();
            assert_busy(other.echo(1));
            assert_busy(worker.numbers());
            drop(open);
            inner + taken
        });
        assert_eq!(sum.unwrap(), 10 + 15);
    });
    other.stop().unwrap();
    passed
}

fn fault_14_deaths_in_each_phase_of_a_call_with_closures() -> Outcome {
    for (death, signal) in
        [(Death::Kill, Signal::KILL), (Death::Abort, Signal::ABRT), (Death::Segfault, Signal::SEGV)]
    {
        each(|worker, tally| {
            let told = |error: BridgeError| {
                assert_eq!(status_of(&error).signal(), Some(signal), "{error}");
                assert_eq!(error.execution(), Execution::Unknown);
                worker.start().unwrap();
            };
            told(worker.dies_before(death, || unreachable!()).unwrap_err());
            let mut calls = 0;
            told(worker.dies_after(death, || calls += 1).unwrap_err());
            assert_eq!((calls, tally.get(BEGUN).unwrap()), (1, 2));
        });
    }
    // Within the closure.
    each(|worker, _| {
        let error = worker.works(0, || worker.process().child().unwrap().kill().unwrap()).unwrap_err();
        assert_eq!((status_of(&error).signal(), error.execution()), (Some(Signal::KILL), Execution::Unknown));
        worker.start().unwrap();
        // It has its panic all the same.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            worker.works(0, || {
                worker.process().child().unwrap().kill().unwrap();
                panic!("after the kill");
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "after the kill");
        let error = worker.echo(1).unwrap_err();
        assert_eq!(status_of(&error).signal(), Some(Signal::KILL));
    })
}

fn fault_47_a_kill_at_any_moment_of_a_call_with_closures() -> Outcome {
    each(|worker, tally| {
        let mut in_the_midst = 0;
        for round in 0..60 * u64::from(stress_factor()) {
            worker.start().unwrap();
            let child = worker.process().child().unwrap();
            let begun_before = tally.get(BEGUN).unwrap();
            let ended_before = tally.get(ENDED).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(round % 30 * 60));
                    child.kill().unwrap();
                });
                let (mut returned, mut calls);
                returned = 0;
                let error = loop {
                    calls = 0;
                    match worker.steps(round % 4, |number| {
                        calls += 1;
                        number
                    }) {
                        Ok(_) => returned += 1,
                        Err(error) => break error,
                    }
                };
                assert_eq!(status_of(&error).signal(), Some(Signal::KILL), "{error}");
                let begun = tally.get(BEGUN).unwrap() - begun_before;
                let ended = tally.get(ENDED).unwrap() - ended_before;
                match error.execution() {
                    Execution::NotRun => assert_eq!((begun, ended, calls), (returned, returned, 0)),
                    Execution::Unknown => {
                        assert!(begun - returned <= 1, "{begun} {returned}");
                        in_the_midst += u32::from(begun > returned);
                    }
                    Execution::Ran => panic!("nobody can know that: {error}"),
                }
            });
        }
        assert!(in_the_midst > 0, "no call was under way: the test proves nothing");
    })
}

fn fault_49_the_time_is_for_the_whole_call() -> Outcome {
    each(|worker, tally| {
        let hasty = worker.with_timeout(Duration::from_millis(60));
        let mut calls = 0;
        // Each of its steps would have time enough.
        let error = hasty
            .steps(1_000_000, |number| {
                calls += 1;
                std::thread::sleep(Duration::from_millis(10));
                number
            })
            .unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { killed: false, .. }), "{error}");
        assert_eq!(error.execution(), Execution::Unknown);
        assert!(calls < 100, "{calls}");
        // It was unwound, since nobody lends it the closure any more.
        assert_eq!(worker.echo(1).unwrap(), 1);
        assert_eq!(tally.get(ENDED).unwrap(), 0);
        // Between its closures.
        let error = hasty.works(120, || ()).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
        assert_eq!(worker.echo(1).unwrap(), 1);
        assert_eq!(tally.get(ENDED).unwrap(), 0);
        let ruthless = worker.with_timeout(Timeout::after(Duration::from_millis(30)).and_kill());
        let error = ruthless.works(60_000, || ()).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { killed: true, .. }), "{error}");
        assert!(!worker.process().is_alive());
    })
}

fn a_stop_a_restart_and_a_kill_within_a_closure() -> Outcome {
    each(|worker, tally| {
        let begin = Instant::now();
        let error = worker.works(0, || worker.stop().unwrap()).unwrap_err();
        assert!(matches!(error, BridgeError::PeerDied { execution: Execution::Unknown, .. }), "{error}");
        // The method was unwound, and the object dropped.
        assert_eq!((tally.get(DROPPED).unwrap(), tally.get(ENDED).unwrap()), (1, 0));

        worker.start().unwrap();
        let mut is_first = true;
        let error = worker.works(0, || {
            if std::mem::take(&mut is_first) {
                worker.process().restart().unwrap();
                // The new object isn't occupied.
                assert_eq!(worker.echo(5).unwrap(), 5);
            }
        });
        let error = error.unwrap_err();
        assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
        assert_eq!(worker.echo(6).unwrap(), 6);

        let error = worker.works(0, || worker.process().kill().unwrap()).unwrap_err();
        assert_eq!(status_of(&error).signal(), Some(Signal::KILL), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(60));
    })
}

fn a_stop_from_another_thread_while_a_closure_runs() -> Outcome {
    each(|worker, tally| {
        std::thread::scope(|scope| {
            let error = worker.works(0, || {
                let stops = scope.spawn(|| worker.stop().unwrap());
                // It doesn't wait for the closure.
                assert!(proc::eventually(|| tally.get(DROPPED).unwrap() == 1));
                stops.join().unwrap();
            });
            let error = error.unwrap_err();
            assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
        });
    })
}

fn a_panic_of_the_method_between_its_closures() -> Outcome {
    each(|worker, _| {
        let mut seen = 0;
        let error = worker.panics_between(|number| seen = number).unwrap_err();
        assert!(matches!(error, BridgeError::Panicked { .. }), "{error}");
        assert!(error.to_string().contains("between closures"), "{error}");
        assert_eq!((seen, worker.echo(2).unwrap()), (1, 2));
    })
}
