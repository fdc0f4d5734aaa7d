//! Tests within one process; those with several are scenarios of the cross-crate suite.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{setsockopt, sockopt};
use proptest::prelude::*;

use super::packet::INLINE_MAX;
use super::{LinkError, Queue, sys};
use crate::link::{Bytes, Connection, sealed};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;

/// The longest that a test waits for what comes.
const SOON: Duration = Duration::from_secs(20);

/// How many bytes of a string's encoding say how long it is.
const LENGTH: usize = 8;

/// A string's encoding.
fn encoded(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn sending<T>(queue: &Queue<T>) -> BorrowedFd<'_> {
    queue.pair.sending.get().unwrap()
}

fn text(length: usize) -> String {
    (0..length).map(|n| char::from(b'a' + (n % 23) as u8)).collect()
}

fn sealed_memory(bytes: &[u8]) -> OwnedFd {
    let memfd = sealed::create("test", bytes.len()).unwrap();
    sealed::fill(memfd.as_fd(), &[bytes]).unwrap();
    memfd
}

/// Sends a packet as no sender does, and says what came of it.
fn raw(queue: &Queue<String>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<String, LinkError> {
    sys::socket::send_parts(sending(queue), &[IoSlice::new(packet)], fds).unwrap();
    let received = queue.try_recv().map(|item| item.unwrap());
    // Whatever it was, it is gone and the queue goes on.
    queue.send(&"after it".to_owned()).unwrap();
    assert_eq!(queue.recv_timeout(SOON).unwrap().unwrap(), "after it");
    received
}

fn garbled(received: Result<String, LinkError>, why: &str) {
    let Err(LinkError::Decode(error)) = received else { panic!("{received:?}") };
    assert!(error.message.contains(why), "{error}");
}

#[test]
fn items_come_back_at_every_edge() {
    const MAX: usize = 3 * INLINE_MAX;
    let queue = Queue::<String>::with_max(MAX).unwrap();
    for encoding in [LENGTH, LENGTH + 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, MAX - 1, MAX] {
        let item = text(encoding - LENGTH);
        queue.try_send(&item).unwrap();
        assert_eq!(queue.try_recv().unwrap().unwrap(), item, "{encoding}");
    }
    let too_large = queue.try_send(&text(MAX + 1 - LENGTH)).unwrap_err();
    assert!(matches!(&too_large, LinkError::TooLarge(error) if error.length == MAX + 1), "{too_large}");
    assert!(queue.try_recv().unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_with_byte_strings_come_back(
        name in ".{0,40}",
        lengths in prop::collection::vec(
            prop_oneof![0usize..10, 4000..4200usize, INLINE_MAX - 60..INLINE_MAX + 20, 200_000..200_002usize],
            0..5,
        ),
    ) {
        let queue = Queue::<(String, Vec<Bytes>)>::new().unwrap();
        let strings: Vec<Bytes> = lengths.iter().map(|length| Bytes::from(text(*length).into_bytes())).collect();
        let item = (name, strings);
        queue.try_send(&item).unwrap();
        prop_assert_eq!(queue.try_recv().unwrap().unwrap(), item);
    }

    #[test]
    fn garbage_is_an_error_or_an_item(packet in any::<Vec<u8>>(), tag in 0u8..4, memory in any::<Vec<u8>>()) {
        let queue = Queue::<(String, Bytes)>::with_max(1000).unwrap();
        let packet = [&[tag, 0][..], &packet].concat();
        let memfd = sealed_memory(&memory);
        sys::socket::send_parts(sending(&queue), &[IoSlice::new(&packet)], &[]).unwrap();
        sys::socket::send_parts(sending(&queue), &[IoSlice::new(&packet)], &[memfd.as_fd()]).unwrap();
        for _ in 0..2 {
            let _ = queue.try_recv();
        }
        prop_assert!(queue.try_recv().unwrap().is_none());
    }
}

#[test]
fn more_byte_strings_than_travel_beside_go_inside() {
    let queue = Queue::<Vec<Bytes>>::new().unwrap();
    let item: Vec<Bytes> = (0..100u8).map(|n| Bytes::from(vec![n; 5000])).collect();
    queue.send(&item).unwrap();
    assert_eq!(queue.recv_timeout(SOON).unwrap().unwrap(), item);
}

#[test]
fn hostile_packets_are_errors_of_their_own() {
    let queue = Queue::<String>::with_max(1000).unwrap();
    let header = |tag: u8, fds: u8, buffers: u8, encoding: u32| {
        [&[tag, fds, buffers, 0][..], &encoding.to_le_bytes()].concat()
    };
    let null = std::fs::File::open("/dev/null").unwrap();
    garbled(raw(&queue, b"", &[]), "no header");
    garbled(raw(&queue, b"short", &[]), "no header");
    garbled(raw(&queue, &header(9, 0, 0, 0), &[]), "unknown kind");
    garbled(raw(&queue, &header(1, 0, 65, 0), &[]), "unknown kind");
    garbled(raw(&queue, &header(1, 1, 0, 0), &[]), "number of descriptors");
    garbled(raw(&queue, &header(1, 0, 0, 0), &[null.as_fd()]), "number of descriptors");
    garbled(raw(&queue, &header(2, 0, 0, 0), &[]), "number of descriptors");
    garbled(raw(&queue, &header(1, 0, 0, 5), &[]), "as long as it says");
    garbled(raw(&queue, &header(1, 0, 2, 0), &[]), "as long as it says");
    garbled(raw(&queue, &[header(1, 0, 0, 1), vec![0; 9]].concat(), &[]), "as long as it says");
    garbled(raw(&queue, &[header(1, 0, 0, 1), vec![0; INLINE_MAX + 1]].concat(), &[]), "too long");
    garbled(raw(&queue, &[header(1, 0, 0, 9), encoded(&[255])].concat(), &[]), "Utf8");
    let too_large = raw(&queue, &[header(1, 0, 0, 1001), vec![0; 1001]].concat(), &[]);
    assert!(matches!(too_large, Err(LinkError::TooLarge(_))), "{too_large:?}");
    // A byte string that nobody asks for.
    let unasked = [header(1, 0, 1, 9), encoded(b"x"), 4u32.to_le_bytes().to_vec(), vec![0; 4]].concat();
    assert_eq!(raw(&queue, &unasked, &[]).unwrap(), "x");
    let lies = [header(1, 0, 1, 9), encoded(b"x"), u32::MAX.to_le_bytes().to_vec()].concat();
    assert!(matches!(raw(&queue, &lies, &[]), Err(LinkError::TooLarge(_))));
}

#[test]
fn hostile_memory_is_an_error_of_its_own() {
    let queue = Queue::<String>::with_max(1000).unwrap();
    let header = |encoding: u32| [&[2, 0, 0, 0][..], &encoding.to_le_bytes()].concat();
    let good = sealed_memory(&encoded(b"hi"));
    assert_eq!(raw(&queue, &header(10), &[good.as_fd()]).unwrap(), "hi");
    garbled(raw(&queue, &header(9), &[good.as_fd()]), "as long as it says");
    garbled(raw(&queue, &header(11), &[good.as_fd()]), "as long as it says");
    garbled(raw(&queue, &header(u32::MAX), &[good.as_fd()]), "as long as it says");
    let unsealed = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let zero = OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
    let (_writer, pipe) = nix::unistd::pipe().unwrap();
    for fd in [unsealed, zero, pipe] {
        garbled(raw(&queue, &header(3), &[fd.as_fd()]), "no sealed memory");
    }
    // All holes: it costs its sender nothing.
    let huge = sealed::create("test", 1 << 40).unwrap();
    let too_large = raw(&queue, &header(u32::MAX), &[huge.as_fd()]).unwrap_err();
    assert!(matches!(&too_large, LinkError::TooLarge(error) if error.length == 1 << 40), "{too_large}");
}

#[test]
fn what_the_holder_of_a_socket_may_ask_for_does_no_harm() {
    let queue = Queue::<(String, Option<Queue<u8>>)>::new().unwrap();
    let inner = Queue::new().unwrap();
    let receiving = queue.pair.receiving.get().unwrap();
    setsockopt(&receiving, sockopt::PassCred, &true).unwrap();
    setsockopt(&receiving, sockopt::ReceiveTimestamp, &true).unwrap();
    for length in [1, 2 * INLINE_MAX] {
        queue.send(&(text(length), Some(inner.clone()))).unwrap();
        let (_, came) = queue.recv_timeout(SOON).unwrap().unwrap();
        came.unwrap().send(&7).unwrap();
        assert_eq!(inner.recv_timeout(SOON).unwrap(), Some(7));
    }
    nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&receiving), nix::sys::socket::Shutdown::Both)
        .unwrap();
    assert!(matches!(queue.recv_timeout(SOON), Err(LinkError::Io(_))));
    assert!(matches!(queue.send(&(String::new(), None)), Err(LinkError::Io(_))));
}

