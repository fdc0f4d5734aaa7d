//! A queue between processes: many senders, many receivers, and the death of any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common_ipc::link::{Bytes, LinkError, Queue, safe_select};
use common_ipc::process::{Child, Launch, LaunchOptions, Resource, Signal};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    every_item_of_many_senders_is_received_once,
    killed_senders_and_receivers_cost_what_was_in_their_hands,
    a_killed_receiver_that_waits_does_not_keep_others_asleep,
    a_full_queue_holds_up_its_sender_until_there_is_room,
    a_producer_faster_than_its_consumer_is_held_back,
    a_queue_that_is_only_captured_is_wrong_process,
    a_queue_is_given_to_grandchildren_and_sent_to_others,
    an_item_that_finds_no_descriptor_stays_in_the_queue,
    a_queue_keeps_its_deadlines_under_signals,
);

/// The longest that a scenario waits for what comes.
const SOON: Duration = Duration::from_secs(60);

/// Who sent it, its number there, and bytes that follow from both.
type Item = (u32, u32, Bytes);

fn item(sender: u32, number: u32) -> Item {
    // Mostly short, some near the longest that a packet holds, some in memory.
    let length = match number % 50 {
        0 => 150_000,
        1 => 65_500 + (number as usize * 7) % 70,
        _ => (number as usize * 37) % 5000,
    };
    (sender, number, Bytes::from(pattern(sender, number, length)))
}

fn pattern(sender: u32, number: u32, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u32 ^ sender.wrapping_mul(91) ^ number) as u8).collect()
}

fn is_whole(item: &Item) -> bool {
    item.2[..] == pattern(item.0, item.1, item.2.len())
}

/// A receiver: passes on who sent what, and with `None` that it ends.
fn receive(items: &Queue<Option<Item>>, seen: &Queue<Option<(u32, u32, bool)>>) {
    while let Some(item) = items.recv_timeout(SOON).unwrap().expect("nothing came") {
        seen.send(&Some((item.0, item.1, is_whole(&item)))).unwrap();
    }
    seen.send(&None).unwrap();
}

fn kill(child: &Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
}

fn every_item_of_many_senders_is_received_once() -> Outcome {
    const PROCESSES: u32 = 4;
    let each = 1000 * stress_factor();
    let (items, seen) = (Queue::new().unwrap(), Queue::new().unwrap());
    let options = LaunchOptions::new().give(&items).give(&seen);
    let receivers: Vec<_> =
        (0..PROCESSES).map(|_| Launch::new(&options).start(|| receive(&items, &seen)).unwrap()).collect();
    let senders: Vec<_> = (0..PROCESSES)
        .map(|sender| {
            let send = || (0..each).for_each(|number| items.send(&Some(item(sender, number))).unwrap());
            Launch::new(&options).start(send).unwrap()
        })
        .collect();
    let mut received = BTreeSet::new();
    for _ in 0..PROCESSES * each {
        let (sender, number, whole) = seen.recv_timeout(SOON).unwrap().unwrap().unwrap();
        assert!(whole, "{sender} {number}");
        assert!(received.insert((sender, number)), "{sender} {number} came twice");
    }
    for sender in senders {
        sender.output::<()>().unwrap();
    }
    for receiver in receivers {
        items.send(&None).unwrap();
        assert!(seen.recv_timeout(SOON).unwrap().unwrap().is_none());
        drop(receiver);
    }
    assert!(items.try_recv().unwrap().is_none() && seen.try_recv().unwrap().is_none());
    Passed
}

