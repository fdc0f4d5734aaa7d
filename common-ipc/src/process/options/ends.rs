//! The library descriptors that a child gets: what is given to it, and pipes as its standard streams.

use std::sync::Arc;

use super::{LaunchOptions, Stdio};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::WrongProcess;

/// They are this process's, and those that are given are claimed: no other start gives them as well.
/// Dropping it, after a start that failed, makes them what they were.
pub(crate) struct Ends {
    given: Vec<Arc<PrivateFd>>,
    streams: Vec<Arc<PrivateFd>>,
}

impl Ends {
    pub(crate) fn claim(options: &LaunchOptions) -> Result<Ends, WrongProcess> {
        let mut ends = Ends { given: Vec::new(), streams: Vec::new() };
        for end in &options.given {
            // Dropped since: there is nobody in the child who could use it.
            let Some(end) = end.upgrade() else { continue };
            end.claim()?;
            ends.given.push(end);
        }
        for end in options.stream_pipes() {
            if !ends.given.iter().any(|given| Arc::ptr_eq(given, end)) {
                end.get()?;
                ends.streams.push(Arc::clone(end));
            }
        }
        Ok(ends)
    }

    /// All of them.
    #[inline]
    pub(crate) fn for_child(&self) -> [&[Arc<PrivateFd>]; 2] {
        [&self.given, &self.streams]
    }

    /// In the parent, once the child has them.
    pub(crate) fn give_away(mut self) {
        for end in std::mem::take(&mut self.given) {
            end.give_away();
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.given.iter().for_each(|end| end.unclaim());
    }
}

impl LaunchOptions {
    /// In the child, once they are its standard streams: the pipes that it doesn't need twice.
    pub(crate) fn drop_stream_pipes(&self) {
        let given = |end: &Arc<PrivateFd>| self.given.iter().any(|given| given.as_ptr() == Arc::as_ptr(end));
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
