//! Workers that are killed, stopped and continued all the time.

use std::thread;
use std::time::Duration;

use multiprocess::valkka_multiprocess::FrontEnd;
use multiprocess::{ProcessError, Signal};

use crate::tally::{Tally, count};
use crate::worker::{Command, Filled};

pub fn chaos(tally: &Tally, fronts: &[FrontEnd<Command, Filled>]) {
    while !tally.is_closing() {
        // Rarely enough for some that are stopped to be so for longer than anybody's patience.
        thread::sleep(Duration::from_millis(fastrand::u64(0..500)));
        let Some(front) = fastrand::choice(fronts) else { return };
        let (signal, counter) = match fastrand::u32(0..10) {
            0..2 => (Signal::KILL, &tally.kills),
            2..6 => (Signal::STOP, &tally.stops),
            _ => (Signal::CONT, &tally.continues),
        };
        match front.child().and_then(|child| Ok(child.signal(signal)?)) {
            Ok(()) => count(counter),
            Err(ProcessError::NotStarted { .. }) => (),
            Err(error) => tally.wrong(format!("{signal} to {}: {error}", front.name())),
        }
    }
}
