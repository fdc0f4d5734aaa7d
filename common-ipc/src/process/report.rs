//! What a child tells its parent: that it is ready, why it couldn't be set up, what came out.
//!
//! Each child has one sequenced-packet socket pair for this. A report is one packet: a tag, then
//! the payload, or, when that is longer than [`INLINE_MAX`], a sealed memfd with the payload. So a
//! child never blocks on its way out, whether anybody waits for it or not, and a parent that waits
//! has one wake-up, the end of the child: everything is there by then.
//!
//! A child that has become another user may be hostile. Its packets are input like any other:
//! bounded in number and size, copied before they are decoded, and its memfd must be a sealed one,
//! so that reading it neither blocks nor faults.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};

use crate::link::codec;
use crate::link::sealed::{self, Sealed};
use crate::process::panic_report::{PanicReport, cut};
use crate::process::setup::SetupFailure;
use crate::sys;
use crate::sys::socket::Received;

/// The longest payload that travels in the packet itself. It is read into a buffer on the stack,
/// short enough that this doesn't reach a page that the fork made expensive to write to.
const INLINE_MAX: usize = 512;
/// An honest child has no more under way than that it was set up, is ready, gets on, and its last one; what
/// comes beyond this isn't read at once.
const PACKETS_MAX: usize = 16;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// A fork server couldn't make the child.
    NotBorn { errno: i32 },
    /// Set up, and about to run its body.
    Ready,
    /// Its body says that it is ready for what it is there for.
    Announced,
    /// Its body says that it gets on.
    Progress,
    /// Not set up.
    SetupFailed(SetupFailure),
    /// The encoded value that the body returned.
    Output(Vec<u8>),
    /// The body panicked.
    Panicked(PanicReport),
    /// The body returned, but its value can't be had.
    NoOutput(OutputFailure),
}

/// Why a value that a body returned can't be had by the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutputFailure {
    /// Its `Serialize` failed or panicked, or in a debug build it couldn't be decoded again.
    Encode { type_name: String, message: String },
    /// It is longer than allowed.
    TooLarge { bytes: u64, max: u64 },
    /// The kernel wouldn't carry it.
    Undeliverable { errno: i32 },
    /// The body didn't run: what it takes couldn't be read.
    Argument { message: String },
    /// A zygote's preload has left threads behind.
    Threads { count: usize },
}

impl OutputFailure {
    fn shortened(&self) -> OutputFailure {
        match self {
            OutputFailure::Encode { type_name, message } => {
                OutputFailure::Encode { type_name: cut(type_name, 192), message: cut(message, 256) }
            }
            OutputFailure::Argument { message } => OutputFailure::Argument { message: cut(message, 256) },
            other => other.clone(),
        }
    }

    /// Whether the body didn't run because of it.
    pub(crate) fn is_of_the_start(&self) -> bool {
        matches!(self, OutputFailure::Argument { .. } | OutputFailure::Threads { .. })
    }
}

const READY: u8 = 0;
const SETUP_FAILED: u8 = 1;
const OUTPUT: u8 = 2;
const PANICKED: u8 = 3;
const NO_OUTPUT: u8 = 4;
const NOT_BORN: u8 = 5;
const ANNOUNCED: u8 = 6;
const PROGRESS: u8 = 7;
/// Added to a tag whose payload is in the attached memfd.
const IN_MEMFD: u8 = 0x80;

/// A pair of ends: the parent's and the child's. Neither blocks.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends an output: what [`send`] does with one, on the shortest way.
#[inline]
pub(crate) fn send_output(end: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    send_packet(end, OUTPUT, bytes)
}

/// Sends a report.
pub(crate) fn send(end: BorrowedFd<'_>, report: &Report) -> io::Result<()> {
    match report {
        Report::Ready => send_packet(end, READY, &[]),
        Report::Announced => send_packet(end, ANNOUNCED, &[]),
        Report::Progress => send_packet(end, PROGRESS, &[]),
        Report::NotBorn { errno } => send_packet(end, NOT_BORN, &errno.to_le_bytes()),
        Report::SetupFailed(failure) => send_packet(end, SETUP_FAILED, &encoded(failure)?),
        Report::Output(bytes) => send_output(end, bytes),
        // Why there is no output must get through: without memory or descriptors, in short.
        Report::Panicked(report) => send_packet(end, PANICKED, &encoded(report)?)
            .or_else(|_| send_packet(end, PANICKED, &encoded(&report.shortened())?)),
        Report::NoOutput(failure) => send_packet(end, NO_OUTPUT, &encoded(failure)?)
            .or_else(|_| send_packet(end, NO_OUTPUT, &encoded(&failure.shortened())?)),
    }
}