fn killed_senders_and_receivers_cost_what_was_in_their_hands() -> Outcome {
    const PROCESSES: u32 = 3;
    const LAST: u32 = 1200;
    for round in 0..8 * stress_factor() {
        let (items, seen) = (Queue::new().unwrap(), Queue::new().unwrap());
        let options = LaunchOptions::new().give(&items).give(&seen);
        let mut receivers: Vec<_> =
            (0..PROCESSES).map(|_| Launch::new(&options).start(|| receive(&items, &seen)).unwrap()).collect();
        let mut senders: Vec<_> = (0..PROCESSES)
            .map(|sender| {
                let send = || (0..LAST).for_each(|number| items.send(&Some(item(sender, number))).unwrap());
                Launch::new(&options).start(send).unwrap()
            })
            .collect();
        let mut received = BTreeMap::<u32, BTreeSet<u32>>::new();
        let mut note = |(sender, number, whole): (u32, u32, bool)| {
            assert!(whole, "{sender} {number}");
            assert!(received.entry(sender).or_default().insert(number), "{sender} {number} came twice");
        };
        // In their midst, at another moment in each round: one sender and all receivers but one.
        let mut killed = 0;
        for count in 0u32.. {
            match count.checked_sub(300 + 7 * round) {
                Some(0) => kill(&senders.remove(0)),
                Some(150 | 300) => {
                    kill(&receivers.remove(0));
                    killed += 1;
                }
                Some(301) => break,
                _ => {}
            }
            note(seen.recv_timeout(SOON).unwrap().unwrap().unwrap());
        }
        // Behind everything that was sent.
        let mut stopped = false;
        let mut ended = false;
        while !ended {
            match seen.recv_timeout(Duration::from_millis(50)).unwrap() {
                Some(Some(one)) => note(one),
                Some(None) => ended = true,
                None if !stopped && senders.iter().all(|sender| !sender.is_alive().unwrap()) => {
                    stopped = true;
                    items.send_timeout(&None, SOON).unwrap();
                }
                None => assert!(receivers[0].is_alive().unwrap()),
            }
        }
        // Of the killed sender, everything up to where it was; of the others, everything.
        let mut missing = 0;
        for (sender, numbers) in &received {
            let up_to = if *sender == 0 { *numbers.last().unwrap() + 1 } else { LAST };
            missing += up_to - numbers.len() as u32;
        }
        assert_eq!(received.len() as u32, PROCESSES);
        assert!(missing <= killed, "{missing} items lost with {killed} receivers");
        for child in senders.iter().chain(&receivers) {
            child.output::<()>().unwrap();
        }
        assert!(items.try_recv().unwrap().is_none());
    }
    Passed
}

fn a_killed_receiver_that_waits_does_not_keep_others_asleep() -> Outcome {
    let (items, seen) = (Queue::<u32>::new().unwrap(), Queue::<u32>::new().unwrap());
    let options = LaunchOptions::new().give(&items).give(&seen);
    for round in 0..100 * stress_factor() {
        let receiver = || {
            Launch::new(&options).start(|| {
                while let Some(number) = items.recv_timeout(SOON).unwrap() {
                    seen.send(&number).unwrap();
                }
            })
        };
        let (first, second) = (receiver().unwrap(), receiver().unwrap());
        let asleep = |child: &Child| proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'S');
        assert!(proc::eventually(|| asleep(&first) && asleep(&second)));
        // In this order it never gets to take the item, though it may be there to be woken by it.
        first.kill().unwrap();
        items.send(&round).unwrap();
        assert_eq!(seen.recv_timeout(SOON).unwrap(), Some(round));
        first.wait().unwrap();
        kill(&second);
    }
    Passed
}

fn a_full_queue_holds_up_its_sender_until_there_is_room() -> Outcome {
    let (items, counts) = (Queue::<Bytes>::new().unwrap(), Queue::<u32>::new().unwrap());
    let fill = Bytes::from(vec![7; 4000]);
    let mut filled = 0;
    while items.try_send(&fill).is_ok() {
        filled += 1;
    }
    assert!(matches!(items.try_send(&fill), Err(LinkError::Full)));
    let options = LaunchOptions::new().give(&items).give(&counts);
    let sender = Launch::new(&options).start(|| {
        let timed_out = items.send_timeout(&fill, Duration::from_millis(50));
        assert!(matches!(timed_out, Err(LinkError::TimedOut)), "{timed_out:?}");
        counts.send(&0).unwrap();
        items.send(&Bytes::from(vec![8])).unwrap();
        counts.send(&1).unwrap();
    });
    let sender = sender.unwrap();
    assert_eq!(counts.recv_timeout(SOON).unwrap(), Some(0));
    assert_eq!(counts.recv_timeout(Duration::from_millis(50)).unwrap(), None, "it waits");
    for _ in 0..filled {
        assert_eq!(items.recv_timeout(SOON).unwrap().unwrap(), fill);
    }
    assert_eq!(counts.recv_timeout(SOON).unwrap(), Some(1));
    assert_eq!(items.recv_timeout(SOON).unwrap().unwrap()[..], [8], "and nothing of what timed out");
    sender.output::<()>().unwrap();
    // Nor does one who is killed while waiting leave anything.
    while items.try_send(&fill).is_ok() {}
    let waiting = Launch::new(&options).start(|| items.send(&Bytes::from(vec![9])).unwrap()).unwrap();
    assert!(proc::eventually(|| proc::stat(waiting.id() as i32).is_some_and(|stat| stat.state == 'S')));
    kill(&waiting);
    while let Some(item) = items.try_recv().unwrap() {
        assert_eq!(item, fill);
    }
    Passed
}

