//! Who hangs: each actor says what it is about, and a thread apart looks whether it ever gets on.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use common_ipc::memory::{MemoryError, SharedAtomics};
use integration_tests::proc;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Who makes no progress for so long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a pulse has: since when, in milliseconds of a clock that all processes share; which thread; its name and what it is
/// about, as bytes.
const WORDS: usize = 16;
const SINCE: usize = 0;
const THREAD: usize = 1;
const NAME: std::ops::Range<usize> = 2..6;
const ABOUT: std::ops::Range<usize> = 6..16;
const PULSES: usize = 128;

/// The pulses of all actors.
#[derive(Clone)]
pub(crate) struct Watch {
    pulses: SharedAtomics,
    next: Arc<AtomicUsize>,
}

/// What one thread of an actor says of itself; it may go to another process.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Pulse {
    pulses: SharedAtomics,
    place: usize,
}

fn now() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 1 };
    time.tv_sec() as u64 * 1_000 + time.tv_nsec() as u64 / 1_000_000
}

impl Pulse {
    fn write(&self, range: std::ops::Range<usize>, text: &str) {
        let mut chunks = text.as_bytes().chunks(8);
        for word in range {
            let mut bytes = [0; 8];
            let chunk = chunks.next().unwrap_or_default();
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.pulses[self.place * WORDS + word].store(u64::from_le_bytes(bytes), Relaxed);
        }
    }

    fn read(&self, range: std::ops::Range<usize>) -> String {
        let bytes: Vec<u8> = range.flat_map(|word| self.word(word).to_le_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    fn word(&self, word: usize) -> u64 {
        self.pulses[self.place * WORDS + word].load(Relaxed)
    }

    /// It gets on, and this is what it begins now.
    pub(crate) fn at(&self, about: &str) {
        self.write(ABOUT, about);
        self.pulses[self.place * WORDS + SINCE].store(now(), Relaxed);
    }

    /// In the process and the thread where it is called.
    pub(crate) fn here(&self, about: &str) -> &Pulse {
        self.pulses[self.place * WORDS + THREAD].store(nix::unistd::gettid().as_raw() as u64, Relaxed);
        self.at(about);
        self
    }

    /// There is nobody any more who could hang.
    pub(crate) fn over(&self) {
        self.pulses[self.place * WORDS + SINCE].store(0, Relaxed);
    }
}

impl Watch {
    pub(crate) fn new() -> Result<Watch, MemoryError> {
        Ok(Watch { pulses: SharedAtomics::new(PULSES * WORDS)?, next: Arc::default() })
    }

    /// One more pulse. An actor makes its own once.
    pub(crate) fn pulse(&self, name: &str) -> Pulse {
        let place = self.next.fetch_add(1, Relaxed).min(PULSES - 1);
        let pulse = Pulse { pulses: self.pulses.clone(), place };
        pulse.write(NAME, name);
        pulse
    }

    /// All that are there, and for how long each is about the same thing.
    pub(crate) fn all(&self) -> Vec<(Pulse, Duration)> {
        let now = now();
        let places = (0..self.next.load(Relaxed).min(PULSES))
            .map(|place| Pulse { pulses: self.pulses.clone(), place });
        places
            .filter(|pulse| pulse.word(SINCE) != 0)
            .map(|pulse| {
                let since = pulse.word(SINCE);
                (pulse, Duration::from_millis(now.saturating_sub(since)))
            })
            .collect()
    }

    /// Looks until `over`, and calls `tell` with all that is known when somebody hangs.
    pub(crate) fn look(&self, over: &AtomicBool, tell: impl Fn(u64, String)) {
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
            let hung: Vec<_> = self.all().into_iter().filter(|(_, time)| *time > PATIENCE).collect();
            if !hung.is_empty() {
                let mut text = String::new();
                for (pulse, time) in &hung {
                    let thread = pulse.word(THREAD) as i32;
                    let (name, about) = (pulse.read(NAME), pulse.read(ABOUT));
                    let _ = writeln!(text, "HUNG: {name} is in {about:?} for {time:?}, thread {thread}");
                    text.push_str(&of_thread(thread, thread));
                }
                text.push_str(&everybody());
                tell(hung.len() as u64, text);
                return;
            }
        }
    }
}

/// What everybody is about, and what /proc says of this process's threads and all that is below it.
pub(crate) fn everybody() -> String {
    let mut text = String::new();
    let mut processes = vec![(std::process::id() as i32, 0)];
    while let Some((pid, depth)) = processes.pop() {
        let state = proc::stat(pid).map_or('?', |stat| stat.state);
        let _ = writeln!(text, "{:depth$}{pid} {} {state}", "", proc::name(pid));
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            if let Some(thread) = thread.file_name().to_str().and_then(|name| name.parse().ok()) {
                let _ = write!(text, "{:depth$}", "");
                text.push_str(&of_thread(pid, thread));
            }
        }
        processes.extend(proc::children(pid).iter().map(|child| (child.pid, depth + 2)));
    }
    text
}

fn of_thread(pid: i32, thread: i32) -> String {
    let read = |file: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/{file}")).unwrap_or_default();
        text.trim_end().to_owned()
    };
    format!("  thread {thread} {}: wchan {}, syscall {}\n", read("comm"), read("wchan"), read("syscall"))
}
