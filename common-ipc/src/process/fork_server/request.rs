//! What a fork server is asked for: one packet, that only the child which is made for it looks into.
//!
//! ```text
//! packet:  a header of fixed length; the rest, unless that is in a memfd
//! rest:    what isn't as usual, encoded; then what the task takes: the argument, byte strings beside it
//! with it: the child's end of its report link, the link for its records if there is one, the memfd if there is
//!          one, the streams that are sent, the working directory if it is another one, the argument's own descriptors
//! ```
//!
//! The header has all that most children need. It is read without touching more memory than it has: each page
//! that a new child touches, of code or of data, costs it 1 to 2 us.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::link::Bytes;
use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::link::sealed::Sealed;
use crate::ownership::descriptors::{PrivateFd, registry};
use crate::process::fork_server::changes::Changes;
use crate::process::fork_server::records::Records;
use crate::process::fork_server::streams::Stream;
use crate::process::options::{COMM_MAX, Identity, OwnSetup, ParentDeath, Sigint};
use crate::process::report::OutputFailure;
use crate::process::signal::Signal;
use crate::process::signals::Held;
use crate::sys::function;

/// So much is in the packet itself; the rest of a longer request is in memory beside it.
pub(super) const PACKET_MAX: usize = 1024;

/// Decodes an argument, says that it is ready, calls the function, and encodes what that returns.
pub(crate) type Thunk =
    fn(function: usize, argument: &[u8], incoming: Option<Incoming>, ready: &mut dyn FnMut()) -> Outcome;
/// What becomes of a body.
pub(crate) type Outcome = Result<Vec<u8>, OutputFailure>;

/// Instead of a request: a template is to let go of what only its first child can have.
pub(super) const LET_GO: [u8; 1] = [0];

/// What every child is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the kernel writes the child's number.
    pub(super) slot: u16,
    pub(super) comm: [u8; COMM_MAX + 1],
    pub(super) parent_death: ParentDeath,
    pub(super) held: Held,
    pub(super) announce_ready: bool,
    pub(super) sigint: Sigint,
    pub(super) streams: [Stream; 3],
    /// Its records are relayed, by a link that comes along.
    pub(super) records: Option<Records>,
    /// Zero: none.
    pub(super) max_output: u64,
    pub(super) rest_in_memfd: bool,
    /// How long the parts of the rest are; of the byte strings, how many there are.
    pub(super) unusual: u32,
    pub(super) argument: u64,
    pub(super) buffers: u32,
    /// When the program looked at its own state for it.
    pub(super) asked: Moment,
    /// The addresses of the task's thunk and function. Zero: the server knows what to run.
    pub(super) thunk: u64,
    pub(super) function: u64,
}

/// A request that is older isn't worked on: its server was stopped, and the program may have given up rights since.
/// It is sent anew, with the state of then.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// A moment that all processes of a machine know, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Moment {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from);
        Moment(now.map_or(0, |now| now.as_nanos() as u64))
    }

    pub(super) fn elapsed(self) -> Duration {
        Duration::from_nanos(Moment::now().0.saturating_sub(self.0))
    }
}

