//! How a figure comes about, and the other process that it takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Launch, LaunchOptions};
use integration_tests::raw;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::place::Place;
use crate::support::{median, timed};

/// What a measurement is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) place: Place,
    /// How long it measures.
    pub(crate) time: Duration,
}

/// Reading the clock takes a tenth of the fastest round trip, so that many microseconds of them are
/// timed at once.
const BATCH: f64 = 200.0;

impl Setting {
    /// The time that one of these takes, in microseconds: the median, or, beside the hog, the mean, as
    /// the hog's time slices are what a median wouldn't show.
    pub(crate) fn time_of(self, mut one: impl FnMut()) -> f64 {
        let size = self.warm_up(&mut one);
        let mut figures = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < self.time {
            figures.push(timed(|| (0..size).for_each(|_| one())) / f64::from(size));
        }
        match self.place {
            Place::Hog => begin.elapsed().as_nanos() as f64 / 1e3 / (f64::from(size) * figures.len() as f64),
            _ => median(&mut figures),
        }
    }

    /// How many of these there are in a microsecond, all in all: a batch may find the work of another
    /// one done already.
    pub(crate) fn rate_of(self, mut one: impl FnMut()) -> f64 {
        let size = self.warm_up(&mut one);
        let mut count = 0.0;
        let begin = Instant::now();
        while begin.elapsed() < self.time {
            (0..size).for_each(|_| one());
            count += f64::from(size);
        }
        count / (begin.elapsed().as_nanos() as f64 / 1e3)
    }

    /// Until caches are warm and pages are mapped. The size of a batch.
    fn warm_up(self, one: &mut impl FnMut()) -> u32 {
        let mut size = 1;
        let begin = Instant::now();
        loop {
            let took = timed(|| (0..size).for_each(|_| one()));
            if took < BATCH && size < 1 << 20 {
                size *= 2;
            } else if begin.elapsed() * 8 >= self.time {
                return size;
            }
        }
    }

    /// A child of the library that runs `body` in its place.
    pub(crate) fn child(self, options: &LaunchOptions, body: impl FnOnce()) -> Child {
        let start = Launch::new(options).start(move || {
            self.place.pin_second();
            body();
        });
        start.unwrap()
    }

    /// A bare fork that runs `body` in its place.
    pub(crate) fn fork(self, body: impl FnOnce()) -> Fork {
        let pid = raw::fork(|| {
            end_with_parent();
            // A panic must not go on into what the parent was about to do.
            match catch_unwind(AssertUnwindSafe(|| {
                self.place.pin_second();
                body();
            })) {
                Ok(()) => 0,
                Err(_) => 101,
            }
        });
        Fork { pid: Pid::from_raw(pid) }
    }
}

/// A forked child, killed and collected when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Fork {
    pid: Pid,
}

impl Fork {
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw() as u32
    }
}

#[cfg(feature = "iceoryx2")]
impl Fork {
    /// Waits until it ends by itself.
    pub(crate) fn wait(self) {
        waitpid(self.pid, None).unwrap();
        std::mem::forget(self);
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        // Nobody else collects it, so the number is its own.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

/// Has the kernel kill this process when the one that started it dies: nothing that hangs or is
/// interrupted leaves anybody behind.
pub(crate) fn end_with_parent() {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
}