#[test]
fn a_queue_travels_in_an_item() {
    let queue = Queue::<Vec<Queue<String>>>::new().unwrap();
    let inner = Queue::<String>::with_max(20).unwrap();
    assert!(!queue.pair.caution.is_advised() && !inner.pair.caution.is_advised());
    // The same one twice: each place has descriptors of its own.
    queue.send(&vec![inner.clone(), inner.clone(), Queue::new().unwrap()]).unwrap();
    let came = queue.recv_timeout(SOON).unwrap().unwrap();
    // What was sent had descriptors, and whoever has it now may send some as well, untold.
    assert!(queue.pair.caution.is_advised() && inner.pair.caution.is_advised());
    assert!(came[0].pair.caution.is_advised());
    came[0].send(&"there".to_owned()).unwrap();
    assert_eq!(inner.recv_timeout(SOON).unwrap().unwrap(), "there");
    inner.send(&"and back".to_owned()).unwrap();
    assert_eq!(came[1].recv_timeout(SOON).unwrap().unwrap(), "and back");
    assert!(matches!(came[1].send(&text(13)), Err(LinkError::TooLarge(_))), "it has brought its cap");
    assert!(came[2].try_recv().unwrap().is_none());
}

#[test]
fn descriptors_that_are_no_queue_are_an_error() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Posing(#[serde(serialize_with = "pose")] Vec<Queue<u8>>);
    fn pose<S: serde::Serializer>(_: &[Queue<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = Arc::new(PrivateFd::new(|| Ok(file.into())).unwrap());
        let place = crate::link::attachments::attach(&fd, How::Shared).unwrap();
        serde::Serialize::serialize(&vec![(place, place, 10u32)], serializer)
    }
    let queue = Queue::<Posing>::new().unwrap();
    queue.send(&Posing(Vec::new())).unwrap();
    let Err(LinkError::Decode(error)) = queue.recv_timeout(SOON).map(drop) else { panic!() };
    assert!(error.message.contains("something else than sockets"), "{error}");
}

#[test]
fn outside_of_a_message_a_queue_cannot_be_serialised() {
    let error = crate::link::codec::encode(&Queue::<u8>::new().unwrap()).unwrap_err();
    assert!(error.message.contains("only a Connection or a Queue"), "{error}");
}

/// An end that belongs to one process.
#[derive(serde::Deserialize)]
struct Moving;

impl serde::Serialize for Moving {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (one, _other) = Connection::<u8, u8>::pair().unwrap();
        let fd = one.as_fd().try_clone_to_owned().unwrap();
        let fd = Arc::new(PrivateFd::new(|| Ok(fd)).unwrap());
        crate::link::attachments::attach(&fd, How::Moved).unwrap();
        serializer.serialize_unit()
    }
}

