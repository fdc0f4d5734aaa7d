#![doc = include_str!("README.md")]

use std::sync::atomic::Ordering;

mod consumer;
mod mem;
mod producer;

#[cfg(test)]
mod models;
#[cfg(test)]
pub(crate) mod plain;

pub(crate) use consumer::{Chunk, Consumer};
pub(crate) use mem::Mem;
pub(crate) use producer::Producer;

/// Where the lanes' bytes begin; their words are before.
const DATA: usize = 4096;
/// How far apart the words of two lanes are.
const LANE_WORDS: usize = 1024;
/// Where the words are that the ring itself doesn't use, two cache lines apart.
const SPARE: usize = 2 * LANE_WORDS;
/// How many of them there are.
const SPARE_WORDS: usize = 2;
/// A header's size, and what every chunk is rounded up to.
const HEADER: u32 = 4;
/// The smallest and the largest number of bytes that a lane may have.
pub(crate) const CAPACITY: std::ops::RangeInclusive<u32> = 1 << 12..=1 << 26;

/// The first chunk of a frame.
pub(crate) const START: u32 = 1 << 28;
/// The last chunk of a frame.
pub(crate) const END: u32 = 1 << 29;
/// The frame's table comes before its bytes.
pub(crate) const TABLE: u32 = 1 << 30;
/// The frame that was begun isn't going to be completed.
pub(crate) const ABORT: u32 = 1 << 31;
/// The part of a header that says how long the chunk is.
const LENGTH: u32 = START - 1;

/// How large the memory is that holds two lanes of `capacity` bytes each.
pub(crate) fn memory(capacity: u32) -> usize {
    DATA + 2 * capacity as usize
}

/// Where a word of eight bytes is that the ring has no use for, and that both sides may write.
pub(crate) fn spare_word(which: usize) -> usize {
    debug_assert!(which < SPARE_WORDS);
    SPARE + which * 128
}

/// One direction: where its words and bytes are. Words that different sides write are two cache lines
/// apart, since processors fetch lines in pairs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    words: usize,
    data: usize,
    /// A power of two.
    capacity: u32,
}

impl Lane {
    /// Lane 0 or 1 of a memory that holds two of them.
    pub(crate) fn new(which: usize, capacity: u32) -> Lane {
        debug_assert!(which < 2 && capacity.is_power_of_two() && CAPACITY.contains(&capacity));
        Lane { words: which * LANE_WORDS, data: DATA + which * capacity as usize, capacity }
    }

    /// The reader writes 1 before it sleeps; the writer takes that back, and rings.
    fn reader_waits(self) -> usize {
        self.words
    }

    /// The reader writes 1 when it is gone for good.
    fn reader_left(self) -> usize {
        self.words + 4
    }

    /// The reader's position.
    fn consumed(self) -> usize {
        self.words + 128
    }

    /// Whether the reader has said that it has read what is before a position, which is at most a ring away from
    /// where it is.
    pub(crate) fn was_read_to<M: Mem>(self, mem: M, position: u32) -> bool {
        (mem.load(self.consumed(), Ordering::Acquire).wrapping_sub(position) as i32) >= 0
    }

    /// The writer writes 1 before it sleeps, on this very word, for want of room; the reader takes that back, and
    /// wakes it.
    fn writer_waits(self) -> usize {
        self.words + 256
    }

    /// The reader's position from which on the writer is to be woken.
    fn writer_wants(self) -> usize {
        self.words + 260
    }

    /// The writer writes 1 when it counts on nothing more being taken.
    fn writer_left(self) -> usize {
        self.words + 264
    }

    /// By the writer's side: what the reader hasn't said by now to have read, it doesn't take any more (see
    /// [`Consumer::may_take`]). Look at that afterwards.
    pub(crate) fn give_up_the_rest<M: Mem>(self, mem: M) {
        mem.store(self.writer_left(), 1, Ordering::Relaxed);
        mem.fence();
    }

    /// Where the word or byte at a position is.
    fn place(self, position: u32) -> usize {
        self.data + (position & (self.capacity - 1)) as usize
    }

    /// How many bytes from this position on lie in a row.
    fn in_a_row(self, position: u32) -> usize {
        (self.capacity - (position & (self.capacity - 1))) as usize
    }

    /// What a chunk of so many bytes takes, its header included. At most what a lane has, so this
    /// doesn't overflow.
    fn footprint(length: u32) -> u32 {
        HEADER + length.next_multiple_of(HEADER)
    }
}

