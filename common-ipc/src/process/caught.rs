//! Signals to this process, as something to wait for.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::{Generation, WrongProcess};
use crate::ownership::per_process::PerProcess;
use crate::process::signal::Signal;
use crate::sys;
use crate::sys::caught::{Before, PLACES, Place};

/// Signals that this process takes as they come, beside whatever else it waits for.
///
/// While there is one, the signals that it [catches](CaughtSignals::catch) don't do what they do otherwise: they are
/// noted, on whatever thread they come, and its descriptor is readable. As everywhere, several of the same kind that
/// come before somebody looks are one. All that catch a signal get it.
///
/// Children never have it: they begin with the default actions, also those that other code forks. **Dropping** the
/// last one that catches a signal brings back what was set before, a handler of other code included, unless that has
/// set another one since; what came and wasn't taken is gone.
///
/// ```
/// use std::os::fd::AsFd;
/// use common_ipc::link::safe_select;
/// use common_ipc::process::{CaughtSignals, Signal};
///
/// let caught = CaughtSignals::new()?;
/// caught.catch(Signal::TERM)?;
/// nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM)?;
/// safe_select(&[caught.as_fd()], None)?;
/// assert_eq!(caught.try_next()?, Some(Signal::TERM));
/// assert_eq!(caught.try_next()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CaughtSignals {
    place: &'static Place,
    bell: PrivateFd,
    home: Generation,
    caught: Mutex<u64>,
}

/// Why a signal isn't caught. What is caught already goes on to be.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CatchError {
    /// SIGKILL and SIGSTOP can't be caught, what a fault raises (SIGSEGV, SIGBUS, SIGILL, SIGFPE) leaves nothing to go on
    /// with, and two are libc's own (32, 33).
    #[error("{0} can't be caught")]
    NotCatchable(Signal),
    /// It belongs to another process.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The kernel refused.
    #[error("{signal} isn't caught: {source}")]
    Os {
        /// Which one.
        signal: Signal,
        /// What it said.
        source: io::Error,
    },
}

crate::error::debug_is_display!(CatchError);

/// What the process did with a signal before the first caught it, and how many catch it.
type Installed = HashMap<Signal, (Before, usize)>;

static INSTALLED: PerProcess<Mutex<Option<Installed>>> =
    PerProcess::new(Mutex::new(None), || Mutex::new(None));

fn installed() -> MappedMutexGuard<'static, Installed> {
    MutexGuard::map(INSTALLED.own().lock(), Option::get_or_insert_default)
}

const NOT_CATCHABLE: [i32; 8] =
    [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, 32, 33];

impl CaughtSignals {
    /// One that catches nothing. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// No descriptors left, or 32 such in this process.
    pub fn new() -> io::Result<CaughtSignals> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = PrivateFd::new(|| Ok(EventFd::from_flags(flags)?.into()))?;
        let place = Place::take(bell.get().map_err(io::Error::other)?);
        let place =
            place.ok_or_else(|| io::Error::other(format!("{PLACES} catch signals in this process")))?;
        Ok(CaughtSignals { place, bell, home: Generation::current(), caught: Mutex::new(0) })
    }

    /// Catches `signal` from now on. One that is caught already is fine.
    ///
    /// A signal that all threads have blocked doesn't come, as [those that a child
    /// holds](crate::process::Launch::hold_stop_signals).
    ///
    /// # Errors
    ///
    /// [`CatchError`].
    pub fn catch(&self, signal: Signal) -> Result<(), CatchError> {
        self.home.check()?;
        if NOT_CATCHABLE.contains(&signal.as_raw()) {
            return Err(CatchError::NotCatchable(signal));
        }
        let bit = 1 << (signal.as_raw() - 1);
        let mut caught = self.caught.lock();
        if *caught & bit != 0 {
            return Ok(());
        }
        // Before the handler is there, so that none gets lost.
        self.place.want(signal.as_raw());
        let mut known = installed();
        match known.get_mut(&signal) {
            Some((_, count)) => *count += 1,
            None => {
                let install = sys::caught::install(signal.as_raw());
                let before = install.map_err(|source| CatchError::Os { signal, source })?;
                known.insert(signal, (before, 1));
            }
        }
        *caught |= bit;
        Ok(())
    }

    /// Takes one of those that came, without waiting, the one with the smallest number first; `None` if there is none,
    /// and only then the descriptor isn't readable any more.
    ///
    /// # Errors
    ///
    /// In another process, a [`WrongProcess`] inside the `io::Error`.
    pub fn try_next(&self) -> io::Result<Option<Signal>> {
        let bell = self.bell.get().map_err(io::Error::other)?;
        let next = self.place.take_first().or_else(|| {
            // What comes from here on rings again.
            let _ = nix::unistd::read(bell, &mut [0; 8]);
            // What came before may not have been all.
            let next = self.place.take_first()?;
            let _ = nix::unistd::write(bell, &1u64.to_ne_bytes());
            Some(next)
        });
        Ok(next.and_then(Signal::from_raw))
    }
}

