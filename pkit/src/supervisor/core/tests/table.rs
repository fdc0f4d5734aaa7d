//! Who is started again: every strategy, every kind of restart, every kind of end.

use super::*;
use crate::supervisor::policy::Restart;

/// The child `b` of `a`, `b`, `c` has ended, and time has passed.
#[test]
fn who_is_started_again() {
    use Restart::{Permanent, Temporary, Transient};
    use Strategy::{OneForAll, OneForOne, RestForOne};
    let (normal, code, signal) = (ExitStatus::Exited(0), ExitStatus::Exited(1), KILLED);
    // Whom `b`'s end leaves running when all have its kind of restart, and when its siblings are permanent. What of
    // `b` itself comes again is in both.
    let table = [
        (OneForOne, Permanent, &normal, "a1 b2 c1", "a1 b2 c1"),
        (OneForOne, Permanent, &code, "a1 b2 c1", "a1 b2 c1"),
        (OneForOne, Permanent, &signal, "a1 b2 c1", "a1 b2 c1"),
        (OneForOne, Transient, &normal, "a1 c1", "a1 c1"),
        (OneForOne, Transient, &code, "a1 b2 c1", "a1 b2 c1"),
        (OneForOne, Transient, &signal, "a1 b2 c1", "a1 b2 c1"),
        (OneForOne, Temporary, &normal, "a1 c1", "a1 c1"),
        (OneForOne, Temporary, &code, "a1 c1", "a1 c1"),
        (OneForOne, Temporary, &signal, "a1 c1", "a1 c1"),
        (OneForAll, Permanent, &normal, "a2 b2 c2", "a2 b2 c2"),
        (OneForAll, Permanent, &code, "a2 b2 c2", "a2 b2 c2"),
        (OneForAll, Permanent, &signal, "a2 b2 c2", "a2 b2 c2"),
        (OneForAll, Transient, &normal, "a1 c1", "a1 c1"),
        (OneForAll, Transient, &code, "a2 b2 c2", "a2 b2 c2"),
        (OneForAll, Transient, &signal, "a2 b2 c2", "a2 b2 c2"),
        (OneForAll, Temporary, &normal, "a1 c1", "a1 c1"),
        (OneForAll, Temporary, &code, "a1 c1", "a1 c1"),
        (OneForAll, Temporary, &signal, "a1 c1", "a1 c1"),
        (RestForOne, Permanent, &normal, "a1 b2 c2", "a1 b2 c2"),
        (RestForOne, Permanent, &code, "a1 b2 c2", "a1 b2 c2"),
        (RestForOne, Permanent, &signal, "a1 b2 c2", "a1 b2 c2"),
        (RestForOne, Transient, &normal, "a1 c1", "a1 c1"),
        (RestForOne, Transient, &code, "a1 b2 c2", "a1 b2 c2"),
        (RestForOne, Transient, &signal, "a1 b2 c2", "a1 b2 c2"),
        (RestForOne, Temporary, &normal, "a1 c1", "a1 c1"),
        (RestForOne, Temporary, &code, "a1 c1", "a1 c1"),
        (RestForOne, Temporary, &signal, "a1 c1", "a1 c1"),
    ];
    for (strategy, restart, status, all_of_a_kind, among_permanent) in table {
        for (siblings, expected) in [(restart, all_of_a_kind), (Permanent, among_permanent)] {
            let kinds = [siblings, restart, siblings];
            let policies = kinds.map(|restart| Policy { restart, ..policy() }).to_vec();
            let mut world = World::new(strategy, often(), policies);
            assert_eq!(world.done(), "start a1, start b1, start c1");
            world.exits("b1", status.clone());
            world.pass(SECS(1));
            assert_eq!(world.runs(), expected, "{strategy:?} {restart:?} among {siblings:?}: {status}");
        }
    }
}

#[test]
fn a_group_has_a_member_of_each_kind() {
    use Restart::{Permanent, Temporary, Transient};
    for (strategy, before, after) in
        [(Strategy::OneForAll, "a1 b1 c1 d1", "a2 b2 c2"), (Strategy::RestForOne, "a1 b1 c1 d1", "a1 b2 c2")]
    {
        let kinds = [Transient, Permanent, Transient, Temporary];
        let policies = kinds.map(|restart| Policy { restart, ..policy() }).to_vec();
        let mut world = World::new(strategy, often(), policies);
        assert_eq!(world.runs(), before);
        world.exits("b1", KILLED);
        world.pass(SECS(1));
        assert_eq!(world.runs(), after, "a temporary one is stopped, and not started again");
    }
}

#[test]
fn a_transient_one_that_had_done_its_work_begins_anew_with_its_group() {
    let transient = Policy { restart: Restart::Transient, ..policy() };
    let mut world = World::new(Strategy::OneForAll, often(), vec![policy(), transient]);
    world.exits("b1", ExitStatus::Exited(0));
    world.pass(SECS(1));
    assert_eq!(world.runs(), "a1");
    world.exits("a1", KILLED);
    world.pass(SECS(1));
    assert_eq!(world.runs(), "a2 b2");
}
