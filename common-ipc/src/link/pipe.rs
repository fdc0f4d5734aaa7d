//! A byte pipe whose ends no child inherits by accident.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;

use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Give, Giver, How, private};
use crate::sys;

/// The reading end of a [`pipe`].
///
/// Reading returns 0 once all writing ends are closed and everything was read. In a process that it
/// doesn't belong to, reading fails with [`WrongProcess`](crate::process::WrongProcess) inside the
/// `io::Error`. Dropping it closes the end.
#[derive(Debug)]
pub struct PipeReader {
    pub(crate) fd: Arc<PrivateFd>,
}

/// The writing end of a [`pipe`].
///
/// Writing blocks while the pipe is full (64 KiB by default), and fails with
/// [`io::ErrorKind::BrokenPipe`] once the reading end is gone. In a process that it doesn't belong
/// to it fails with [`WrongProcess`](crate::process::WrongProcess) inside the `io::Error`. Dropping
/// it closes the end.
#[derive(Debug)]
pub struct PipeWriter {
    pub(crate) fd: Arc<PrivateFd>,
}

/// Makes a pipe. Its ends belong to this process: a child has one only if it was given it, or as a
/// standard stream.
///
/// ```
/// use std::io::Read;
/// use common_ipc::link::pipe;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (mut reader, writer) = pipe()?;
/// let options = LaunchOptions::new().stdout(&writer);
/// let child = Launch::new(&options).start(|| println!("from the child"))?;
/// drop((options, writer));
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "from the child\n");
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// No descriptors or no memory left.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = PrivateFd::pair(|| Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?))?;
    Ok((PipeReader { fd: Arc::new(reader) }, PipeWriter { fd: Arc::new(writer) }))
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd.get().map_err(io::Error::other)?;
        sys::retry(|| Ok(nix::unistd::read(fd, buffer)?))
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fd = self.fd.get().map_err(io::Error::other)?;
        sys::retry(|| Ok(nix::unistd::write(fd, bytes)?))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For poll and select: readable when there is something to read, or nothing more will come.
impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.expose()
    }
}

/// For poll and select: writable when there is room.
impl AsFd for PipeWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.expose()
    }
}

impl private::Sealed for PipeReader {}
impl private::Sealed for PipeWriter {}

impl Give for PipeReader {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.fd, How::Moved);
    }
}

impl Give for PipeWriter {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.fd, How::Moved);
    }
}
