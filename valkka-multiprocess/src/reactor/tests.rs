use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// All that is ready at one poll, by its handler.
fn ready(reactor: &mut Reactor<&'static str>, timeout: Option<Duration>) -> Vec<&'static str> {
    reactor.poll(timeout).unwrap();
    std::iter::from_fn(|| reactor.next_ready().and_then(|id| reactor.get_mut(id).copied())).collect()
}

fn readable() -> (UnixStream, UnixStream) {
    let (end, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    (end, far)
}

#[test]
fn descriptors_and_timers_take_turns() {
    let mut reactor = Reactor::new().unwrap();
    assert_eq!(reactor.len(), 0);
    let ends = [readable(), readable(), readable()];
    for (end, _) in &ends {
        reactor.add_fd(end.as_fd(), "end").unwrap();
    }
    for _ in 0..2 {
        reactor.add_timer(Instant::now(), None, "timer");
    }
    assert_eq!(ready(&mut reactor, None), ["timer", "end", "timer", "end", "end"]);
    assert_eq!(ready(&mut reactor, None), ["end"; 3], "still readable; the timers had no period");
}

#[test]
fn the_end_of_the_other_side_can_be_read() {
    let mut reactor = Reactor::new().unwrap();
    let (end, far) = UnixStream::pair().unwrap();
    reactor.add_fd(end.as_fd(), "end").unwrap();
    assert!(ready(&mut reactor, NOW).is_empty());
    drop(far);
    assert_eq!(ready(&mut reactor, None), ["end"]);
}

#[test]
fn what_was_removed_is_not_ready_any_more() {
    let mut reactor = Reactor::new().unwrap();
    let ((one, _one_far), (two, _two_far)) = (readable(), readable());
    let first = reactor.add_fd(one.as_fd(), "one").unwrap();
    let second = reactor.add_fd(two.as_fd(), "two").unwrap();
    reactor.poll(None).unwrap();
    assert_eq!(reactor.next_ready(), Some(first));
    assert_eq!(reactor.remove(second), Some("two"));
    assert_eq!(reactor.next_ready(), None);
    assert_eq!(reactor.remove(second), None);
    // Another one in the same place is another one.
    let third = reactor.add_fd(two.as_fd(), "three").unwrap();
    assert!(third != second && reactor.get_mut(second).is_none());
    assert_eq!(reactor.remove(first), Some("one"));
    assert_eq!(reactor.remove(third), Some("three"));
    assert_eq!(reactor.len(), 0);
}

#[test]
fn a_timer_is_due_in_time_and_again() {
    let mut reactor = Reactor::new().unwrap();
    let (began, period) = (Instant::now(), Duration::from_millis(2));
    let id = reactor.add_timer(began + period, Some(period), "timer");
    for round in 1..4 {
        let due = reactor.next_deadline().unwrap();
        assert_eq!(ready(&mut reactor, None), ["timer"]);
        assert!(Instant::now() >= due && due >= began + period * round);
    }
    // Late by many periods.
    std::thread::sleep(period * 10);
    assert_eq!(ready(&mut reactor, None), ["timer"]);
    let phase = (reactor.next_deadline().unwrap() - began).as_nanos() % period.as_nanos();
    assert_eq!(phase, 0, "in the same rhythm");
    assert_eq!(reactor.remove(id), Some("timer"));
    assert_eq!(reactor.next_deadline(), None);
    assert!(ready(&mut reactor, Some(Duration::from_millis(1))).is_empty());
}

#[test]
fn a_queue_that_is_not_empty_is_not_waited_for() {
    let mut reactor = Reactor::new().unwrap();
    let (end, _far) = readable();
    reactor.add_timer(Instant::now(), None, "timer");
    reactor.poll(None).unwrap();
    reactor.poll(None).unwrap();
    reactor.add_fd(end.as_fd(), "end").unwrap();
    reactor.poll(None).unwrap();
    reactor.poll(None).unwrap();
    assert_eq!(ready(&mut reactor, None), ["timer", "end"], "each once");
}

#[test]
fn what_cannot_be_watched_is_an_error() {
    let mut reactor = Reactor::new().unwrap();
    let (end, _far) = readable();
    reactor.add_fd(end.as_fd(), "end").unwrap();
    assert!(matches!(reactor.add_fd(end.as_fd(), "again"), Err(WatchError::AlreadyWatched)));
    let file = File::open("/proc/self/exe").unwrap();
    assert!(matches!(reactor.add_fd(file.as_fd(), "file"), Err(WatchError::NotPollable)));
    assert_eq!(ready(&mut reactor, None), ["end"]);
}

#[test]
fn a_descriptor_that_was_closed_beneath_is_dropped() {
    let mut reactor = Reactor::new().unwrap();
    let (other, _other_far) = readable();
    let (end, _far) = readable();
    // What keeps the kernel's watch alive, as a copy in a child would.
    let copy = end.try_clone().unwrap();
    reactor.add_fd(other.as_fd(), "other").unwrap();
    let lost = reactor.add_fd(end.as_fd(), "end").unwrap();
    let number = end.as_raw_fd();
    drop(end);
    assert_eq!(ready(&mut reactor, None), ["other"]);
    assert_eq!(ready(&mut reactor, None), ["other"]);
    // Its number may be another one's by then: that one's watch has nothing to do with it.
    let mut spare = Vec::new();
    let next = loop {
        let next = copy.try_clone().unwrap();
        if next.as_raw_fd() == number || spare.len() == 50 {
            break next;
        }
        spare.push(next);
    };
    reactor.add_fd(next.as_fd(), "next").unwrap();
    assert_eq!(reactor.remove(lost), None);
    let mut both = ready(&mut reactor, None);
    both.sort_unstable();
    assert_eq!(both, ["next", "other"]);
}

#[test]
fn a_number_that_is_watched_anew_belongs_to_the_new_watch() {
    let mut reactor = Reactor::new().unwrap();
    let ((one, _one_far), (two, _two_far)) = (readable(), readable());
    let copy = one.try_clone().unwrap();
    let first = reactor.add_fd(one.as_fd(), "one").unwrap();
    // Under the number of `one` there is something else from now on, behind the reactor's back.
    let mut one = std::os::fd::OwnedFd::from(one);
    nix::unistd::dup2(&two, &mut one).unwrap();
    let second = reactor.add_fd(one.as_fd(), "two").unwrap();
    for _ in 0..2 {
        assert_eq!(ready(&mut reactor, None), ["two"]);
    }
    assert_eq!(reactor.remove(first), None);
    assert_eq!(ready(&mut reactor, None), ["two"]);
    assert_eq!(reactor.remove(second), Some("two"));
    drop(copy);
}

#[test]
fn more_than_one_batch_is_ready_by_turns() {
    let mut reactor = Reactor::new().unwrap();
    let ends: Vec<_> = (0..150).map(|_| readable()).collect();
    let ids: Vec<_> = ends.iter().map(|(end, _)| reactor.add_fd(end.as_fd(), "end").unwrap()).collect();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        reactor.poll(None).unwrap();
        seen.extend(std::iter::from_fn(|| reactor.next_ready()));
    }
    assert_eq!(seen.len(), ids.len());
}