impl Drop for CaughtSignals {
    fn drop(&mut self) {
        if self.home.check().is_err() {
            return;
        }
        let caught = *self.caught.get_mut();
        let mut known = installed();
        for signal in (1..=64).filter(|signal| caught & (1 << (signal - 1)) != 0).filter_map(Signal::from_raw)
        {
            let Some((before, count)) = known.get_mut(&signal) else { continue };
            *count -= 1;
            if *count == 0 {
                sys::caught::put_back(signal.as_raw(), before);
                known.remove(&signal);
            }
        }
        self.place.leave();
    }
}

/// For poll, select and epoll: readable while a signal is there to be taken.
impl AsFd for CaughtSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.expose()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;
    use crate::sys::signals::{Disposition, disposition};

    fn all(caught: &CaughtSignals) -> Vec<Signal> {
        std::iter::from_fn(|| caught.try_next().unwrap()).collect()
    }

    // Each test has signals of its own: they run side by side.

    #[test]
    fn all_who_catch_a_signal_get_it_and_then_all_is_as_it_was() {
        let (one, two) = (CaughtSignals::new().unwrap(), CaughtSignals::new().unwrap());
        one.catch(Signal::USR1).unwrap();
        one.catch(Signal::USR1).unwrap();
        two.catch(Signal::USR1).unwrap();
        raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
        assert_eq!((all(&one), all(&two)), (vec![Signal::USR1], vec![Signal::USR1]));
        assert!(all(&one).is_empty());
        drop(one);
        raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
        assert_eq!(all(&two), [Signal::USR1]);
        drop(two);
        assert_eq!(disposition(libc::SIGUSR1), Some(Disposition::Default));
    }

    #[test]
    fn what_was_ignored_is_ignored_again() {
        sys::signals::set_disposition(libc::SIGUSR2, true).unwrap();
        let caught = CaughtSignals::new().unwrap();
        caught.catch(Signal::USR2).unwrap();
        assert_eq!(disposition(libc::SIGUSR2), Some(Disposition::Handled));
        drop(caught);
        assert_eq!(disposition(libc::SIGUSR2), Some(Disposition::Ignored));
    }

    #[test]
    fn some_cannot_be_caught() {
        let caught = CaughtSignals::new().unwrap();
        for signal in [Signal::KILL, Signal::STOP, Signal::SEGV] {
            assert!(matches!(caught.catch(signal), Err(CatchError::NotCatchable(which)) if which == signal));
        }
    }

    #[test]
    fn signals_of_many_threads_are_not_lost() {
        let signal = nix::sys::signal::Signal::SIGWINCH;
        for _ in 0..200 {
            let caught = CaughtSignals::new().unwrap();
            caught.catch(Signal::from_raw(signal as i32).unwrap()).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| raise(signal).unwrap());
                }
            });
            assert_eq!(all(&caught).len(), 1);
            // One more thread is in the handler while it goes away.
            std::thread::spawn(move || raise(signal).unwrap());
        }
    }
}
