//! Moving descriptors to a child: what the library's ends have in common.

use std::sync::{Arc, Weak};

use super::descriptors::PrivateFd;

/// What can be given to a child: ends of this family's connections and pipes, and collections of them.
pub trait Give: private::Sealed {
    #[doc(hidden)]
    fn list(&self, giver: &mut Giver<'_>);
}

/// Collects what is given. Weak, so that in the child the last handle that is dropped closes the end.
#[doc(hidden)]
#[derive(Debug)]
pub struct Giver<'a>(pub(crate) &'a mut Vec<Weak<PrivateFd>>);

impl Giver<'_> {
    pub(crate) fn add(&mut self, fd: &Arc<PrivateFd>) {
        if !self.0.iter().any(|known| known.as_ptr() == Arc::as_ptr(fd)) {
            self.0.push(Arc::downgrade(fd));
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