fn encoded<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    codec::encode(value).map_err(io::Error::other)
}

#[inline]
fn send_packet(end: BorrowedFd<'_>, tag: u8, payload: &[u8]) -> io::Result<()> {
    if payload.len() <= INLINE_MAX {
        return sys::socket::send(end, [&[tag], payload], None);
    }
    send_large_packet(end, tag, payload)
}

fn send_large_packet(end: BorrowedFd<'_>, tag: u8, payload: &[u8]) -> io::Result<()> {
    let memfd = sealed::create("report", payload.len())?;
    sealed::fill(memfd.as_fd(), &[payload])?;
    sys::socket::send(end, [&[tag | IN_MEMFD], &[]], Some(memfd.as_fd()))
}

/// Receives a report if one is there. `Ok(None)`: none now, or never again.
///
/// # Errors
///
/// The kernel's, as such: the packet can be received later. Any other is for good, the packet was taken: one that no
/// honest child sends, a payload of more than `max_output` bytes, memory that can't be read.
pub(crate) fn try_recv(end: BorrowedFd<'_>, max_output: usize) -> io::Result<Option<Report>> {
    let mut packet = [0; 1 + INLINE_MAX];
    let Received { length, truncated, attached } = match sys::socket::receive(end, &mut packet) {
        Ok(received) => received,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ECONNRESET)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if length == 0 {
        return Ok(None);
    }
    if truncated {
        return Err(garbled("a packet too long"));
    }
    let tag = packet[0];
    let in_memfd = tag & IN_MEMFD != 0;
    let payload = match (in_memfd, attached) {
        (false, None) => packet[1..length].to_vec(),
        // The packet is taken: whatever is wrong now is for good, also a shortage.
        (true, Some(memfd)) => read_memfd(memfd, max_output).map_err(|error| match error.raw_os_error() {
            Some(_) => io::Error::new(error.kind(), Lost(error)),
            None => error,
        })?,
        _ => return Err(garbled("a packet and its descriptors don't match")),
    };
    parse(tag & !IN_MEMFD, payload).map(Some)
}

fn parse(tag: u8, payload: Vec<u8>) -> io::Result<Report> {
    let undecodable = |error: codec::DecodeError| garbled(&error.to_string());
    let number = || payload.first_chunk().copied().ok_or_else(|| garbled("a number is missing"));
    Ok(match tag {
        READY => Report::Ready,
        ANNOUNCED => Report::Announced,
        PROGRESS => Report::Progress,
        NOT_BORN => Report::NotBorn { errno: i32::from_le_bytes(number()?) },
        SETUP_FAILED => Report::SetupFailed(codec::decode(&payload).map_err(undecodable)?),
        OUTPUT => Report::Output(payload),
        PANICKED => Report::Panicked(codec::decode(&payload).map_err(undecodable)?),
        NO_OUTPUT => Report::NoOutput(codec::decode(&payload).map_err(undecodable)?),
        _ => return Err(garbled("an unknown kind")),
    })
}

fn read_memfd(memfd: OwnedFd, max_output: usize) -> io::Result<Vec<u8>> {
    let sealed = Sealed::new(memfd.as_fd()).map_err(|error| match sys::is_shortage(&error) {
        true => error,
        // It isn't sealed, or no memory at all.
        false => garbled(&error.to_string()),
    })?;
    let length = sealed.len();
    if length > max_output as u64 {
        return Err(garbled(&format!("{length} bytes where {max_output} are allowed")));
    }
    sealed.read(0, length as usize)
}

/// A report whose packet was taken and whose memory then couldn't be read.
#[derive(Debug, thiserror::Error)]
#[error("its memory could not be read: {0}")]
struct Lost(#[source] io::Error);

fn garbled(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the child's report is garbled: {why}"))
}

/// What was heard from a child until now.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// It is set up, and about to run its body.
    pub(crate) was_ready: bool,
    /// And ready for what it is there for.
    pub(crate) has_announced: bool,
    /// Since somebody asked last.
    pub(crate) has_progressed: bool,
    /// How its body, or its start, ended; or why that can't be had any more: it was taken, and can't be read.
    pub(crate) last: Option<Result<Report, Arc<io::Error>>>,
}