#[test]
fn what_belongs_to_one_process_is_refused() {
    let queue = Queue::<Moving>::new().unwrap();
    let error = queue.send(&Moving).unwrap_err();
    assert!(matches!(error, LinkError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("nobody knows which process"), "{error}");
    assert!(queue.try_recv().unwrap().is_none());
}

#[test]
fn as_many_descriptors_as_fit_and_no_more() {
    let queue = Queue::<(String, Vec<Queue<u8>>)>::new().unwrap();
    let inner = Queue::new().unwrap();
    let with = |length: usize, count: usize| (text(length), vec![inner.clone(); count]);
    queue.send(&with(1, 126)).unwrap();
    assert_eq!(queue.recv_timeout(SOON).unwrap().unwrap().1.len(), 126);
    queue.send(&with(INLINE_MAX, 126)).unwrap();
    assert_eq!(queue.recv_timeout(SOON).unwrap().unwrap().1.len(), 126);
    for count in [127, 150] {
        let error = queue.send(&with(1, count)).unwrap_err();
        assert!(error.to_string().contains("253 descriptors"), "{error}");
    }
    assert!(queue.try_recv().unwrap().is_none());
}

#[test]
fn a_full_queue_says_so_and_goes_on() {
    for (length, at_least, at_most) in
        [(10, 200, 400), (4000, 20, 60), (INLINE_MAX - 20, 3, 4), (1 << 20, 6, 9), (20 << 20, 2, 2)]
    {
        let queue = Queue::<Bytes>::new().unwrap();
        let item = Bytes::from(vec![7; length]);
        let mut count = 0;
        while queue.try_send(&item).is_ok() {
            count += 1;
            assert!(count < 1000);
        }
        assert!((at_least..=at_most).contains(&count), "{count} items of {length}");
        assert!(matches!(queue.try_send(&item), Err(LinkError::Full)));
        let begin = Instant::now();
        assert!(matches!(queue.send_timeout(&item, Duration::from_millis(30)), Err(LinkError::TimedOut)));
        assert!(begin.elapsed() >= Duration::from_millis(30));
        // One that waits gets in when there is room.
        std::thread::scope(|scope| {
            scope.spawn(|| queue.send_timeout(&item, SOON).unwrap());
            for _ in 0..=count {
                assert!(queue.recv_timeout(SOON).unwrap().unwrap() == item);
            }
        });
        assert!(queue.try_recv().unwrap().is_none(), "what was refused didn't come");
    }
}

#[test]
fn threads_share_the_items() {
    const THREADS: u32 = 4;
    const EACH: u32 = 3000;
    let queue = Queue::<(u32, Bytes)>::new().unwrap();
    let received: Vec<Vec<u32>> = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let queue = queue.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let id = thread * EACH + number;
                    let length = if number % 100 == 0 { 100_000 } else { number as usize % 6000 };
                    queue.send_timeout(&(id, Bytes::from(vec![id as u8; length])), SOON).unwrap();
                }
            });
        }
        let receivers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    for _ in 0..EACH {
                        let (id, bytes) = queue.recv_timeout(SOON).unwrap().unwrap();
                        assert!(bytes.iter().all(|byte| *byte == id as u8));
                        ids.push(id);
                    }
                    ids
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    for ids in &received {
        // In each receiver's part those of one sender are in order.
        for thread in 0..THREADS {
            let of_it: Vec<_> = ids.iter().filter(|id| *id / EACH == thread).collect();
            assert!(of_it.is_sorted());
        }
    }
    let all: BTreeSet<u32> = received.concat().into_iter().collect();
    assert_eq!(all.len() as u32, THREADS * EACH);
    assert_eq!(received.concat().len(), all.len(), "each once");
}

