//! Rows 3 and 13: connections between processes one of which dies, whoever else has copies of its descriptors.

use std::time::Duration;

use common_ipc::link::{Connection, LinkError, safe_select};
use common_ipc::process::{Launch, LaunchOptions};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed};
use crate::link::connections::{is_closed, with};
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_03_a_copy_of_an_end_does_not_hide_its_owners_death,
    fault_03_an_end_that_moved_knows_whose_the_other_one_is,
    fault_03_an_end_that_moved_dies_with_its_new_owner,
    fault_03_who_only_sends_learns_of_a_death,
    fault_13_a_death_ends_every_call_with_an_error,
    fault_13_whole_messages_that_had_arrived_come_before_the_error,
);

/// A process that this one forks without the library, which keeps copies of all descriptors.
fn holder() -> i32 {
    raw::fork(|| {
        sleep_for_long();
        0
    })
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

fn fault_03_a_copy_of_an_end_does_not_hide_its_owners_death() -> Outcome {
    for used in [false, true] {
        let (here, there) = Connection::<u32, u32>::pair().unwrap();
        let (say, hear) = Connection::<u32, u32>::pair().unwrap();
        let options = LaunchOptions::new().give(&there).give(&hear);
        let child = Launch::new(&options).start(move || {
            if used {
                there.send(&1).unwrap();
            }
            // It keeps copies of both ends, and isn't a child of ours.
            hear.send(&(holder() as u32)).unwrap();
            sleep_for_long();
        });
        let child = child.unwrap();
        let grandchild = say.recv().unwrap() as i32;
        if used {
            assert_eq!(here.recv().unwrap(), 1);
        }
        child.kill().unwrap();
        assert!(is_closed(here.recv()));
        assert!(is_closed(here.send(&2)));
        assert!(is_closed(say.recv()));
        assert!(proc::runs(grandchild), "it was its death that closed the connection");
        end(grandchild);
        child.wait().unwrap();
    }
    Passed
}

fn fault_03_an_end_that_moved_knows_whose_the_other_one_is() -> Outcome {
    type Inner = Connection<u32, u32>;
    let (outer, far_outer) = Connection::<Inner, ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            there.send(&(holder() as u32)).unwrap();
            sleep_for_long();
        }
    });
    drop(there);
    // Whose the other end is was said before this one moves.
    let grandchild = here.recv().unwrap() as i32;
    assert!(here.try_recv().unwrap().is_none());
    outer.send(&here).unwrap();
    let moved = far_outer.recv().unwrap();
    // And on, to a child.
    let reader = with(&moved, {
        let moved = moved.clone();
        move || assert!(is_closed(moved.recv()))
    });
    drop(moved);
    child.kill().unwrap();
    reader.output::<()>().unwrap();
    assert!(proc::runs(grandchild));
    end(grandchild);
    child.wait().unwrap();
    Passed
}

fn fault_03_who_only_sends_learns_of_a_death() -> Outcome {
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let (say, hear) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there).give(&hear);
    let child = Launch::new(&options).start(move || {
        hear.send(&(holder() as u32)).unwrap();
        sleep_for_long();
        drop(there);
    });
    let child = child.unwrap();
    let grandchild = say.recv().unwrap() as i32;
    child.kill().unwrap();
    child.wait().unwrap();
    while let Ok(()) = here.send(&1) {}
    assert!(is_closed(here.send(&1)));
    assert!(proc::runs(grandchild));
    end(grandchild);
    Passed
}

