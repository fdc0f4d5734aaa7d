//! The least that a zygote takes: a process that was made early, and makes a child for each byte that it is
//! sent. No function is called in the child, and nothing comes back but its pidfd and its number: what is here
//! is the limit that the benchmarks compare the library with.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{read, write};

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Body {
    /// Ends at once.
    End,
    /// Sleeps until it is killed.
    Sleep,
}

/// A process that makes children of this one. Dropping it ends it, but not those.
#[derive(Debug)]
pub struct BareZygote {
    /// None once it is to end.
    socket: Option<OwnedFd>,
    process: Bare,
}

/// A process that only its pidfd can be waited for by.
#[derive(Debug)]
pub struct Bare {
    pid: i32,
    pidfd: OwnedFd,
}

/// The kernel's `struct clone_args`, as far as it goes here (linux/sched.h).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    /// Always 0: the end of such a child sends nobody a signal.
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// A child of this process or of its parent; `None` in the child.
fn clone3(flags: libc::c_int) -> Option<Bare> {
    let mut pidfd: RawFd = -1;
    let arguments = CloneArgs {
        flags: (flags | libc::CLONE_PIDFD) as u64,
        pidfd: &raw mut pidfd as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child goes on with a copy of everything. Its process has one thread, and it
    // does nothing but system calls. The kernel writes the pidfd to where there is room for it.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) };
    assert!(pid >= 0, "clone3: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just made it.
    (pid > 0).then(|| Bare { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

impl BareZygote {
    /// Makes it, with what this process has in memory now.
    ///
    /// # Panics
    ///
    /// If the kernel has no more sockets or processes.
    #[must_use]
    pub fn new() -> BareZygote {
        let ends = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (here, there) = ends.unwrap_or_else(|errno| panic!("socketpair: {errno}"));
        match clone3(0) {
            Some(process) => BareZygote { socket: Some(here), process },
            None => {
                drop(here);
                serve(&there)
            }
        }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Bare {
        &self.process
    }

    /// Has it make a child.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn start(&self, body: Body) -> Bare {
        let Some(socket) = &self.socket else { panic!("the zygote has ended") };
        let written = write(socket, &[body as u8]);
        assert_eq!(written, Ok(1), "the zygote has ended");
        let mut pid = [0; 4];
        let pidfd = with_descriptor(&mut pid, -1, |message| {
            // SAFETY: the message points to room for what arrives, alive until after the call.
            unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) }
        });
        // SAFETY: the zygote sends a pidfd with each number, and the kernel has just made this one of it.
        Bare { pid: i32::from_ne_bytes(pid), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }
    }
}

impl Default for BareZygote {
    fn default() -> Self {
        BareZygote::new()
    }
}

impl Drop for BareZygote {
    fn drop(&mut self) {
        self.socket = None;
        self.process.wait();
    }
}

/// In the zygote: until nobody has the other end.
fn serve(socket: &OwnedFd) -> ! {
    let mut body = [0];
    while read(socket, &mut body) == Ok(1) {
        let Some(child) = clone3(libc::CLONE_PARENT) else { live(body[0] == Body::Sleep as u8) };
        with_descriptor(&mut child.pid.to_ne_bytes(), child.pidfd.as_raw_fd(), |message| {
            // SAFETY: the message points to a number and a descriptor, alive until after the call.
            unsafe { libc::sendmsg(socket.as_raw_fd(), message, libc::MSG_NOSIGNAL) }
        });
    }
    // SAFETY: _exit never returns.
    unsafe { libc::_exit(0) };
}

fn live(sleeps: bool) -> ! {
    // SAFETY: system calls without pointers. Who sleeps dies with the program.
    unsafe {
        if sleeps {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::pause();
        }
        libc::_exit(0)
    }
}

/// Sends or receives a packet with one descriptor: the one that is there afterwards.
fn with_descriptor(
    bytes: &mut [u8],
    fd: RawFd,
    transfer: impl FnOnce(*mut libc::msghdr) -> libc::ssize_t,
) -> RawFd {
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // A control message with one descriptor, aligned as the kernel's header asks.
    let mut control = [0_u64; 3];
    // SAFETY: msghdr is plain data, for which zeros are a value. CMSG_SPACE and CMSG_LEN only compute; the first
    // header lies at the start of control, which has room for it and one descriptor.
    unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        let length = transfer(&raw mut message);
        assert_eq!(length, bytes.len() as isize, "the other process has ended");
        libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()
    }
}

impl Bare {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid
    }

    /// Waits for its end, and collects it.
    ///
    /// # Panics
    ///
    /// If it was collected before.
    pub fn wait(&self) {
        let ended = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL);
        ended.unwrap_or_else(|errno| panic!("waitid: {errno}"));
    }

    /// Kills it.
    pub fn kill(&self) {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: numbers and a null pointer, which means that there is nothing to tell.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, no_info, 0)
        };
    }
}
