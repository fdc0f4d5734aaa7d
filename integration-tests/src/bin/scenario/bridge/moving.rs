//! What a bridge's arguments and results take along: connections, memory, long byte strings.

use common_ipc::link::{Bytes, Connection};
use common_ipc::memory::SharedArray;
use cross_process_bridge::{BridgeError, bridge};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios![
    ends_of_connections_are_arguments_and_results,
    memory_is_an_argument_and_a_result,
    long_byte_strings_cross_whole,
    an_end_that_was_not_sent_stays,
];

/// Has one end of a connection, and speaks by it.
pub(crate) struct Ear {
    end: Connection<u64, u64>,
}

#[bridge]
impl Ear {
    pub(crate) fn new(end: Connection<u64, u64>) -> Ear {
        Ear { end }
    }

    /// Sends back what comes, once.
    pub(crate) fn listen(&self) -> u64 {
        let number = self.end.recv().unwrap();
        self.end.send(&(number + 1)).unwrap();
        number
    }

    /// Has another one from now on, and gives the one that it had.
    pub(crate) fn exchange(&mut self, end: Connection<u64, u64>) -> Connection<u64, u64> {
        std::mem::replace(&mut self.end, end)
    }

    pub(crate) fn fill(&self, array: SharedArray<u64>, with: u64) -> SharedArray<u64> {
        (0..array.len()).for_each(|place| array.set(place, with).unwrap());
        array
    }

    pub(crate) fn twice(&self, bytes: Bytes) -> Bytes {
        bytes.iter().chain(bytes.iter()).copied().collect()
    }

    pub(crate) fn reversed(&self, bytes: &mut Vec<u8>) -> usize {
        bytes.reverse();
        bytes.push(0);
        bytes.len()
    }
}

/// An end whose other end is dropped.
pub(crate) fn far_end() -> Connection<u64, u64> {
    Connection::pair().unwrap().1
}

fn both() -> [(EarBridge, Connection<u64, u64>); 2] {
    let zygote = zygote();
    [false, true].map(|in_zygote| {
        let (here, there) = Connection::<u64, u64>::pair().unwrap();
        let ear = EarBridge::new(there);
        if in_zygote {
            ear.process().launch_in(&zygote);
        }
        ear.start().unwrap();
        (ear, here)
    })
}

fn ends_of_connections_are_arguments_and_results() -> Outcome {
    for (ear, here) in both() {
        here.send(&4).unwrap();
        assert_eq!((ear.listen().unwrap(), here.recv().unwrap()), (4, 5));
        let (second, there) = Connection::<u64, u64>::pair().unwrap();
        let first = ear.exchange(there).unwrap();
        second.send(&8).unwrap();
        assert_eq!((ear.listen().unwrap(), second.recv().unwrap()), (8, 9));
        // The first one has both of its ends here now.
        first.send(&1).unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        ear.stop().unwrap();
    }
    Passed
}

fn memory_is_an_argument_and_a_result() -> Outcome {
    for (ear, _here) in both() {
        let array = SharedArray::new(100).unwrap();
        let same = ear.fill(array.clone(), 7).unwrap();
        assert_eq!(array.to_vec(), [7; 100]);
        array.set(3, 1).unwrap();
        assert_eq!(same.get(3).unwrap(), 1);
    }
    Passed
}

fn long_byte_strings_cross_whole() -> Outcome {
    for (ear, _here) in both() {
        for length in [0, 1, 4095, 4096, 70_000, 5_000_000] {
            let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
            assert_eq!(*ear.twice(Bytes::from(bytes.as_slice())).unwrap(), [&bytes[..], &bytes[..]].concat());
            let mut reversed = bytes.clone();
            assert_eq!(ear.reversed(&mut reversed).unwrap(), length + 1);
            assert!(reversed.iter().eq(bytes.iter().rev().chain(&[0])));
        }
    }
    Passed
}

fn an_end_that_was_not_sent_stays() -> Outcome {
    let (ear, _here) = both().into_iter().next().unwrap();
    ear.stop().unwrap();
    let (near, far) = Connection::<u64, u64>::pair().unwrap();
    let kept = far.clone();
    assert!(matches!(ear.exchange(far), Err(BridgeError::NotStarted { .. })));
    kept.send(&3).unwrap();
    assert_eq!(near.recv().unwrap(), 3);
    Passed
}
