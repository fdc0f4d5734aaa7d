//! The protocol on memory that shows every value which the memory model allows, in every order.
//!
//! Each model is run through all schedules of its threads up to a number of preemptions. What they are to
//! find: a chunk whose bytes aren't there yet, a header where there is none, and a sleeper that nobody wakes,
//! which is a deadlock that the model checker reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{Consumer, END, Lane, Mem, Producer, START};
use crate::sys::raced::Raced;

/// As small as a ring can be: room for two chunks of four bytes.
const CAPACITY: u32 = 32;
const LANE: Lane = Lane { words: 0, data: 512, capacity: CAPACITY };

/// The lane's words, then its data.
struct Memory {
    words: Vec<AtomicU32>,
    /// Accesses to the data that aren't to headers.
    data: Vec<Raced>,
}

impl Memory {
    fn new() -> Memory {
        Memory {
            words: (0..5 + CAPACITY / 4).map(|_| AtomicU32::new(0)).collect(),
            data: (0..CAPACITY / 4).map(|_| Raced::new()).collect(),
        }
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        let place = match at {
            0 => 0,
            128 => 1,
            256 => 2,
            260 => 3,
            264 => 4,
            data => 5 + (data - LANE.data) / 4,
        };
        &self.words[place]
    }
}

impl Mem for &Memory {
    fn load(self, at: usize, order: Ordering) -> u32 {
        self.word(at).load(order)
    }

    fn store(self, at: usize, value: u32, order: Ordering) {
        self.word(at).store(value, order);
    }

    fn swap(self, at: usize, value: u32) -> u32 {
        self.word(at).swap(value, Ordering::AcqRel)
    }

    fn fence(self) {
        fence(Ordering::SeqCst);
    }

    // Whole words only, as the models send them.
    fn write(self, at: usize, bytes: &[u8]) {
        for (index, word) in bytes.chunks_exact(4).enumerate() {
            self.data[(at - LANE.data) / 4 + index].write();
            self.store(at + index * 4, u32::from_ne_bytes(word.try_into().unwrap()), Ordering::Relaxed);
        }
    }

    fn append_to(self, at: usize, len: usize, to: &mut Vec<u8>) {
        for index in 0..len / 4 {
            self.data[(at - LANE.data) / 4 + index].read();
            to.extend(self.load(at + index * 4, Ordering::Relaxed).to_ne_bytes());
        }
    }
}

/// A bell, or a place to sleep, of the kernel's: a ring is never lost.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ears: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.ears.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.ears.wait(rung).unwrap();
        }
        *rung = false;
    }
}

#[derive(Default)]
struct Bells {
    reader: Bell,
    writer: Bell,
}

/// Sends a chunk of so many words, all the same.
fn send(mem: &Memory, producer: &mut Producer, bells: &Bells, word: u32, words: usize) {
    let length = 4 * words as u32;
    while producer.room(mem).unwrap() < Some(length) {
        producer.wait_for_room(mem, length);
        if producer.room(mem).unwrap() >= Some(length) {
            break;
        }
        bells.writer.wait();
    }
    producer.put(mem, &word.to_ne_bytes().repeat(words));
    producer.commit(mem, START | END);
    if producer.must_ring(mem) {
        bells.reader.ring();
    }
}

fn publish(mem: &Memory, consumer: &mut Consumer, bells: &Bells) {
    if consumer.publish(mem) {
        bells.writer.ring();
    }
}

fn recv(mem: &Memory, consumer: &mut Consumer, bells: &Bells) -> u32 {
    loop {
        if let Some(mut chunk) = consumer.peek(mem).unwrap() {
            assert_eq!(chunk.flags, START | END);
            let mut bytes = Vec::new();
            consumer.take(mem, &mut chunk, usize::MAX, &mut bytes);
            if consumer.finish(chunk) {
                publish(mem, consumer, bells);
            }
            assert!(bytes.chunks(4).all(|word| word == &bytes[..4]));
            return u32::from_ne_bytes(bytes[..4].try_into().unwrap());
        }
        publish(mem, consumer, bells);
        consumer.wait_for_chunks(mem);
        if consumer.is_empty(mem) {
            bells.reader.wait();
        } else {
            consumer.stop_waiting(mem);
        }
    }
}

fn model(preemptions: usize, body: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn loom_a_chunk_is_whole_and_wakes_the_reader() {
    model(3, || {
        let (memory, bells) = (Arc::new(Memory::new()), Arc::new(Bells::default()));
        let writer = {
            let (memory, bells) = (Arc::clone(&memory), Arc::clone(&bells));
            thread::spawn(move || {
                let mut producer = Producer::new(LANE);
                send(&memory, &mut producer, &bells, 11, 1);
                send(&memory, &mut producer, &bells, 22, 1);
            })
        };
        let mut consumer = Consumer::new(LANE);
        assert_eq!(recv(&memory, &mut consumer, &bells), 11);
        assert_eq!(recv(&memory, &mut consumer, &bells), 22);
        writer.join().unwrap();
    });
}

/// Sends so many chunks of so many words through a ring that they fill again and again.
fn go_around(chunks: u32, words: usize) {
    let (memory, bells) = (Arc::new(Memory::new()), Arc::new(Bells::default()));
    let writer = {
        let (memory, bells) = (Arc::clone(&memory), Arc::clone(&bells));
        thread::spawn(move || {
            let mut producer = Producer::new(LANE);
            (1..=chunks).for_each(|number| send(&memory, &mut producer, &bells, number * 11, words));
        })
    };
    let mut consumer = Consumer::new(LANE);
    (1..=chunks).for_each(|number| assert_eq!(recv(&memory, &mut consumer, &bells), number * 11));
    writer.join().unwrap();
}

#[test]
fn loom_a_full_ring_wakes_the_writer() {
    model(2, || go_around(6, 1));
}

#[test]
fn loom_what_is_written_over_was_read() {
    // So long that each takes the place of the one before it.
    model(2, || go_around(3, 5));
}

#[test]
fn loom_what_was_given_up_untaken_stays_so() {
    model(3, || {
        let (memory, bells) = (Arc::new(Memory::new()), Arc::new(Bells::default()));
        let mut producer = Producer::new(LANE);
        send(&memory, &mut producer, &bells, 11, 1);
        let place = producer.position();
        let reader = {
            let (memory, bells) = (Arc::clone(&memory), Arc::clone(&bells));
            thread::spawn(move || {
                let mut consumer = Consumer::new(LANE);
                recv(&memory, &mut consumer, &bells);
                publish(&memory, &mut consumer, &bells);
                consumer.may_take(&*memory)
            })
        };
        LANE.give_up_the_rest(&*memory);
        let was_read = LANE.was_read_to(&*memory, place);
        assert!(!reader.join().unwrap() || was_read);
    });
}