fn a_producer_faster_than_its_consumer_is_held_back() -> Outcome {
    for (length, most) in [(1 << 20, 10), (10_000, 30)] {
        // With each item, how much memory its sender has.
        let items = Queue::<(u64, Bytes)>::new().unwrap();
        let ahead = common_ipc::sync::Event::new().unwrap();
        let producer = Launch::new(&LaunchOptions::new().give(&items)).start(|| {
            let bytes = Bytes::from(vec![7; length]);
            for number in 0.. {
                items.send(&(proc::resident_kib(), bytes.clone())).unwrap();
                if number == most {
                    ahead.set();
                }
            }
        });
        let producer = producer.unwrap();
        assert!(!ahead.wait_timeout(Duration::from_millis(200)).unwrap(), "it is {most} items ahead");
        let mut memory = Vec::new();
        for _ in 0..300 * stress_factor() {
            let (resident, bytes) = items.recv_timeout(SOON).unwrap().unwrap();
            assert_eq!(bytes.len(), length);
            memory.push([resident, proc::resident_kib()]);
            std::thread::sleep(Duration::from_millis(1));
        }
        let (early, late) = (memory[30], memory[memory.len() - 1]);
        for (early, late) in early.into_iter().zip(late) {
            assert!(late.saturating_sub(early) < 3 << 10, "{early} KiB have become {late}");
        }
        kill(&producer);
    }
    Passed
}

fn a_queue_that_is_only_captured_is_wrong_process() -> Outcome {
    let queue = Queue::<u32>::new().unwrap();
    queue.send(&1).unwrap();
    let captured = queue.clone();
    let child = start(move || {
        let wrong = |error: LinkError| {
            assert!(error.to_string().contains("LaunchOptions::give"), "{error}");
            matches!(error, LinkError::WrongProcess(_))
        };
        use std::os::fd::AsRawFd;
        let number = captured.as_fd().as_raw_fd();
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        assert_eq!(target, std::path::Path::new("/dev/null"));
        // A message can't take along what isn't here either.
        let other = Queue::<Queue<u32>>::new().unwrap();
        assert!(matches!(other.send(&captured), Err(LinkError::Encode(_))));
        [
            wrong(captured.send(&2).unwrap_err()),
            wrong(captured.try_send(&2).unwrap_err()),
            wrong(captured.recv().unwrap_err()),
            wrong(captured.try_recv().unwrap_err()),
            wrong(captured.recv_timeout(SOON).unwrap_err()),
        ]
    });
    assert_eq!(child.output::<[bool; 5]>().unwrap(), [true; 5]);
    assert_eq!(queue.try_recv().unwrap(), Some(1));
    Passed
}

fn a_queue_is_given_to_grandchildren_and_sent_to_others() -> Outcome {
    let (results, handed) = (Queue::<u32>::new().unwrap(), Queue::<Queue<u32>>::new().unwrap());
    let options = LaunchOptions::new().give(&results).give(&handed);
    // The same options again: the giver keeps what it gives.
    let child = Launch::new(&options).start(|| {
        let options = LaunchOptions::new().give(&results);
        let grandchild = Launch::new(&options).start(|| results.send(&1).unwrap()).unwrap();
        grandchild.output::<()>().unwrap();
        results.send(&2).unwrap();
    });
    let other = Launch::new(&options).start(|| {
        let came = handed.recv_timeout(SOON).unwrap().unwrap();
        let number = came.recv_timeout(SOON).unwrap().unwrap();
        came.send(&(number + 1)).unwrap();
    });
    child.unwrap().output::<()>().unwrap();
    let made_later = Queue::<u32>::new().unwrap();
    made_later.send(&40).unwrap();
    handed.send(&made_later).unwrap();
    other.unwrap().output::<()>().unwrap();
    assert_eq!(made_later.try_recv().unwrap(), Some(41));
    results.send(&3).unwrap();
    let all: Vec<_> = (0..3).map(|_| results.recv_timeout(SOON).unwrap().unwrap()).collect();
    assert_eq!(all, [1, 2, 3]);
    Passed
}