#[test]
fn a_time_out_is_kept_and_costs_nothing() {
    let queue = Queue::<u8>::new().unwrap();
    let begin = Instant::now();
    assert!(queue.recv_timeout(Duration::from_millis(30)).unwrap().is_none());
    assert!(begin.elapsed() >= Duration::from_millis(30));
    queue.send(&1).unwrap();
    assert_eq!(queue.recv_timeout(Duration::ZERO).unwrap(), Some(1));
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    is_send_and_sync(&queue);
}

#[cfg(feature = "tokio")]
mod asynchronous {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    #[test]
    fn many_tasks_of_one_queue_get_each_item_once() {
        const EACH: u64 = 500;
        let queue = Queue::new().unwrap();
        let all = runtime().block_on(async {
            let send = |from: u64| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    for number in from..from + EACH {
                        // With a text, there is room for some ten of them.
                        queue.send_async(&(number, text(9_000))).await.unwrap();
                    }
                })
            };
            let receive = |_| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    let mut numbers = Vec::new();
                    for _ in 0..EACH {
                        let (number, beside) = queue.recv_async().await.unwrap();
                        assert_eq!(beside, text(9_000));
                        numbers.push(number);
                    }
                    numbers
                })
            };
            let receivers: Vec<_> = (0..3).map(receive).collect();
            let senders: Vec<_> = (0..3).map(|sender| send(sender * EACH)).collect();
            let mut all = BTreeSet::new();
            for receiver in receivers {
                all.extend(tokio::time::timeout(SOON, receiver).await.unwrap().unwrap());
            }
            for sender in senders {
                sender.await.unwrap();
            }
            all
        });
        assert!(all.into_iter().eq(0..3 * EACH));
    }

    #[test]
    fn what_is_given_up_loses_nothing() {
        let queue = Queue::new().unwrap();
        runtime().block_on(async {
            let soon = Duration::from_millis(20);
            assert!(tokio::time::timeout(soon, queue.recv_async()).await.is_err());
            let mut sent = 0;
            while tokio::time::timeout(soon, queue.send_async(&(sent, text(60_000)))).await.is_ok() {
                sent += 1;
            }
            assert!(sent > 0, "it has room for some");
            for number in 0..sent {
                assert_eq!(queue.recv_async().await.unwrap().0, number);
            }
            assert!(queue.try_recv().unwrap().is_none(), "what was given up wasn't sent");
        });
    }

    #[test]
    fn outside_of_a_runtime_it_is_an_error_to_wait() {
        let queue = Queue::<u32>::new().unwrap();
        let mut waits = std::pin::pin!(queue.recv_async());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Err(LinkError::Io(error))) = waits.as_mut().poll(&mut context) else {
            panic!("no error")
        };
        assert!(error.to_string().contains("outside of a tokio runtime"), "{error}");
    }
}
