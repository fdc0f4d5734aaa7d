//! The system calls that can be made to fail, and with what.

use std::fmt;

use nix::errno::Errno;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $text:literal [$($(#[$only:meta])? $number:ident),+] [$($errno:ident),*];)*) => {
        /// A system call, or a family of those that do the same.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum SystemCall {
            $($(#[$doc])* $name,)*
        }

        impl SystemCall {
            /// All of them.
            pub const ALL: &'static [SystemCall] = &[$(SystemCall::$name),*];

            /// As its manual page is called.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(SystemCall::$name => $text,)*
                }
            }

            /// The numbers that the kernel knows it by on this architecture.
            pub(super) fn numbers(self) -> &'static [libc::c_long] {
                match self {
                    $(SystemCall::$name => &[$($(#[$only])? libc::$number),+],)*
                }
            }

            /// With what the kernel may well let it fail although nothing is wrong with the program: out of memory,
            /// descriptors or processes, interrupted by a signal, filtered.
            #[must_use]
            pub fn plausible(self) -> &'static [Errno] {
                match self {
                    $(SystemCall::$name => &[$(Errno::$errno),*],)*
                }
            }
        }
    };
}

calls! {
    /// A new process, as by `fork`.
    Clone "clone" [SYS_clone] [EAGAIN, ENOMEM];
    /// A new process or thread.
    Clone3 "clone3" [SYS_clone3] [EAGAIN, ENOMEM];
    /// What counts threads.
    Unshare "unshare" [SYS_unshare] [EPERM];
    /// Waiting for a child, and its status.
    Wait "waitid" [SYS_waitid, SYS_wait4] [EINTR];
    /// A descriptor for a process.
    PidfdOpen "pidfd_open" [SYS_pidfd_open] [EMFILE, ENFILE, ENOMEM];
    /// A signal to a process that one has a descriptor for.
    PidfdSendSignal "pidfd_send_signal" [SYS_pidfd_send_signal] [EPERM, ENOSYS];
    /// A signal to a process.
    Kill "kill" [SYS_kill] [EPERM];
    /// Settings of a process.
    Prctl "prctl" [SYS_prctl] [EINVAL, EPERM];
    /// Limits of a process.
    Prlimit "prlimit" [SYS_prlimit64] [EPERM];
    /// A process group or session of one's own.
    Group "setpgid" [SYS_setpgid, SYS_setsid] [EPERM];
    /// Memory as a file.
    Memfd "memfd_create" [SYS_memfd_create] [EMFILE, ENFILE, ENOMEM];
    /// How long a file is, and room for it.
    Truncate "ftruncate" [SYS_ftruncate, SYS_fallocate] [EINTR, ENOSPC];
    /// Memory of a process.
    Mmap "mmap" [SYS_mmap] [ENOMEM];
    /// What may be done with memory, and what becomes of it.
    Madvise "madvise" [SYS_madvise, SYS_mprotect] [ENOMEM, EINVAL];
    /// Two sockets that lead to each other.
    Socketpair "socketpair" [SYS_socketpair] [EMFILE, ENFILE, ENOBUFS];
    /// What a socket sends, descriptors among it.
    SendMessage "sendmsg" [SYS_sendmsg] [EINTR, ENOBUFS, ETOOMANYREFS];
    /// What a socket sends.
    Send "send" [SYS_sendto] [EINTR, ENOBUFS];
    /// What a socket receives.
    Receive "recv" [SYS_recvmsg, SYS_recvfrom] [EINTR, ENOMEM];
    /// What is asked of a socket.
    SocketOption "getsockopt" [SYS_getsockopt, SYS_setsockopt] [ENOBUFS];
    /// Pipes.
    Pipe "pipe" [SYS_pipe2] [EMFILE, ENFILE];
    /// What is read.
    Read "read" [SYS_read, SYS_pread64, SYS_readv] [EINTR, EIO];
    /// What is written.
    Write "write" [SYS_write, SYS_pwrite64, SYS_writev] [EINTR, EIO];
    /// Opening a file.
    Open "open" [SYS_openat, #[cfg(target_arch = "x86_64")] SYS_open] [EINTR, EMFILE, ENFILE, EACCES];
    /// What a file is.
    Stat "stat" [SYS_statx, SYS_newfstatat, SYS_fstat, SYS_fstatfs] [ENOMEM];
    /// Copies of descriptors, and what is asked of them.
    Fcntl "fcntl" [SYS_fcntl] [EMFILE, EINVAL];
    /// A descriptor under another number.
    Dup "dup" [SYS_dup, SYS_dup3, #[cfg(target_arch = "x86_64")] SYS_dup2] [EMFILE, EINTR];
    /// Closing many descriptors.
    CloseRange "close_range" [SYS_close_range] [ENOSYS, EPERM];
    /// A counter that can be waited for.
    EventFd "eventfd" [SYS_eventfd2] [EMFILE, ENFILE, ENOMEM];
    /// A descriptor to wait for many.
    EpollCreate "epoll_create" [SYS_epoll_create1] [EMFILE, ENFILE, ENOMEM];
    /// What such a descriptor waits for.
    EpollControl "epoll_ctl" [SYS_epoll_ctl] [ENOMEM, ENOSPC];
    /// Waiting for descriptors.
    Poll "poll" [SYS_ppoll, #[cfg(target_arch = "x86_64")] SYS_poll] [EINTR, ENOMEM];
    /// Waiting for many.
    EpollWait "epoll_wait" [SYS_epoll_pwait, #[cfg(target_arch = "x86_64")] SYS_epoll_wait] [EINTR];
    /// Waiting for a word of memory.
    Futex "futex" [SYS_futex] [EINTR];
    /// Random numbers.
    Random "getrandom" [SYS_getrandom] [EINTR];
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