pub(super) const HEADER: usize = 2 + 16 + 9 + 3 + 3 + 1 + 8 + 1 + 4 + 8 + 4 + 8 + 8 + 8;

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; HEADER] {
        let (kind, value) = match self.parent_death {
            ParentDeath::Survive => (0, 0),
            ParentDeath::Signal(signal) => (1, signal.as_raw() as u64),
            ParentDeath::Stop { grace } => (2, u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX)),
        };
        let mut bytes = [0; HEADER];
        let mut place = 0;
        let mut put = |part: &[u8]| {
            bytes[place..place + part.len()].copy_from_slice(part);
            place += part.len();
        };
        put(&self.slot.to_le_bytes());
        put(&self.comm);
        put(&[kind]);
        put(&value.to_le_bytes());
        put(&[self.held as u8, u8::from(self.announce_ready), u8::from(self.sigint == Sigint::Ignore)]);
        put(&self.streams.map(|stream| stream as u8));
        put(&[self.records.map_or(0, Records::to_byte)]);
        put(&self.max_output.to_le_bytes());
        put(&[u8::from(self.rest_in_memfd)]);
        put(&self.unusual.to_le_bytes());
        put(&self.argument.to_le_bytes());
        put(&self.buffers.to_le_bytes());
        put(&self.asked.0.to_le_bytes());
        put(&self.thunk.to_le_bytes());
        put(&self.function.to_le_bytes());
        bytes
    }

    /// `None` for what no program sends.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (mut bytes, rest) = bytes.split_at_checked(HEADER)?;
        let mut take = |length: usize| {
            let (part, left) = bytes.split_at(length);
            bytes = left;
            part
        };
        let slot = u16::from_le_bytes(take(2).try_into().ok()?);
        let comm = take(COMM_MAX + 1).try_into().ok()?;
        let kind = take(1)[0];
        let value = u64::from_le_bytes(take(8).try_into().ok()?);
        let parent_death = match kind {
            0 => ParentDeath::Survive,
            1 => ParentDeath::Signal(Signal::from_raw(i32::try_from(value).ok()?)?),
            _ => ParentDeath::Stop { grace: Duration::from_nanos(value) },
        };
        let held = [Held::Nothing, Held::StopSignals, Held::All];
        let held = *held.get(usize::from(take(1)[0]))?;
        let announce_ready = take(1)[0] == 1;
        let sigint = if take(1)[0] == 1 { Sigint::Ignore } else { Sigint::Default };
        let mut streams = [Stream::Null; 3];
        for stream in &mut streams {
            *stream = *[Stream::Null, Stream::Closed, Stream::Sent].get(usize::from(take(1)[0]))?;
        }
        let records = Records::from_byte(take(1)[0]);
        let header = Header {
            slot,
            comm,
            parent_death,
            held,
            announce_ready,
            sigint,
            streams,
            records,
            max_output: u64::from_le_bytes(take(8).try_into().ok()?),
            rest_in_memfd: take(1)[0] == 1,
            unusual: u32::from_le_bytes(take(4).try_into().ok()?),
            argument: u64::from_le_bytes(take(8).try_into().ok()?),
            buffers: u32::from_le_bytes(take(4).try_into().ok()?),
            asked: Moment(u64::from_le_bytes(take(8).try_into().ok()?)),
            thunk: u64::from_le_bytes(take(8).try_into().ok()?),
            function: u64::from_le_bytes(take(8).try_into().ok()?),
        };
        Some((header, rest))
    }
}

/// What most children aren't told.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unusual {
    pub(super) own: OwnSetup,
    pub(super) long_name: Option<OsString>,
    pub(super) identity: Identity,
    pub(super) changes: Changes,
}

/// The rest of a request, in the child.
pub(super) struct Rest<'a> {
    encoded: &'a [u8],
    /// How long the byte strings are.
    lengths: &'a [u8],
    argument: &'a [u8],
    buffers: &'a [u8],
}

const CUT: &str = "the request is cut";

impl<'a> Rest<'a> {
    #[inline]
    pub(super) fn of(header: &Header, bytes: &'a [u8]) -> Result<Rest<'a>, &'static str> {
        let (encoded, bytes) = bytes.split_at_checked(header.unusual as usize).ok_or(CUT)?;
        let (lengths, bytes) = bytes.split_at_checked(header.buffers as usize * 8).ok_or(CUT)?;
        let (argument, buffers) = bytes.split_at_checked(header.argument as usize).ok_or(CUT)?;
        Ok(Rest { encoded, lengths, argument, buffers })
    }

    #[cold]
    pub(super) fn unusual(&self) -> Result<Unusual, String> {
        codec::decode(self.encoded).map_err(|error| error.to_string())
    }

