//! Standard streams of a server's children.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::process::errors::StartError;
use crate::process::options::{LaunchOptions, Stdio};
use crate::sys;

/// A standard stream of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// As the server's own: nowhere.
    Null,
    /// Not open.
    Closed,
    /// A descriptor of it comes along.
    Sent,
}

/// What is open behind the number of a standard stream of this process.
pub(crate) fn own_stream(number: i32) -> Option<BorrowedFd<'static>> {
    let stream = sys::descriptors::standing(number);
    nix::fcntl::fcntl(stream, nix::fcntl::FcntlArg::F_GETFD).is_ok().then_some(stream)
}

/// In a child: puts its streams in place.
///
/// # Errors
///
/// The errno of what failed.
#[inline]
pub(crate) fn place_streams(
    streams: [Stream; 3],
    null: BorrowedFd<'_>,
    sent: &mut impl Iterator<Item = OwnedFd>,
) -> Result<(), i32> {
    for (number, stream) in streams.into_iter().enumerate() {
        let number = number as i32;
        let placed = match stream {
            Stream::Null => sys::descriptors::place(null, number),
            Stream::Closed => {
                sys::descriptors::close_range(number, number);
                Ok(())
            }
            Stream::Sent => match sent.next() {
                Some(fd) => {
                    let placed = sys::descriptors::place(fd.as_fd(), number);
                    sys::descriptors::close(fd);
                    placed
                }
                None => Err(io::Error::from_raw_os_error(libc::EBADF)),
            },
        };
        placed.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    }
    Ok(())
}

pub(super) type Sent<'a> = (Stream, Option<BorrowedFd<'a>>);

/// What becomes of the child's streams, and descriptors of those that are sent.
pub(super) fn streams(options: &LaunchOptions) -> Result<[Sent<'_>; 3], StartError> {
    let mut found = [(Stream::Null, None); 3];
    let all = [options.stdin.as_ref(), Some(&options.stdout), Some(&options.stderr)];
    for (number, stdio) in all.into_iter().enumerate() {
        found[number] = match stdio {
            None | Some(Stdio::Null) => (Stream::Null, None),
            Some(Stdio::Inherit) => match own_stream(number as i32) {
                Some(fd) => (Stream::Sent, Some(fd)),
                None => (Stream::Closed, None),
            },
            Some(given) => (
                Stream::Sent,
                given
                    .descriptor()
                    .map_err(|source| StartError::Os { step: "use a standard stream", source })?,
            ),
        };
    }
    Ok(found)
}