impl Heard {
    /// Hears what has been said meanwhile; the first last word counts, also one that can't be read.
    ///
    /// # Errors
    ///
    /// The kernel's. What it didn't hand over can be heard later.
    pub(crate) fn hear(&mut self, end: BorrowedFd<'_>, max_output: usize) -> io::Result<()> {
        for _ in 0..PACKETS_MAX {
            if self.last.is_some() {
                break;
            }
            match try_recv(end, max_output) {
                Ok(Some(Report::Ready)) => self.was_ready = true,
                Ok(Some(Report::Announced)) => (self.was_ready, self.has_announced) = (true, true),
                Ok(Some(Report::Progress)) => self.has_progressed = true,
                Ok(Some(last)) => self.last = Some(Ok(last)),
                Ok(None) => break,
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(error) => self.last = Some(Err(Arc::new(error))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    fn ends() -> (OwnedFd, OwnedFd) {
        pair().unwrap()
    }

    #[test]
    fn short_and_long_outputs_arrive() {
        let (parent, child) = ends();
        for length in [0, 1, INLINE_MAX, INLINE_MAX + 1, 3 << 20] {
            let report = Report::Output((0..length).map(|n| n as u8).collect());
            send(child.as_fd(), &report).unwrap();
            assert_eq!(try_recv(parent.as_fd(), 4 << 20).unwrap(), Some(report));
        }
        assert_eq!(try_recv(parent.as_fd(), 1).unwrap(), None);
    }

    #[test]
    fn an_output_over_the_limit_is_an_error() {
        let (parent, child) = ends();
        send(child.as_fd(), &Report::Output(vec![7; 10_000])).unwrap();
        let error = try_recv(parent.as_fd(), 9_999).unwrap_err();
        assert!(error.to_string().contains("10000 bytes where 9999"), "{error}");
    }

    #[test]
    fn what_no_honest_child_sends_is_an_error() {
        let (parent, child) = ends();
        let recv = || try_recv(parent.as_fd(), 1 << 20).unwrap_err().kind();
        sys::socket::send(child.as_fd(), [&[99], &[]], None).unwrap();
        assert_eq!(recv(), io::ErrorKind::InvalidData);
        sys::socket::send(child.as_fd(), [&[OUTPUT | IN_MEMFD], &[]], None).unwrap();
        assert_eq!(recv(), io::ErrorKind::InvalidData);
        sys::socket::send(child.as_fd(), [&[PANICKED], &[255; 100]], None).unwrap();
        assert_eq!(recv(), io::ErrorKind::InvalidData);
        sys::socket::send(child.as_fd(), [&[OUTPUT], &[0; INLINE_MAX + 1]], None).unwrap();
        assert_eq!(recv(), io::ErrorKind::InvalidData);
        // Not memory: F_GET_SEALS itself refuses it.
        let null = std::fs::File::open("/dev/zero").unwrap();
        sys::socket::send(child.as_fd(), [&[OUTPUT | IN_MEMFD], &[]], Some(null.as_fd())).unwrap();
        assert!(try_recv(parent.as_fd(), 1 << 20).is_err());
        let unsealed = memfd_create("open", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        sys::socket::send(child.as_fd(), [&[OUTPUT | IN_MEMFD], &[]], Some(unsealed.as_fd())).unwrap();
        assert_eq!(recv(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_last_word_that_cannot_be_read_is_the_last() {
        let (parent, child) = ends();
        sys::socket::send(child.as_fd(), [&[99], &[]], None).unwrap();
        send(child.as_fd(), &Report::Output(vec![1])).unwrap();
        let mut heard = Heard::default();
        for _ in 0..2 {
            heard.hear(parent.as_fd(), 10).unwrap();
            assert!(matches!(&heard.last, Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn a_flood_is_cut() {
        let (parent, child) = ends();
        for _ in 0..PACKETS_MAX {
            send(child.as_fd(), &Report::Ready).unwrap();
        }
        send(child.as_fd(), &Report::Output(vec![1])).unwrap();
        let mut heard = Heard::default();
        heard.hear(parent.as_fd(), 10).unwrap();
        assert!(heard.was_ready && heard.last.is_none());
    }
}
