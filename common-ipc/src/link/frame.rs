//! Frames: a byte stream cut into messages.
//!
//! A frame is its payload's length in four bytes, the least significant first, then the payload.
//! The length is believed only up to a cap, and memory is taken as bytes arrive, so a peer that
//! announces much and sends little costs little.

/// The longest payload unless a link is told otherwise: 64 MiB.
pub const DEFAULT_MAX_FRAME: usize = 64 << 20;

/// How many bytes the header has.
pub const HEADER: usize = 4;

/// So much is reserved ahead of what has arrived, at the most.
const STEP: usize = 64 << 10;

/// A frame that can't be.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, where at most {max} are allowed")]
pub struct FrameTooLarge {
    /// The length it has, or says it has.
    pub length: usize,
    /// The cap.
    pub max: usize,
}

crate::error::debug_is_display!(FrameTooLarge);

/// The header of a payload of `length` bytes.
///
/// # Errors
///
/// A length above `max`, or above what four bytes can say.
pub fn header(length: usize, max: usize) -> Result<[u8; HEADER], FrameTooLarge> {
    match u32::try_from(length) {
        Ok(short) if length <= max => Ok(short.to_le_bytes()),
        _ => Err(FrameTooLarge { length, max }),
    }
}

/// Puts one frame after the other together from bytes that arrive in pieces of any size.
///
/// ```
/// use common_ipc::link::frame::{Assembler, header};
///
/// let mut assembler = Assembler::new(1024);
/// for byte in header(2, 1024)?.into_iter().chain(*b"hi") {
///     assembler.space()[0] = byte;
///     assembler.filled(1)?;
/// }
/// assert_eq!(assembler.take(), Some(b"hi".to_vec()));
/// # Ok::<(), common_ipc::link::frame::FrameTooLarge>(())
/// ```
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    header: [u8; HEADER],
    header_filled: usize,
    payload: Vec<u8>,
    payload_filled: usize,
}

impl Assembler {
    /// For payloads of up to `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Assembler {
        Assembler { max, header: [0; HEADER], header_filled: 0, payload: Vec::new(), payload_filled: 0 }
    }

    fn length(&self) -> Option<usize> {
        (self.header_filled == HEADER).then(|| u32::from_le_bytes(self.header) as usize)
    }

    /// Where the next bytes go. It never reaches into a frame after the current one, and is empty
    /// only when the current one is complete.
    pub fn space(&mut self) -> &mut [u8] {
        let Some(length) = self.length() else { return &mut self.header[self.header_filled..] };
        if self.payload_filled == self.payload.len() {
            let more = (length - self.payload_filled).min(STEP.max(self.payload_filled));
            self.payload.resize(self.payload_filled + more, 0);
        }
        &mut self.payload[self.payload_filled..]
    }

    /// Says that so many bytes were put at the start of [`space`](Assembler::space).
    ///
    /// # Errors
    ///
    /// They complete a header that announces more than the cap. The stream is of no use after that.
    ///
    /// # Panics
    ///
    /// If there wasn't that much space.
    pub fn filled(&mut self, count: usize) -> Result<(), FrameTooLarge> {
        if self.length().is_some() {
            assert!(
                count <= self.payload.len() - self.payload_filled,
                "more was filled than there was space"
            );
            self.payload_filled += count;
            return Ok(());
        }
        assert!(count <= HEADER - self.header_filled, "more was filled than there was space");
        self.header_filled += count;
        match self.length() {
            Some(length) if length > self.max => Err(FrameTooLarge { length, max: self.max }),
            _ => Ok(()),
        }
    }

    /// Whether a frame has begun and isn't complete.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.header_filled > 0
    }

    /// The payload, once it is complete; the next frame begins.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.length()? != self.payload_filled {
            return None;
        }
        self.header_filled = 0;
        self.payload_filled = 0;
        Some(std::mem::take(&mut self.payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds a stream in pieces of the given sizes and collects the frames.
    fn feed(stream: &[u8], pieces: &[usize], max: usize) -> Result<Vec<Vec<u8>>, FrameTooLarge> {
        let mut assembler = Assembler::new(max);
        let (mut frames, mut rest, mut turn) = (Vec::new(), stream, 0);
        while !rest.is_empty() {
            let piece = pieces[turn % pieces.len()].max(1);
            turn += 1;
            let space = assembler.space();
            let count = piece.min(space.len()).min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            assembler.filled(count)?;
            frames.extend(assembler.take());
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_are_cut(
            frames in prop::collection::vec(any::<Vec<u8>>(), 0..8),
            pieces in prop::collection::vec(1usize..300, 1..8),
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend(header(frame.len(), 1 << 20).unwrap());
                stream.extend(frame);
            }
            prop_assert_eq!(feed(&stream, &pieces, 1 << 20).unwrap(), frames);
        }

        #[test]
        fn garbage_never_takes_more_than_has_arrived(bytes in any::<Vec<u8>>()) {
            let mut assembler = Assembler::new(usize::MAX);
            for byte in bytes {
                assembler.space()[0] = byte;
                if assembler.filled(1).is_err() { break }
                assembler.take();
                prop_assert!(assembler.payload.len() <= assembler.payload_filled + STEP.max(assembler.payload_filled));
            }
        }
    }

    #[test]
    fn the_cap_holds_on_both_sides() {
        assert!(header(10, 10).is_ok());
        assert_eq!(header(11, 10), Err(FrameTooLarge { length: 11, max: 10 }));
        assert_eq!(
            feed(&u32::MAX.to_le_bytes(), &[4], 10),
            Err(FrameTooLarge { length: u32::MAX as usize, max: 10 })
        );
    }
}
