//! Frames: what a message is on its way through a ring.
//!
//! A short message that takes nothing along is one chunk: its bytes, nothing else. Any other frame begins
//! with a table that says what belongs to it, so that the receiver knows how much is to come, and whether it
//! may, before it takes memory for it: the encoded message, then each byte string beside it, cut into chunks
//! anywhere. Memory is taken as bytes arrive, so a peer that announces much and sends little costs little.

use crate::link::attachments::{BUFFERS_MAX, FDS_MAX};
use crate::link::bytes::{BESIDE_FROM, Bytes};
use crate::link::ring::{Chunk, Consumer, END, Garbled, Mem};

/// The longest frame unless a link is told otherwise: 64 MiB.
pub const DEFAULT_MAX_FRAME: usize = 64 << 20;

/// So much memory is taken for a part of a frame before any byte of it has arrived, at the most.
const AHEAD: usize = 1 << 20;

/// A message that is too long.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {length} bytes, where at most {max} are allowed")]
pub struct FrameTooLarge {
    /// The length it has, or says it has, in bytes.
    pub length: usize,
    /// The cap.
    pub max: usize,
}

crate::error::debug_is_display!(FrameTooLarge);

/// Why a frame isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unframed {
    TooLarge(FrameTooLarge),
    Garbled(Garbled),
}

impl From<Garbled> for Unframed {
    fn from(garbled: Garbled) -> Unframed {
        Unframed::Garbled(garbled)
    }
}

/// What a frame consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    /// The descriptors sent beside the ring have the same number, if there are any.
    pub(crate) number: u32,
    pub(crate) descriptors: usize,
    /// How long the encoded message is.
    pub(crate) head: usize,
    /// How long each byte string beside it is.
    pub(crate) buffers: Vec<usize>,
}

impl Table {
    /// The bytes of a table without buffers; each of those has four more.
    const FIXED: usize = 12;

    /// How long it and all that belongs to it is.
    pub(crate) fn frame_length(&self) -> usize {
        self.buffers.iter().fold(self.head, |sum, length| sum.saturating_add(*length))
    }

    /// Writes it. All lengths are below the cap of four bytes, and the numbers within their bounds.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.number.to_le_bytes());
        to.extend((self.head as u32).to_le_bytes());
        to.extend((self.descriptors as u16).to_le_bytes());
        to.extend((self.buffers.len() as u16).to_le_bytes());
        for length in &self.buffers {
            to.extend((*length as u32).to_le_bytes());
        }
    }

    /// Reads it from the beginning of a frame's first chunk.
    fn take<M: Mem>(mem: M, consumer: &Consumer, chunk: &mut Chunk, max: usize) -> Result<Table, Unframed> {
        let mut bytes = Vec::with_capacity(Table::FIXED + 4 * BUFFERS_MAX);
        consumer.take(mem, chunk, Table::FIXED, &mut bytes);
        let short = |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
        let (Some(descriptors), Some(buffers)) = (short(8), short(10)) else {
            return Err(Garbled("a frame's table is cut").into());
        };
        if descriptors > FDS_MAX || buffers > BUFFERS_MAX {
            return Err(Garbled("a frame's table has too many entries").into());
        }
        if consumer.take(mem, chunk, 4 * buffers, &mut bytes) < 4 * buffers {
            return Err(Garbled("a frame's table is cut").into());
        }
        let mut words = bytes.chunks_exact(4).map(|word| {
            // Always four: chunks_exact sees to it.
            word.try_into().map_or(0, u32::from_le_bytes)
        });
        let (number, head) = (words.next().unwrap_or(0), words.next().unwrap_or(0) as usize);
        let buffers: Vec<usize> = words.skip(1).map(|length| length as usize).collect();
        if buffers.iter().any(|length| *length < BESIDE_FROM) {
            return Err(Garbled("bytes that don't go beside their message").into());
        }
        let table = Table { number, descriptors, head, buffers };
        let length = table.frame_length();
        if length > max {
            return Err(Unframed::TooLarge(FrameTooLarge { length, max }));
        }
        Ok(table)
    }
}

/// A whole frame.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    pub(crate) head: Vec<u8>,
    pub(crate) beside: Option<Box<Beside>>,
}

/// What came along with a message's bytes.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Beside {
    pub(crate) buffers: Vec<Bytes>,
    pub(crate) number: u32,
    /// How many descriptors are to be had under that number.
    pub(crate) descriptors: usize,
}

/// A frame that has begun.
#[derive(Debug)]
pub(crate) struct Assembly {
    table: Table,
    head: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    arrived: usize,
}

impl Assembly {
    /// Begins with a frame's first chunk, one with a table.
    pub(crate) fn begin<M: Mem>(
        mem: M,
        consumer: &Consumer,
        chunk: &mut Chunk,
        max: usize,
    ) -> Result<Assembly, Unframed> {
        let table = Table::take(mem, consumer, chunk, max)?;
        Ok(Assembly { table, head: Vec::new(), buffers: Vec::new(), arrived: 0 })
    }

    /// How many bytes of it have arrived.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Under which number it has how many descriptors, if it has any.
    pub(crate) fn descriptors(&self) -> Option<(u32, usize)> {
        (self.table.descriptors > 0).then_some((self.table.number, self.table.descriptors))
    }

