//! A peer that writes what no honest one does.

use super::*;
use crate::link::frame::Table;
use crate::link::ring::{ABORT, TABLE};
use std::sync::atomic::Ordering;

fn pair<T: Serialize + DeserializeOwned>() -> (Connection<T, T>, Connection<T, T>) {
    Connection::pair_with(100_000, 4096).unwrap()
}

fn table(head: usize, buffers: &[usize], descriptors: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Table { number: 1, descriptors, head, buffers: buffers.to_vec() }.write(&mut bytes);
    bytes
}

/// Receiving is this error, and the connection is broken afterwards.
#[track_caller]
fn breaks<T: Serialize + DeserializeOwned + std::fmt::Debug>(
    end: &Connection<T, T>,
    is: fn(&LinkError) -> bool,
) {
    let error = end.recv().unwrap_err();
    assert!(is(&error), "{error:?}");
    assert!(matches!(end.recv(), Err(LinkError::Broken(_))));
    assert!(matches!(end.try_recv(), Err(LinkError::Broken(_))));
}

fn is_garbled(error: &LinkError) -> bool {
    matches!(error, LinkError::Garbled(_))
}

#[test]
fn a_message_of_another_type_breaks_the_link() {
    #[derive(Debug, Serialize, serde::Deserialize)]
    enum Tree {
        Leaf,
        Node(Box<Tree>),
    }
    fn attack<T: Serialize + DeserializeOwned + std::fmt::Debug>(payload: &[u8]) {
        let (one, other) = pair::<T>();
        write_raw(&other, START | END, payload);
        breaks(&one, |error| matches!(error, LinkError::Decode(_)));
    }
    let huge = (1u64 << 63).to_le_bytes();
    attack::<Vec<()>>(&huge);
    attack::<Vec<u8>>(&huge);
    attack::<String>(&huge);
    attack::<std::collections::HashMap<(), u8>>(&huge);
    attack::<Bytes>(&[&[0; 4][..], &huge].concat());
    attack::<Bytes>(&[&1u32.to_le_bytes()[..], &7u32.to_le_bytes()].concat());
    attack::<Tree>(&[1, 0, 0, 0].repeat(500));
    attack::<bool>(&[2]);
    attack::<u8>(&[]);
}

#[test]
fn senseless_chunks_break_the_link() {
    let chunks: &[(u32, &[u8])] = &[
        (END, b"the end of nothing"),
        (0, b"the middle of nothing"),
        (ABORT, b""),
        (START, b"a start without a table"),
        (START | ABORT, b""),
        (TABLE | END, b"a table in the middle"),
        (START | TABLE | END, b"short"),
        (START | TABLE | END, &[0xff; 300]),
    ];
    for (flags, bytes) in chunks {
        let (one, other) = pair::<String>();
        write_raw(&other, *flags, bytes);
        breaks(&one, is_garbled);
    }
}

#[test]
fn frames_that_are_not_what_their_tables_say_break_the_link() {
    type Chunks = &'static [(u32, &'static [u8])];
    let attacks: [(Vec<u8>, Chunks); 5] = [
        (table(4, &[], 0), &[(END, b"longer")]),
        (table(100, &[], 0), &[(END, b"shorter")]),
        (table(4, &[4], 0), &[(END, b"shorter")]),
        (table(100, &[], 0), &[(START | END, b"another one")]),
        (table(4, &[], 3), &[(END, b"fds?")]),
    ];
    for (first, rest) in attacks {
        let (one, other) = pair::<String>();
        write_raw(&other, START | TABLE, &first);
        for (flags, bytes) in rest {
            write_raw(&other, *flags, bytes);
        }
        breaks(&one, is_garbled);
    }
}

#[test]
fn a_frame_that_is_cut_breaks_the_link() {
    let whole = [table(4, &[], 0), b"text".to_vec()].concat();
    for cut in table(4, &[], 0).len()..whole.len() {
        let (one, other) = pair::<String>();
        write_raw(&other, START | TABLE, &whole[..cut]);
        assert!(one.try_recv().unwrap().is_none());
        drop(other);
        breaks(&one, |error| matches!(error, LinkError::Truncated));
    }
}

#[test]
fn a_hostile_length_breaks_the_link_and_takes_no_memory() {
    for first in
        [table(u32::MAX as usize, &[], 0), table(1, &[u32::MAX as usize; 64], 0), table(100_001, &[], 0)]
    {
        let (one, other) = pair::<String>();
        write_raw(&other, START | TABLE, &first);
        breaks(&one, |error| matches!(error, LinkError::TooLarge(_)));
    }
    // A header that says more than the ring has.
    let (one, other) = pair::<String>();
    write_raw(&other, START | END, &[0; 5]);
    let view = other.end.view().unwrap();
    view.word(8192).store(START | END | 0xfff_ffff, Ordering::Release);
    breaks(&one, is_garbled);
}

