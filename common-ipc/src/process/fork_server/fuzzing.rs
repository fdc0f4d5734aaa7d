//! What the fuzz target of a fork server's requests runs: all that is done with the bytes before anything is called.

use crate::link::codec;
use crate::process::fork_server::request::{Header, Rest, Unusual};
use crate::process::options::Prepared;

/// The data as the packet of a request.
pub(crate) fn requests(data: &[u8]) {
    let Some((header, rest)) = Header::parse(data) else { return };
    let bytes = header.to_bytes();
    let again = Header::parse(&bytes).map(|(again, _)| again);
    assert!(again.as_ref() == Some(&header), "{again:?} isn't {header:?}");
    let Ok(rest) = Rest::of(&header, rest) else { return };
    if let Ok(unusual) = rest.unusual() {
        let encoded = codec::encode(&unusual);
        let again = encoded.and_then(|bytes| {
            codec::decode::<Unusual>(&bytes)
                .map_err(|error| codec::EncodeError { type_name: error.type_name, message: error.message })
        });
        assert!(again.as_ref() == Ok(&unusual), "{again:?} isn't {unusual:?}");
        let _ = Prepared::of(&unusual.own, header.comm, unusual.identity.clone());
    }
    if let Ok((argument, incoming)) = rest.argument(&mut std::iter::empty()) {
        let _ = codec::decode_message::<crate::link::connection::fuzzing::Value>(argument, incoming);
    }
}