fn fault_03_an_end_that_moved_dies_with_its_new_owner() -> Outcome {
    type Inner = Connection<u32, u32>;
    let (to_one, one_end) = Connection::<(), Inner>::pair().unwrap();
    let (to_other, other_end) = Connection::<Inner, u32>::pair().unwrap();
    let one = Launch::new(&LaunchOptions::new().give(&one_end)).start(move || {
        let (inner, far) = Inner::pair().unwrap();
        inner.send(&1).unwrap();
        one_end.send(&far).unwrap();
        // Its other end is here, and what becomes of it is for whoever has the far one to know.
        assert_eq!(inner.recv().unwrap(), 2);
        assert!(is_closed(inner.recv()));
        inner.send(&3).unwrap_err();
    });
    let one = one.unwrap();
    let other = Launch::new(&LaunchOptions::new().give(&other_end)).start(move || {
        let far = other_end.recv().unwrap();
        assert_eq!(far.recv().unwrap(), 1);
        far.send(&2).unwrap();
        other_end.send(&(holder() as u32)).unwrap();
        sleep_for_long();
    });
    let other = other.unwrap();
    // From one child by way of this process to another one, which then dies while a copy stays.
    to_other.send(&to_one.recv().unwrap()).unwrap();
    let grandchild = to_other.recv().unwrap() as i32;
    other.kill().unwrap();
    one.output::<()>().unwrap();
    assert!(proc::runs(grandchild));
    end(grandchild);
    other.wait().unwrap();
    Passed
}

/// What a child does that has the far end, and how it comes to its end.
fn deaths() -> Vec<(&'static str, fn())> {
    vec![
        ("is killed", || kill(Pid::this(), Signal::SIGKILL).unwrap()),
        ("aborts", || std::process::abort()),
        ("exits", || std::process::exit(3)),
        ("exits at once", || raw::exit_at_once()),
        ("returns", || {}),
    ]
}

fn fault_13_a_death_ends_every_call_with_an_error() -> Outcome {
    type End = Connection<String, String>;
    /// A call that the far end's death ends, after it was told that it may die.
    type Call = fn(&End) -> Result<(), LinkError>;
    let large = || "x".repeat(1 << 20);
    let calls: [(&str, Call); 6] = [
        ("recv", |end| end.recv().map(drop)),
        ("recv_timeout", |end| end.recv_timeout(Duration::from_secs(60)).map(|_| ())),
        ("send, for room", |end| {
            loop {
                end.send(&"x".repeat(1000))?;
            }
        }),
        ("send, half-way", |end| end.send(&"x".repeat(1 << 20))),
        ("send_timeout", |end| end.send_timeout(&"x".repeat(1 << 20), Duration::from_secs(60))),
        ("poll", |end| {
            while safe_select(&[std::os::fd::AsFd::as_fd(end)], None).unwrap().is_empty() {}
            loop {
                end.try_recv()?;
            }
        }),
    ];
    for (death, die) in deaths() {
        for (name, call) in calls {
            let (here, there) = End::pair().unwrap();
            let options = LaunchOptions::new().core_limit(0).stderr(common_ipc::process::Stdio::Null);
            let child = Launch::new(&options.give(&there)).start(move || {
                assert_eq!(there.recv().unwrap(), "die soon");
                // The call is under way by then, as a rule; when it isn't, it is a later one.
                std::thread::sleep(Duration::from_millis(20));
                die();
            });
            let child = child.unwrap();
            here.send(&"die soon".to_owned()).unwrap();
            let result = call(&here);
            assert!(is_closed(result), "{name} while the other side {death}");
            // And every later one.
            assert!(is_closed(here.recv()), "{name}, {death}");
            assert!(is_closed(here.send(&large())), "{name}, {death}");
            assert!(is_closed(here.try_recv()), "{name}, {death}");
            child.wait().unwrap();
            assert!(is_closed(here.try_send(&String::new())), "{name}, {death}");
        }
    }
    Passed
}

fn fault_13_whole_messages_that_had_arrived_come_before_the_error() -> Outcome {
    let mut arrived = 0;
    for round in 0..20 * stress_factor() {
        let (here, there) = Connection::<u32, u32>::pair().unwrap();
        let child = with(&there, {
            let there = there.clone();
            move || {
                for number in 0.. {
                    there.send(&number).unwrap();
                }
            }
        });
        drop(there);
        std::thread::sleep(Duration::from_micros(u64::from(round % 20) * 100));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut next = 0;
        let error = loop {
            match here.recv() {
                Ok(number) => assert_eq!(number, next),
                Err(error) => break error,
            }
            next += 1;
        };
        assert!(matches!(error, LinkError::Closed), "{error}");
        arrived += next;
    }
    assert!(arrived > 0, "none had arrived: the test proves nothing");
    Passed
}
