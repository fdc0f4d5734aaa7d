//! Who has a permit, as a number in shared memory, and whether that process lives.
//!
//! An owner is a process: its id, and when it started, since ids are used again. Both mean something only
//! within one pid namespace, and start times within one time namespace, so those who share permits
//! must share both.
//!
//! ```text
//! bits  0 to 21   the id
//!      22 to 53   when it started, modulo 2^32 ticks (497 days)
//!      54 to 62   of a permit: the epoch in which it was taken, modulo 512
//!      63         of a permit: it is kept, without a guard
//! ```

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// Ids are smaller than 2^22 on Linux.
const PID_BITS: u32 = 22;
const PID_MASK: u64 = (1 << PID_BITS) - 1;
const START_MASK: u64 = u32::MAX as u64;
const EPOCH_SHIFT: u32 = 54;
const KEPT: u64 = 1 << 63;
/// Epochs are counted modulo 512.
const EPOCH_MASK: u64 = (KEPT >> EPOCH_SHIFT) - 1;

/// The process in what stands in a permit.
#[inline]
pub(crate) fn process_of(word: u64) -> u64 {
    word & ((1 << EPOCH_SHIFT) - 1)
}

/// A permit that was taken in this epoch, in which it isn't kept.
#[inline]
pub(crate) fn in_epoch(word: u64, epoch: u32) -> u64 {
    process_of(word) | (u64::from(epoch) & EPOCH_MASK) << EPOCH_SHIFT
}

/// Whether a permit was taken in this epoch.
pub(crate) fn is_of_epoch(word: u64, epoch: u32) -> bool {
    word >> EPOCH_SHIFT & EPOCH_MASK == u64::from(epoch) & EPOCH_MASK
}

/// The permit, kept without a guard.
pub(crate) fn kept(word: u64) -> u64 {
    word | KEPT
}

/// Whether a permit is this process's and is kept.
pub(crate) fn is_kept_by(word: u64, owner: u64) -> bool {
    word & KEPT != 0 && process_of(word) == owner
}

/// Where ids and start times mean the same: the inodes of the pid and the time namespace. Zero: not known.
pub(crate) type Namespaces = [u64; 2];

/// This process, as others see it.
#[derive(Debug)]
pub(crate) struct Own {
    /// The process in what stands in a permit of its; never zero.
    pub(crate) owner: u64,
    pub(crate) namespaces: Namespaces,
    /// Whether /proc shows the processes of this namespace.
    has_proc: bool,
}

/// The identity of this process, found out once in each.
#[inline]
pub(crate) fn own() -> &'static Own {
    static OWN: PerProcess<OnceLock<Own>> = PerProcess::new(OnceLock::new(), OnceLock::new);
    OWN.own().get_or_init(find_out)
}

#[cold]
fn find_out() -> Own {
    let pid = std::process::id();
    // Somewhere else may be mounted there, or nothing: then only the id tells this process from others.
    let stat = Stat::read("self").filter(|stat| stat.pid == pid);
    let inode = |name: &str| fs::metadata(format!("/proc/self/ns/{name}")).map_or(0, |file| file.ino());
    Own {
        owner: pack(pid, stat.as_ref().map_or(0, |stat| stat.start)),
        namespaces: [inode("pid"), inode("time")],
        has_proc: stat.is_some(),
    }
}

fn pack(pid: u32, start: u64) -> u64 {
    u64::from(pid) | (start & START_MASK) << PID_BITS
}

