//! What a process does that was taken over, and doesn't mind its library: garbage into all that it has in common with
//! others.

use std::fs::OpenOptions;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, recv, sendmsg, shutdown};

use crate::proc;

/// The place of the first byte of this value.
#[must_use]
pub fn find(value: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: so many bytes can be read from there.
    let at = unsafe { libc::memchr(bytes.as_ptr().cast(), value.into(), bytes.len()) };
    (!at.is_null()).then(|| at as usize - bytes.as_ptr() as usize)
}

/// One who writes garbage.
#[derive(Debug)]
pub struct Liar {
    random: u64,
}

impl Liar {
    /// Whatever it does follows from this number, and from what it finds.
    #[must_use]
    pub fn new(seed: u64) -> Liar {
        Liar { random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        // Marsaglia's xorshift: any other would do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % limit.max(1)
    }

    /// A word: any, or one that might be right.
    fn word(&mut self) -> u32 {
        let small = self.below(4096) as u32;
        match self.below(6) {
            0 => 0,
            1 => u32::MAX,
            2 => small,
            3 => 0x3000_0000 + small,
            4 => std::process::id() + small % 3,
            _ => self.below(1 << 32) as u32,
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(4)).flat_map(|_| self.word().to_le_bytes()).take(length).collect()
    }

    /// The memory that this process shares with others and may write to.
    fn mappings() -> Vec<(usize, usize)> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let shared = maps.lines().filter(|line| line.split(' ').nth(1) == Some("rw-s"));
        let range = |line: &str| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
        };
        shared.filter_map(range).collect()
    }

    /// So many words into each page of memory that is shared: half of them at its beginning, where protocols have their
    /// own. How many mappings there are.
    pub fn scribble(&mut self, words: usize) -> usize {
        let mappings = Liar::mappings();
        for (start, end) in &mappings {
            for _ in 0..words {
                let length = if self.below(2) == 0 { 4096.min(end - start) } else { end - start };
                let at = start + self.below(length / 4) * 4;
                let word = self.word();
                // SAFETY: within a mapping that this process has, aligned; its one thread, which reads here, unmaps
                // none meanwhile. That others share it is the point.
                unsafe { (at as *mut u32).write_volatile(word) };
            }
        }
        mappings.len()
    }

    /// Something into each descriptor, in each way that it may take. How many there are.
    pub fn babble(&mut self) -> usize {
        let all: Vec<_> =
            proc::descriptors(std::process::id() as i32).into_iter().filter(|fd| fd.0 > 2).collect();
        let numbers: Vec<RawFd> = all.iter().map(|(number, _)| *number).collect();
        for (number, target) in &all {
            // SAFETY: it is open, and of this process; it stays open until the end of the loop.
            let fd = unsafe { BorrowedFd::borrow_raw(*number) };
            let target = target.to_string_lossy();
            if target.starts_with("socket:") {
                self.send(fd, &numbers);
            } else if target.starts_with("/memfd:") {
                self.write_to_memory(fd);
            } else {
                self.write(fd);
            }
        }
        all.len()
    }

    /// Packets of any length, with any descriptors; what was meant for this process is gone.
    fn send(&mut self, socket: BorrowedFd<'_>, numbers: &[RawFd]) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        for _ in 0..1 + self.below(3) {
            let length = [self.below(4), self.below(40), self.below(700)][self.below(3)];
            let mut bytes = self.bytes(length);
            if let Some(kind) = bytes.first_mut().filter(|_| self.below(2) == 0) {
                *kind = self.below(9) as u8;
            }
            let count = if self.below(3) == 0 { self.below(4) } else { 0 };
            let rights: Vec<RawFd> = (0..count).map(|_| numbers[self.below(numbers.len())]).collect();
            let rights = [ControlMessage::ScmRights(&rights)];
            let control = if count == 0 { &[] } else { &rights[..] };
            let _ = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&bytes)], control, flags, None);
        }
        match self.below(200) {
            0..20 => drop(recv(socket.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT)),
            20 => drop(shutdown(socket.as_raw_fd(), Shutdown::Write)),
            21 => drop(shutdown(socket.as_raw_fd(), Shutdown::Read)),
            _ => self.change_flags(socket),
        }
    }

    /// What is shared with whoever has a copy of the descriptor.
    fn change_flags(&mut self, fd: BorrowedFd<'_>) {
        if self.below(20) == 0 {
            let flags =
                [OFlag::empty(), OFlag::O_NONBLOCK, OFlag::O_NONBLOCK | OFlag::O_APPEND][self.below(3)];
            let _ = fcntl(fd, FcntlArg::F_SETFL(flags));
        }
    }

    /// Into it, holes into it, seals upon it.
    fn write_to_memory(&mut self, memfd: BorrowedFd<'_>) {
        let length = self.below(200);
        let bytes = self.bytes(length);
        let place = self.below(1 << 16) as u64;
        if let Ok(file) = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", memfd.as_raw_fd()))
        {
            let _ = file.write_at(&bytes, place);
            let _ = file.set_len(place);
        }
        match self.below(50) {
            0 => {
                let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let _ = fallocate(memfd, hole, 0, 4096);
            }
            1 => {
                let seals = [SealFlag::F_SEAL_WRITE, SealFlag::F_SEAL_SEAL, SealFlag::F_SEAL_SHRINK];
                let _ = fcntl(memfd, FcntlArg::F_ADD_SEALS(seals[self.below(3)]));
            }
            _ => {}
        }
    }

    /// What there is room for, so that this process isn't kept from going on.
    fn write(&mut self, fd: BorrowedFd<'_>) {
        self.change_flags(fd);
        let length = [1, 8, self.below(100)][self.below(3)];
        let bytes = self.bytes(length);
        let mut events = [PollFd::new(fd, PollFlags::POLLOUT)];
        if poll(&mut events, PollTimeout::ZERO) == Ok(1) {
            let _ = nix::unistd::write(fd, &bytes);
        }
        if self.below(10) == 0 && poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
        {
            let _ = nix::unistd::read(fd, &mut [0; 64]);
        }
    }
}
