//! What a fork server is asked for: one packet, that only the child which is made for it looks into.
//!
//! ```text
//! packet:  where the body is (1 byte), the length of the request (4), the body unless it is in a memfd
//! body:    the request, then what its task takes: the argument, and byte strings beside it
//! with it: the child's end of its report link, the memfd if there is one, the streams that are sent,
//!          the working directory if it is another one, the argument's own descriptors
//! ```

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::link::Bytes;
use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::link::sealed::Sealed;
use crate::ownership::descriptors::{PrivateFd, registry};
use crate::process::fork_server::surroundings::{Changes, Stream};
use crate::process::options::{COMM_MAX, Identity, OwnSetup, ParentDeath};
use crate::process::report::OutputFailure;
use crate::process::signals::Held;
use crate::sys::function::{self, Place};

/// So much is in the packet itself: a page, which the server has for it.
pub(super) const PACKET_MAX: usize = 4096;
const HEADER: usize = 5;
const IN_PACKET: u8 = 0;
const IN_MEMFD: u8 = 1;

/// All that a child is to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) comm: [u8; COMM_MAX + 1],
    pub(super) own: OwnSetup,
    pub(super) identity: Identity,
    pub(super) parent_death: ParentDeath,
    pub(super) handshake: bool,
    pub(super) held: Held,
    pub(super) streams: [Stream; 3],
    pub(super) changes: Changes,
    /// What to run, unless the server knows that itself.
    pub(super) task: Option<Task>,
}

/// A function to call, and how long its argument and the byte strings beside that are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Knows the types.
    thunk: Place,
    /// Is passed to the thunk.
    function: Place,
    argument: u64,
    buffers: Vec<u64>,
}

/// Decodes an argument, says that it is ready, calls the function, and encodes what that returns.
pub(crate) type Thunk =
    fn(function: usize, argument: &[u8], incoming: Incoming, ready: &mut dyn FnMut()) -> Outcome;
/// What becomes of a body.
pub(crate) type Outcome = Result<Vec<u8>, OutputFailure>;

impl Task {
    /// `None`: one of the functions is in no program or library, but was made at run time.
    pub(crate) fn new(thunk: Thunk, function: usize, argument: usize, buffers: &[Bytes]) -> Option<Task> {
        Some(Task {
            thunk: Place::of(function::address(thunk))?,
            function: Place::of(function)?,
            argument: argument as u64,
            buffers: buffers.iter().map(|bytes| bytes.len() as u64).collect(),
        })
    }

    /// Calls it.
    pub(super) fn run(&self, luggage: &[u8], fds: Vec<OwnedFd>, ready: &mut dyn FnMut()) -> Outcome {
        let (Some(thunk), Some(function)) = (self.thunk.here(), self.function.here()) else {
            return Err(OutputFailure::UnknownFunction);
        };
        let cut = || OutputFailure::Argument { message: "the request is cut".to_owned() };
        let (argument, mut rest) = luggage.split_at_checked(self.argument as usize).ok_or_else(cut)?;
        let mut buffers = Vec::new();
        for length in &self.buffers {
            let (buffer, left) = rest.split_at_checked(*length as usize).ok_or_else(cut)?;
            buffers.push(Some(Bytes::from(buffer)));
            rest = left;
        }
        let fds: Vec<Option<PrivateFd>> = {
            let mut registry = registry();
            fds.into_iter().map(|fd| Some(registry.list(fd))).collect()
        };
        let incoming = Incoming { fds, buffers, max_frame: usize::MAX };
        // Of the type that it was when the program, of which this is a copy, made it a number.
        function::at::<Thunk>(thunk)(function, argument, incoming, ready)
    }
}

impl Request {
    /// The body's parts: the request, then the luggage. The packet's header comes before them.
    pub(super) fn pack(&self, luggage: usize) -> Result<Packed, codec::EncodeError> {
        let mut bytes = vec![0; HEADER];
        bytes.extend(codec::encode(self)?);
        let length = (bytes.len() - HEADER) as u32;
        bytes[1..HEADER].copy_from_slice(&length.to_le_bytes());
        let in_memfd = bytes.len() + luggage > PACKET_MAX;
        bytes[0] = if in_memfd { IN_MEMFD } else { IN_PACKET };
        Ok(Packed { bytes, in_memfd })
    }

    /// In the child: the request and the luggage. `fds` are those that came, but for the report link.
    pub(super) fn unpack(
        packet: &[u8],
        fds: &mut impl Iterator<Item = OwnedFd>,
    ) -> Result<(Request, Vec<u8>), String> {
        let (header, body) = packet.split_first_chunk::<HEADER>().ok_or("the request has no header")?;
        let [tag, a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let mut body = match tag {
            IN_PACKET => body.to_vec(),
            _ => {
                use std::os::fd::AsFd;
                let memfd = fds.next().ok_or("the request came without its memory")?;
                let sealed = Sealed::new(memfd.as_fd()).map_err(|error| error.to_string())?;
                sealed.read(0, sealed.len() as usize).map_err(|error| error.to_string())?
            }
        };
        let luggage = body.split_off(length.min(body.len()));
        let request = codec::decode(&body).map_err(|error| error.to_string())?;
        Ok((request, luggage))
    }
}

/// A request, ready to be sent.
pub(super) struct Packed {
    bytes: Vec<u8>,
    pub(super) in_memfd: bool,
}

impl Packed {
    pub(super) fn header(&self) -> &[u8] {
        &self.bytes[..HEADER]
    }

    pub(super) fn request(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }
}
