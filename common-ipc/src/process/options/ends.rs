//! The library descriptors that a child gets: what is given to it, and pipes as its standard streams.

use std::sync::Arc;

use super::{LaunchOptions, Stdio};
use crate::link::control;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::WrongProcess;
use crate::ownership::give::How;

/// They are this process's, and those that move are claimed: no other start gives them as well.
/// Dropping it, after a start that failed, makes them what they were.
pub(crate) struct Ends {
    moved: Vec<Arc<PrivateFd>>,
    /// Those of `moved` whose other ends are to know whose they are.
    noticed: Vec<Arc<PrivateFd>>,
    /// What both have afterwards.
    shared: Vec<Arc<PrivateFd>>,
}

impl Ends {
    pub(crate) fn claim(options: &LaunchOptions) -> Result<Ends, WrongProcess> {
        let mut ends = Ends { moved: Vec::new(), noticed: Vec::new(), shared: Vec::new() };
        for given in &options.given {
            // Dropped since: there is nobody in the child who could use it.
            let Some(fd) = given.fd.upgrade() else { continue };
            if given.how == How::Shared {
                fd.get()?;
                ends.shared.push(fd);
                continue;
            }
            fd.claim()?;
            if given.how == How::MovedWithNotice {
                ends.noticed.push(Arc::clone(&fd));
            }
            ends.shared.extend(fd.companion().filter(|companion| companion.get().is_ok()));
            ends.moved.push(fd);
        }
        for end in options.stream_pipes() {
            if !ends.moved.iter().any(|moved| Arc::ptr_eq(moved, end)) {
                end.get()?;
                ends.shared.push(Arc::clone(end));
            }
        }
        Ok(ends)
    }

    /// All of them.
    #[inline]
    pub(crate) fn for_child(&self) -> [&[Arc<PrivateFd>]; 2] {
        [&self.moved, &self.shared]
    }

    /// In the child, before anything else can happen to them there: the other ends learn whose they are.
    pub(crate) fn announce(&self) {
        self.noticed.iter().for_each(|end| drop(control::tell_owner_is_here(end)));
    }

    /// In the parent, once the child has them.
    pub(crate) fn give_away(mut self) {
        self.give_moved_away();
    }

    /// As [`give_away`](Ends::give_away): what is shared is there for the next child.
    pub(crate) fn give_moved_away(&mut self) {
        self.noticed.clear();
        for end in std::mem::take(&mut self.moved) {
            end.give_away();
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.moved.iter().for_each(|end| end.unclaim());
    }
}

impl LaunchOptions {
    /// In the child, once they are its standard streams: the pipes that it doesn't need twice.
    pub(crate) fn drop_stream_pipes(&self) {
        let given =
            |end: &Arc<PrivateFd>| self.given.iter().any(|given| given.fd.as_ptr() == Arc::as_ptr(end));
        self.stream_pipes().filter(|end| !given(end)).for_each(|end| end.give_away());
    }

    fn stream_pipes(&self) -> impl Iterator<Item = &Arc<PrivateFd>> {
        [self.stdin.as_ref(), Some(&self.stdout), Some(&self.stderr)].into_iter().flatten().filter_map(
            |stream| match stream {
                Stdio::Pipe(end) => Some(&end.0),
                _ => None,
            },
        )
    }
}
