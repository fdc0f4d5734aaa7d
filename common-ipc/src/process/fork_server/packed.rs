//! The program's side of a request: as it is sent.

use std::ffi::OsStr;
use std::io;

use crate::link::codec;
use crate::link::sealed;
use crate::ownership::descriptors::PrivateFd;
use crate::process::errors::StartError;
use crate::process::fork_server::ask::{Start, os};
use crate::process::fork_server::births::Expected;
use crate::process::fork_server::changes::Changes;
use crate::process::fork_server::records::Records;
use crate::process::fork_server::request::{HEADER, Header, Moment, PACKET_MAX, Unusual};
use crate::process::fork_server::streams::Stream;
use crate::process::options::{OwnSetup, Sigint};
use crate::process::plan::Plan;

/// A request, ready to be sent.
pub(super) struct Packed<'a> {
    header: [u8; HEADER],
    /// What isn't as usual, and the lengths of the byte strings.
    front: Vec<u8>,
    start: &'a Start,
    in_memfd: bool,
}

impl<'a> Packed<'a> {
    pub(super) fn new(
        plan: &Plan<'_>,
        start: &'a Start,
        expected: &Expected<'_>,
        streams: [Stream; 3],
        records: Option<Records>,
        changes: Changes,
        asked: Moment,
    ) -> Result<Packed<'a>, StartError> {
        let own = &plan.options.own;
        let unusual = Unusual {
            own: OwnSetup { sigint: Sigint::Default, max_output: None, ..own.clone() },
            long_name: plan.long_name().map(OsStr::to_owned),
            identity: plan.prepared.identity.clone(),
            changes,
        };
        let mut front = if unusual == Unusual::default() { Vec::new() } else { codec::encode(&unusual)? };
        let encoded = front.len();
        let buffers = &start.outgoing.buffers;
        buffers.iter().for_each(|bytes| front.extend((bytes.len() as u64).to_le_bytes()));
        let beside: usize = buffers.iter().map(|bytes| bytes.len()).sum();
        let in_memfd = HEADER + front.len() + start.argument.len() + beside > PACKET_MAX;
        let header = Header {
            slot: expected.slot,
            comm: plan.prepared.comm,
            parent_death: plan.parent_death,
            held: plan.held,
            announce_ready: plan.announce_ready,
            sigint: own.sigint,
            streams,
            records,
            max_output: own.max_output.unwrap_or_default() as u64,
            rest_in_memfd: in_memfd,
            unusual: encoded as u32,
            argument: start.argument.len() as u64,
            buffers: buffers.len() as u32,
            asked,
            thunk: start.thunk as u64,
            function: start.function as u64,
        };
        Ok(Packed { header: header.to_bytes(), front, start, in_memfd })
    }

    fn rest(&self) -> impl Iterator<Item = &[u8]> {
        let buffers = self.start.outgoing.buffers.iter().map(|bytes| &bytes[..]);
        [&self.front[..], &self.start.argument].into_iter().chain(buffers)
    }

    /// What the packet consists of.
    pub(super) fn parts(&self) -> Vec<io::IoSlice<'_>> {
        let mut parts = vec![io::IoSlice::new(&self.header)];
        if !self.in_memfd {
            parts.extend(self.rest().map(io::IoSlice::new));
        }
        parts
    }

    /// The rest in sealed memory, unless it is in the packet.
    pub(super) fn in_memory(&self) -> Result<Option<PrivateFd>, StartError> {
        if !self.in_memfd {
            return Ok(None);
        }
        let failed = os("make memory for the request");
        let parts: Vec<&[u8]> = self.rest().collect();
        let length = parts.iter().map(|part| part.len()).sum();
        let memfd = PrivateFd::new(|| sealed::create("request", length)).map_err(&failed)?;
        sealed::fill(memfd.get()?, &parts).map_err(&failed)?;
        Ok(Some(memfd))
    }
}