#[test]
fn a_position_that_runs_wild_breaks_the_sender() {
    for wild in [u32::MAX - 3, 1 << 31, 7, 100_000, 0] {
        let (one, other) = pair::<String>();
        let fill = || loop {
            if let Err(error) = one.try_send(&"y".repeat(900)) {
                break error;
            }
        };
        assert!(matches!(fill(), LinkError::Full));
        while other.try_recv().unwrap().is_some() {}
        // Now the reader is known to have been further than 0.
        assert!(matches!(fill(), LinkError::Full));
        other.end.view().unwrap().word(128).store(wild, Ordering::Release);
        let error = fill();
        assert!(is_garbled(&error), "{wild}: {error}");
        assert!(matches!(one.try_send(&String::new()), Err(LinkError::Broken(_))));
    }
}

#[test]
fn whatever_is_in_the_words_nothing_hangs_or_crashes() {
    // A multiplicative congruential generator: any seed will do, the same one each time is best.
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    for _ in 0..200 {
        let (one, other) = pair::<Vec<String>>();
        let view = other.end.view().unwrap();
        other.send(&vec!["x".to_owned(); 10]).unwrap();
        for _ in 0..random() % 40 {
            let at = (random() as usize % (view.len() / 4)) * 4;
            let at = if random() % 2 == 0 { at % 1536 / 4 * 4 } else { at };
            view.word(at).store(random(), Ordering::Relaxed);
        }
        for _ in 0..50 {
            let _ = one.recv_timeout(Duration::from_micros(100));
            let _ = one.try_send(&vec!["y".to_owned(); 5]);
            let _ = one.send_timeout(&vec!["z".repeat(1000); 5], Duration::from_micros(100));
        }
    }
}

#[test]
fn an_endless_stream_of_given_up_frames_ends_at_the_deadline() {
    let (one, other) = pair::<String>();
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let view = other.end.view().unwrap();
            let producer = &mut other.end.sending.lock().producer;
            while !producer.reader_left(view) {
                for (flags, bytes) in [(START | TABLE, &table(9, &[], 0)[..]), (ABORT, &[])] {
                    while producer.room(view).unwrap() < Some(bytes.len() as u32) {
                        if producer.reader_left(view) {
                            return;
                        }
                        std::hint::spin_loop();
                    }
                    producer.put(view, bytes);
                    producer.commit(view, flags);
                }
            }
        });
        assert!(one.try_recv().unwrap().is_none());
        assert!(one.recv_timeout(Duration::from_millis(20)).unwrap().is_none());
        drop(one);
        flood.join().unwrap();
    });
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed_or_an_error() {
    let (one, other) = pair::<String>();
    one.try_recv().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let control = other.end.wires.control.get().unwrap();
    let many = vec![std::os::fd::AsFd::as_fd(&null); 253];
    crate::link::control::send_descriptors(control, 7, &many[..3]).unwrap();
    other.send(&"goes on".to_owned()).unwrap();
    assert_eq!(one.recv().unwrap(), "goes on");
    for number in 0..3 {
        crate::link::control::send_descriptors(control, number, &many).unwrap();
    }
    breaks(&one, is_garbled);
    // More than the kernel takes at once.
    assert!(crate::link::control::send_descriptors(control, 8, &vec![many[0]; 300]).is_err());
}

#[test]
fn a_bell_without_data_and_data_without_a_bell() {
    let (one, other) = pair::<String>();
    crate::link::control::ring(other.end.wires.control.get().unwrap());
    assert!(one.try_recv().unwrap().is_none());
    assert!(one.recv_timeout(Duration::from_millis(2)).unwrap().is_none());
    let view = other.end.view().unwrap();
    let mut sending = other.end.sending.lock();
    sending.producer.put(view, &codec::encode("silent").unwrap());
    sending.producer.commit(view, START | END);
    assert_eq!(one.recv().unwrap(), "silent");
}

#[test]
fn a_ring_that_never_ends_is_not_read_for_ever() {
    for other_is_gone in [false, true] {
        let (one, other) = pair::<String>();
        one.try_recv().unwrap();
        let view = other.end.view().unwrap();
        // Frames that are begun and given up, 32 bytes each: they come round and round in 4 KiB.
        let begun = [table(100, &[], 0), vec![0; 12]].concat();
        for at in (8192..8192 + 4096).step_by(32) {
            view.word(at).store(START | TABLE | 24, Ordering::Relaxed);
            view.copy_in(at + 4, &begun);
            view.word(at + 28).store(ABORT, Ordering::Release);
        }
        if other_is_gone {
            drop(other);
            assert!(is_garbled(&one.recv().unwrap_err()));
        } else {
            assert!(one.recv_timeout(Duration::from_millis(5)).unwrap().is_none());
        }
    }
}

#[test]
fn a_flood_of_bells_does_not_hold_up_a_deadline() {
    let (one, other) = pair::<String>();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let control = other.end.wires.control.get().unwrap();
            while !done.load(Ordering::Relaxed) {
                crate::link::control::ring(control);
            }
        });
        assert!(one.recv_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert!(one.try_recv().unwrap().is_none());
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_end_on_its_way_through_a_broken_link_is_closed() {
    type Inner = Connection<u8, u8>;
    let (one, other) = Connection::<Inner, Inner>::pair_with(100_000, 4096).unwrap();
    let (here, there) = Inner::pair().unwrap();
    write_raw(&other, END, b"the end of nothing");
    other.send(&there).unwrap();
    drop(there);
    assert!(is_garbled(&one.recv().unwrap_err()));
    assert!(matches!(here.recv(), Err(LinkError::Closed)), "nobody will ever have it");
}