fn an_item_that_finds_no_descriptor_stays_in_the_queue() -> Outcome {
    let items = Queue::<(Bytes, Option<Queue<u8>>)>::new().unwrap();
    let options = LaunchOptions::new().give(&items).limit(Resource::OpenFiles, 64, 64);
    let inner = Queue::new().unwrap();
    items.send(&(Bytes::from(vec![1; 100_000]), None)).unwrap();
    items.send(&(Bytes::from(vec![2; 100]), Some(inner.clone()))).unwrap();
    items.send(&(Bytes::from(vec![3; 100]), None)).unwrap();
    // One that says it comes with none, as if another process had taken the one that was looked at.
    use std::os::fd::AsRawFd;
    let null = std::fs::File::open("/dev/null").unwrap();
    let rights = [null.as_raw_fd()];
    let rights = [nix::sys::socket::ControlMessage::ScmRights(&rights)];
    let packet = [std::io::IoSlice::new(&[1, 0, 0, 0, 1, 0, 0, 0, 7])];
    let sending = items.as_fd().as_raw_fd() - 1;
    let flags = nix::sys::socket::MsgFlags::empty();
    nix::sys::socket::sendmsg::<()>(sending, &packet, &rights, flags, None).unwrap();
    items.send(&(Bytes::from(vec![5]), None)).unwrap();
    let child = Launch::new(&options).start(|| {
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        let full = || {
            let error = items.try_recv().unwrap_err();
            matches!(&error, LinkError::Io(error) if error.raw_os_error() == Some(libc::EMFILE))
        };
        assert!(full() && full(), "the first is in memory");
        files.pop();
        assert_eq!(items.try_recv().unwrap().unwrap().0[..2], [1, 1]);
        assert!(full(), "the second has two descriptors, and there is room for one");
        files.pop();
        let (_, inner) = items.try_recv().unwrap().unwrap();
        inner.as_ref().unwrap().send(&9).unwrap();
        // As many as there were before: nothing is left of what couldn't be had.
        assert!(std::fs::File::open("/dev/null").is_err());
        assert_eq!(items.try_recv().unwrap().unwrap().0.len(), 100, "the third needs none");
        assert!(matches!(items.try_recv(), Err(LinkError::Lost)));
        assert_eq!(items.try_recv().unwrap().unwrap().0[..], [5], "and the queue goes on");
        assert!(matches!(items.send(&(Bytes::from(vec![4; 100_000]), None)), Err(LinkError::Io(_))));
        assert!(items.try_recv().unwrap().is_none());
    });
    child.unwrap().output::<()>().unwrap();
    assert_eq!(inner.try_recv().unwrap(), Some(9));
    Passed
}

fn a_queue_keeps_its_deadlines_under_signals() -> Outcome {
    extern "C" fn nothing(_: i32) {}
    raw::handle_signal(NixSignal::SIGALRM, nothing);
    let items = Queue::<Item>::new().unwrap();
    let all_received = Event::new().unwrap();
    let sender = Launch::new(&LaunchOptions::new().give(&items)).start(|| {
        raw::handle_signal(NixSignal::SIGALRM, nothing);
        raw::interval_timer(Duration::from_millis(1));
        (0..500).for_each(|number| items.send(&item(0, number)).unwrap());
        // Until it is full: from now on nobody receives.
        assert!(all_received.wait_timeout(SOON).unwrap());
        while items.try_send(&item(1, 1)).is_ok() {}
        let begin = Instant::now();
        let timed_out = items.send_timeout(&item(1, 1), Duration::from_millis(100));
        assert!(matches!(timed_out, Err(LinkError::TimedOut)), "{timed_out:?}");
        assert!(begin.elapsed() >= Duration::from_millis(100), "the wait was cut short");
    });
    raw::interval_timer(Duration::from_millis(1));
    for number in 0..500 {
        let received = items.recv_timeout(SOON).unwrap().unwrap();
        assert!(received.1 == number && is_whole(&received));
    }
    all_received.set();
    sender.unwrap().output::<()>().unwrap();
    while items.try_recv().unwrap().is_some() {}
    let begin = Instant::now();
    assert!(items.recv_timeout(Duration::from_millis(100)).unwrap().is_none());
    assert!(begin.elapsed() >= Duration::from_millis(100), "the wait was cut short");
    let waiting = start(sleep_for_long);
    let ready = safe_select(&[items.as_fd(), waiting.as_fd()], Some(Duration::from_millis(20))).unwrap();
    assert!(ready.is_empty());
    kill(&waiting);
    assert_eq!(safe_select(&[items.as_fd(), waiting.as_fd()], Some(SOON)).unwrap(), [1]);
    items.send(&item(0, 1)).unwrap();
    assert_eq!(safe_select(&[items.as_fd(), waiting.as_fd()], Some(SOON)).unwrap(), [0, 1]);
    assert!(items.try_recv().unwrap().is_some());
    raw::interval_timer(Duration::ZERO);
    Passed
}