/// The fields of /proc/PID/stat that matter here: proc_pid_stat(5).
struct Stat {
    pid: u32,
    state: char,
    /// In ticks since the machine started.
    start: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Stat> {
        let text = fs::read(format!("/proc/{process}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The name is in parentheses and may hold anything, a closing parenthesis included.
        let (front, back) = text.rsplit_once(')')?;
        let mut fields = back.split_whitespace();
        Some(Stat {
            pid: front.split_whitespace().next()?.parse().ok()?,
            state: fields.next()?.chars().next()?,
            start: fields.nth(18)?.parse().ok()?,
        })
    }
}

/// Whether the process that this names has ended; a zombie has. What can't be told counts as alive.
///
/// The number comes from shared memory and may be anything; one that names no process is dead.
pub(crate) fn is_dead(word: u64) -> bool {
    let own = own();
    let owner = process_of(word);
    if owner == own.owner {
        return false;
    }
    let (pid, start) = ((owner & PID_MASK) as i32, owner >> PID_BITS);
    if pid == 0 {
        return true;
    }
    let is_another = || {
        let now = if own.has_proc && start != 0 { Stat::read(&pid.to_string()) } else { None };
        now.is_some_and(|stat| stat.start & START_MASK != start || matches!(stat.state, 'Z' | 'X'))
    };
    match PrivateFd::new(|| sys::pidfd::open(pid)) {
        Ok(pidfd) => has_ended(&pidfd) || is_another(),
        Err(error) => match error.raw_os_error() {
            // There is no such process; or there is a thread of this id, which then can't be a process's.
            Some(libc::ESRCH | libc::EINVAL | libc::ENOENT) => true,
            // No descriptors left, or not allowed: there is a coarser way.
            _ => kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) || is_another(),
        },
    }
}

fn has_ended(pidfd: &PrivateFd) -> bool {
    let look = || -> io::Result<bool> {
        let fd = pidfd.get().map_err(io::Error::other)?;
        wait_until(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], Deadline::after(Duration::ZERO))
    };
    look().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn owner_of(pid: u32) -> u64 {
        pack(pid, Stat::read(&pid.to_string()).unwrap().start)
    }

    #[test]
    fn this_process_is_alive() {
        let own = own();
        assert_eq!(own.owner, owner_of(std::process::id()));
        assert!(own.has_proc && own.namespaces[0] != 0);
        assert!(!is_dead(own.owner));
    }

    #[test]
    fn a_process_is_dead_from_its_end_on() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let owner = owner_of(child.id());
        assert!(!is_dead(owner));
        // The same id, of a process that started at another time.
        assert!(is_dead(owner + (1 << PID_BITS)));
        // Its start isn't known: the id decides.
        assert!(!is_dead(pack(child.id(), 0)));
        child.kill().unwrap();
        // A zombie is dead: it doesn't release anything any more.
        let begin = std::time::Instant::now();
        while !is_dead(owner) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_dead(owner) && is_dead(pack(child.id(), 0)));
        child.wait().unwrap();
        assert!(is_dead(owner));
    }

    #[test]
    fn a_thread_is_no_process() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(nix::unistd::gettid().as_raw() as u32).unwrap();
            let _ = stopped.recv();
        });
        assert!(is_dead(pack(receiver.recv().unwrap(), 0)));
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn whatever_a_hostile_peer_writes_is_an_answer() {
        for word in [1 << PID_BITS, KEPT, 1 << EPOCH_SHIFT, u64::MAX, u64::MAX >> 10] {
            assert!(is_dead(word), "{word:x}");
        }
    }

    #[test]
    fn a_permits_word_tells_the_process_the_epoch_and_whether_it_is_kept() {
        let own = own().owner;
        for epoch in [0, 1, 511, 512, u32::MAX] {
            let word = in_epoch(own, epoch);
            assert!(is_of_epoch(word, epoch) && !is_of_epoch(word, epoch ^ 1));
            assert_eq!((process_of(word), process_of(kept(word))), (own, own));
            assert!(!is_kept_by(word, own) && is_kept_by(kept(word), own));
            assert!(!is_kept_by(kept(word), own ^ 1));
            assert_eq!(in_epoch(kept(word), epoch), word);
            assert!(!is_dead(kept(word)));
        }
    }

    #[test]
    fn start_times_are_compared_modulo_the_bits_that_there_are() {
        assert_eq!(pack(7, 1 << 32 | 5), pack(7, 5));
        assert_eq!(process_of(pack(PID_MASK as u32, u64::MAX)), pack(PID_MASK as u32, u64::MAX));
    }
}
