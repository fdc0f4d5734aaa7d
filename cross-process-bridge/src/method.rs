//! What calls are named by.

/// A method: its number on the wire, and its name for errors.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
}

impl Method {
    /// The method of that number of an interface, and its name with that of its type.
    #[must_use]
    pub const fn new(interface: u16, method: u16, name: &'static str) -> Method {
        Method { id: (interface as u32) << 16 | method as u32, name }
    }
}

pub(crate) fn interface_of(id: u32) -> u16 {
    (id >> 16) as u16
}

pub(crate) fn method_of(id: u32) -> u16 {
    id as u16
}

/// No interface of this number exists: a block lists its traits, and has fewer.
const OURS: u16 = u16::MAX;
/// Makes the object by the closure that the child was started with.
pub(crate) const MAKE: u32 = Method::new(OURS, 0, "").id;
/// Ends the child, after the calls that came before.
pub(crate) const STOP: u32 = Method::new(OURS, 1, "").id;
/// What a closure has returned, for the method that has called it.
pub(crate) const RESUME: u32 = Method::new(OURS, 2, "").id;
/// Asks for the next items of a stream.
pub(crate) const NEXT: u32 = Method::new(OURS, 3, "").id;
/// Nobody waits any more for the stream, or lends the closures, of that number. It has no reply.
pub(crate) const GIVE_UP: u32 = Method::new(OURS, 4, "").id;

/// Whether it is a call of the library's own.
pub(crate) fn is_ours(what: u32) -> bool {
    interface_of(what) == OURS
}