    /// Calls the task's function.
    #[inline]
    pub(super) fn run(
        &self,
        header: &Header,
        fds: &mut dyn Iterator<Item = OwnedFd>,
        ready: &mut dyn FnMut(),
    ) -> Outcome {
        let (argument, incoming) = self.argument(fds)?;
        // Both were made numbers by the program, of which this process is a copy, and are in what was loaded
        // before the copy was made (`Start::new`).
        let thunk = function::at::<Thunk>(header.thunk as usize);
        thunk(header.function as usize, argument, incoming, ready)
    }

    /// What the task takes, and what came along with that.
    #[inline]
    pub(super) fn argument(
        &self,
        fds: &mut dyn Iterator<Item = OwnedFd>,
    ) -> Result<(&'a [u8], Option<Incoming>), OutputFailure> {
        let mut fds = fds.peekable();
        let incoming = match fds.peek().is_some() || !self.lengths.is_empty() {
            true => Some(self.incoming(&mut fds)?),
            false => None,
        };
        Ok((self.argument, incoming))
    }

    #[cold]
    fn incoming(&self, fds: &mut dyn Iterator<Item = OwnedFd>) -> Result<Incoming, OutputFailure> {
        let mut rest = self.buffers;
        let mut buffers = Vec::new();
        for length in self.lengths.chunks_exact(8) {
            let length = length.try_into().map_or(0, u64::from_le_bytes) as usize;
            let (buffer, left) = rest
                .split_at_checked(length)
                .ok_or_else(|| OutputFailure::Argument { message: CUT.to_owned() })?;
            buffers.push(Some(Bytes::from(buffer)));
            rest = left;
        }
        let mut registry = registry();
        let fds: Vec<Option<PrivateFd>> = fds.map(|fd| Some(registry.list(fd))).collect();
        Ok(Incoming { fds, buffers, max_frame: usize::MAX, provisional: true, lost: false })
    }
}

/// In the child: the rest, if it isn't in the packet.
#[cold]
pub(super) fn rest_from_memfd(memfd: Option<OwnedFd>) -> Result<Vec<u8>, String> {
    let memfd = memfd.ok_or("the request came without its memory")?;
    let sealed = Sealed::new(memfd.as_fd()).map_err(|error| error.to_string())?;
    sealed.read(0, sealed.len() as usize).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            slot: 700,
            comm: *b"0123456789abcdef",
            parent_death: ParentDeath::Stop { grace: Duration::from_millis(900) },
            held: Held::StopSignals,
            announce_ready: true,
            sigint: Sigint::Ignore,
            streams: [Stream::Closed, Stream::Sent, Stream::Null],
            records: Some(Records { level: log::LevelFilter::Debug, shared: true }),
            max_output: 1 << 40,
            rest_in_memfd: true,
            unusual: 3,
            argument: 5,
            buffers: 1,
            asked: Moment(1 << 50),
            thunk: u64::MAX,
            function: 7,
        }
    }

    #[test]
    fn a_header_comes_back() {
        for parent_death in [
            ParentDeath::Survive,
            ParentDeath::Signal(Signal::KILL),
            ParentDeath::Stop { grace: Duration::from_millis(900) },
        ] {
            let header = Header { parent_death, ..header() };
            let mut bytes = header.to_bytes().to_vec();
            bytes.push(99);
            assert_eq!(Header::parse(&bytes), Some((header, &[99][..])));
            assert_eq!(Header::parse(&bytes[..HEADER - 1]), None);
        }
    }

    #[test]
    fn the_rest_has_its_parts() {
        let mut bytes = b"xyz".to_vec();
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(b"argumBB");
        let rest = Rest::of(&header(), &bytes).unwrap();
        assert_eq!((rest.encoded, rest.argument, rest.buffers), (&b"xyz"[..], &b"argum"[..], &b"BB"[..]));
        let incoming = rest.incoming(&mut std::iter::empty()).unwrap();
        assert_eq!(incoming.buffers, [Some(Bytes::from(&b"BB"[..]))]);
        assert!(Rest::of(&header(), &bytes[..10]).is_err());
    }
}