/// The other side did what no honest one does: what it wrote is nonsense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Garbled(pub(crate) &'static str);

#[cfg(test)]
mod tests {
    use super::plain::Plain;
    use super::*;
    use proptest::prelude::*;

    fn lane(capacity: u32) -> (Plain, Producer, Consumer) {
        let lane = Lane::new(1, capacity);
        (Plain::new(memory(capacity)), Producer::new(lane), Consumer::new(lane))
    }

    fn send(mem: &Plain, producer: &mut Producer, bytes: &[u8], flags: u32) -> bool {
        if producer.room(mem).unwrap() < Some(bytes.len() as u32) {
            return false;
        }
        producer.put(mem, bytes);
        producer.commit(mem, flags);
        true
    }

    fn receive(mem: &Plain, consumer: &mut Consumer) -> Option<(u32, Vec<u8>)> {
        let mut chunk = consumer.peek(mem).unwrap()?;
        let mut bytes = Vec::new();
        consumer.take(mem, &mut chunk, usize::MAX, &mut bytes);
        if consumer.finish(chunk) || consumer.is_empty(mem) {
            consumer.publish(mem);
        }
        Some((chunk.flags, bytes))
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in(
            lengths in prop::collection::vec(0usize..1500, 1..200),
            turns in prop::collection::vec(any::<bool>(), 1..50),
        ) {
            let (mem, mut producer, mut consumer) = lane(4096);
            let mut sent = std::collections::VecDeque::new();
            let mut lengths = lengths.into_iter().enumerate().peekable();
            for turn in turns.into_iter().cycle() {
                if let (true, Some(&(index, length))) = (turn, lengths.peek()) {
                    let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + index) as u8).collect();
                    if send(&mem, &mut producer, &bytes, START | END) {
                        sent.push_back(bytes);
                        lengths.next();
                        continue;
                    }
                }
                match receive(&mem, &mut consumer) {
                    Some((flags, bytes)) => {
                        prop_assert_eq!(flags, START | END);
                        prop_assert_eq!(Some(bytes), sent.pop_front());
                    }
                    None if lengths.peek().is_none() => break,
                    None if turn => prop_assert!(false, "neither room nor a chunk"),
                    None => {
                        // Nobody sends in this sequence of turns.
                        let Some((index, length)) = lengths.next() else { break };
                        let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + index) as u8).collect();
                        prop_assert!(send(&mem, &mut producer, &bytes, START | END));
                        sent.push_back(bytes);
                    }
                }
            }
            prop_assert!(sent.is_empty());
        }
    }

    #[test]
    fn a_lane_takes_what_it_has_room_for() {
        let (mem, mut producer, mut consumer) = lane(4096);
        assert_eq!(producer.room(&mem).unwrap(), Some(4096 - 8));
        assert!(send(&mem, &mut producer, &[7; 4096 - 8], START | END));
        assert_eq!(producer.room(&mem).unwrap(), None);
        assert!(!send(&mem, &mut producer, &[1], START | END));
        assert_eq!(receive(&mem, &mut consumer).unwrap().1, [7; 4096 - 8]);
        assert_eq!(producer.room(&mem).unwrap(), Some(4096 - 8));
    }

    #[test]
    fn positions_wrap_around() {
        let capacity = 4096;
        let (mem, mut producer, mut consumer) = lane(capacity);
        producer.begin_at(u32::MAX - 4095);
        consumer.begin_at(u32::MAX - 4095, &mem);
        for round in 0..100u32 {
            let bytes = vec![round as u8; 300];
            assert!(send(&mem, &mut producer, &bytes, START | END));
            assert_eq!(receive(&mem, &mut consumer).unwrap().1, bytes);
        }
    }

    #[test]
    fn a_chunk_is_taken_in_parts() {
        let (mem, mut producer, mut consumer) = lane(4096);
        producer.room(&mem).unwrap();
        producer.put(&mem, b"one ");
        producer.put(&mem, b"two");
        producer.commit(&mem, START | TABLE);
        let mut chunk = consumer.peek(&mem).unwrap().unwrap();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        consumer.take(&mem, &mut chunk, 4, &mut first);
        consumer.take(&mem, &mut chunk, 100, &mut rest);
        assert!(!consumer.finish(chunk));
        assert_eq!((first, rest), (b"one ".to_vec(), b"two".to_vec()));
        assert!(consumer.peek(&mem).unwrap().is_none());
    }
}
