//! Moving descriptors to a child: what the library's ends have in common.

use std::sync::{Arc, Weak};

use super::descriptors::PrivateFd;

/// What can be given to a child: what has descriptors of this library's (connections, pipes, queues, events,
/// locks, memory, both sides of calls), and collections of it.
pub trait Give: private::Sealed {
    #[doc(hidden)]
    fn list(&self, giver: &mut Giver<'_>);
}

/// Collects what is given.
#[doc(hidden)]
#[derive(Debug)]
pub struct Giver<'a>(pub(crate) &'a mut Vec<Given>);

/// A descriptor that a child is to have. Weak, so that in the child the last handle that is dropped closes it.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) fd: Weak<PrivateFd>,
    pub(crate) how: How,
}

/// What giving a descriptor to another process means for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It belongs to one process: from then on to the other one.
    Moved,
    /// As `Moved`, and it is a control socket, by which the other end learns whose it is now.
    MovedWithNotice,
    /// Both have it.
    Shared,
}

impl Giver<'_> {
    pub(crate) fn add(&mut self, fd: &Arc<PrivateFd>, how: How) {
        if !self.0.iter().any(|known| known.fd.as_ptr() == Arc::as_ptr(fd)) {
            self.0.push(Given { fd: Arc::downgrade(fd), how });
        }
    }
}

pub(crate) mod private {
    /// Keeps [`Give`](super::Give) to this crate.
    pub trait Sealed {}
    impl<T: Sealed> Sealed for [T] {}
    impl<T: Sealed> Sealed for Vec<T> {}
    impl<T: Sealed> Sealed for Option<T> {}
}

impl<T: Give> Give for [T] {
    fn list(&self, giver: &mut Giver<'_>) {
        self.iter().for_each(|end| end.list(giver));
    }
}

impl<T: Give> Give for Vec<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.as_slice().list(giver);
    }
}

impl<T: Give> Give for Option<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.iter().for_each(|end| end.list(giver));
    }
}