    /// Takes in what is left of a chunk; gives the frame if that was its end.
    pub(crate) fn add<M: Mem>(
        &mut self,
        mem: M,
        consumer: &Consumer,
        chunk: &mut Chunk,
    ) -> Result<Option<Frame>, Garbled> {
        let Assembly { table, head, buffers, arrived } = &mut *self;
        while chunk.left() > 0 {
            let (part, length) =
                next_part(table, head, buffers).ok_or(Garbled("a frame longer than its table says"))?;
            let missing = length - part.len();
            if part.capacity() == part.len() {
                // What has arrived pays for twice as much.
                part.reserve_exact(missing.min(part.len().max(AHEAD)));
            }
            let most = missing.min(part.capacity() - part.len());
            *arrived += consumer.take(mem, chunk, most, part);
        }
        if chunk.flags & END == 0 {
            return Ok(None);
        }
        if self.arrived != self.table.frame_length() {
            return Err(Garbled("a frame shorter than its table says"));
        }
        self.buffers.resize_with(self.table.buffers.len(), Vec::new);
        let beside = (!self.buffers.is_empty() || self.table.descriptors > 0).then(|| {
            let buffers = std::mem::take(&mut self.buffers);
            Box::new(Beside {
                buffers: buffers.into_iter().map(Bytes::from).collect(),
                number: self.table.number,
                descriptors: self.table.descriptors,
            })
        });
        Ok(Some(Frame { head: std::mem::take(&mut self.head), beside }))
    }
}

/// The part of a frame that isn't complete, and how long it is to be.
fn next_part<'a>(
    table: &Table,
    head: &'a mut Vec<u8>,
    buffers: &'a mut Vec<Vec<u8>>,
) -> Option<(&'a mut Vec<u8>, usize)> {
    if head.len() < table.head {
        return Some((head, table.head));
    }
    let is_complete = |(buffer, length): (&Vec<u8>, &usize)| buffer.len() == *length;
    while buffers.iter().zip(&table.buffers).next_back().is_none_or(is_complete) {
        if buffers.len() == table.buffers.len() {
            return None;
        }
        buffers.push(Vec::new());
    }
    let length = table.buffers[buffers.len() - 1];
    Some((buffers.last_mut()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ring::plain::Plain;
    use crate::link::ring::{Lane, Producer, START, TABLE, memory};
    use proptest::prelude::*;

    /// What a frame's chunks are put together to, cut wherever `cuts` says.
    fn reassemble(table: &Table, body: &[u8], cuts: &[usize], max: usize) -> Result<Option<Frame>, Unframed> {
        let lane = Lane::new(0, 4096);
        let mem = &Plain::new(memory(4096));
        let (mut producer, mut consumer) = (Producer::new(lane), Consumer::new(lane));
        let mut first = Vec::new();
        table.write(&mut first);
        let (mut assembly, mut frame) = (None, None);
        let mut rest = body;
        let mut cuts = cuts.iter().cycle();
        let mut flags = START | TABLE;
        loop {
            let (now, later) = rest.split_at(cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut)));
            rest = later;
            producer.room(mem).unwrap();
            producer.put(mem, &std::mem::take(&mut first));
            producer.put(mem, now);
            producer.commit(mem, if rest.is_empty() { flags | END } else { flags });
            flags = 0;
            let mut chunk = consumer.peek(mem)?.unwrap();
            let assembly = match &mut assembly {
                Some(assembly) => assembly,
                None => assembly.insert(Assembly::begin(mem, &consumer, &mut chunk, max)?),
            };
            frame = assembly.add(mem, &consumer, &mut chunk)?.or(frame);
            if consumer.finish(chunk) {
                consumer.publish(mem);
            }
            if rest.is_empty() {
                return Ok(frame);
            }
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            head in 0usize..3000,
            buffers in prop::collection::vec(4096usize..6000, 0..4),
            descriptors in 0usize..3,
            cuts in prop::collection::vec(1usize..1000, 1..6),
        ) {
            let table = Table { number: 7, descriptors, head, buffers };
            let body: Vec<u8> = (0..table.frame_length()).map(|n| (n * 13) as u8).collect();
            let frame = reassemble(&table, &body, &cuts, 1 << 20).unwrap().unwrap();
            let mut back = frame.head.clone();
            if let Some(beside) = &frame.beside {
                prop_assert_eq!((beside.number, beside.descriptors), (7, descriptors));
                prop_assert_eq!(beside.buffers.len(), table.buffers.len());
                beside.buffers.iter().for_each(|buffer| back.extend(&buffer[..]));
            } else {
                prop_assert!(table.buffers.is_empty() && descriptors == 0);
            }
            prop_assert_eq!(frame.head.len(), head);
            prop_assert_eq!(back, body);
        }
    }

    #[test]
    fn the_cap_counts_everything() {
        let table = Table { head: 4, buffers: vec![4096], ..Table::default() };
        assert!(reassemble(&table, &[0; 4100], &[1000], 4100).unwrap().is_some());
        let too_large = Err(Unframed::TooLarge(FrameTooLarge { length: 4100, max: 4099 }));
        assert_eq!(reassemble(&table, &[0; 4100], &[1000], 4099), too_large);
    }

    #[test]
    fn what_the_table_says_must_be_what_comes() {
        let table = Table { head: 4, buffers: vec![4096], ..Table::default() };
        for length in [0, 1, 4, 4099, 4101] {
            assert!(matches!(reassemble(&table, &vec![0; length], &[50], 9000), Err(Unframed::Garbled(_))));
        }
        let short = Table { head: 4, buffers: vec![4095], ..Table::default() };
        assert!(matches!(reassemble(&short, &[0; 4099], &[50], 9000), Err(Unframed::Garbled(_))));
    }
}
