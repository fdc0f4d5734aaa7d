//! What was done to whom, for tests that explain by it what they see.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::process::{Child, Signal};

/// One thing that was done.
#[derive(Debug, Clone)]
pub struct Deed {
    /// When: just before.
    pub at: Instant,
    /// What: the name of the fault.
    pub what: &'static str,
    /// To which process; `None` for a fault that is about none.
    pub pid: Option<u32>,
    /// What that is called.
    pub name: OsString,
}

/// What was done when, and to whom. Clones are the same record.
#[derive(Debug, Clone, Default)]
pub struct Record {
    inner: Arc<Mutex<Done>>,
}

#[derive(Debug, Default)]
struct Done {
    /// How often each fault was done, and when last.
    counts: BTreeMap<&'static str, (u64, Instant)>,
    /// When a process of this number was given what ends it, the latest last.
    killed: HashMap<u32, VecDeque<(Instant, Signal)>>,
    /// How often that was so for each name.
    killed_by_name: HashMap<OsString, u64>,
    recent: VecDeque<Deed>,
}

/// So many deeds are kept in full.
const RECENT: usize = 1_000;
/// So many signals that end one are kept of each number, ...
const SIGNALS: usize = 8;
/// ... and of so many numbers, or of those that were sent any of late.
const NUMBERS: usize = 4_096;
const LATE: Duration = Duration::from_secs(120);

impl Record {
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills a child by SIGKILL, and writes that down: for whoever kills beside the monkey.
    pub fn kill(&self, child: &Child) {
        self.deadly("killed by its owner", child, Signal::KILL);
        let _ = child.kill();
    }

    /// When the process with this number was killed last, and by what. Numbers are reused: it is about the child that is
    /// meant if it was started before.
    #[must_use]
    pub fn killed(&self, pid: u32) -> Option<(Instant, Signal)> {
        self.lock().killed.get(&pid)?.back().copied()
    }

    /// Whether the process with this number was given this signal, which ends it, since then.
    #[must_use]
    pub fn was_killed(&self, pid: u32, by: Signal, since: Instant) -> bool {
        let done = self.lock();
        done.killed
            .get(&pid)
            .is_some_and(|killed| killed.iter().any(|(at, signal)| *at >= since && *signal == by))
    }

    /// How many children of this name were killed so far.
    #[must_use]
    pub fn killed_named(&self, name: &str) -> u64 {
        self.lock().killed_by_name.get(OsStr::new(name)).copied().unwrap_or(0)
    }

    /// How often each fault was done.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.iter().map(|(what, (count, _))| (*what, *count)).collect()
    }

    /// When a fault of this name was done last.
    #[must_use]
    pub fn last(&self, what: &str) -> Option<Instant> {
        self.lock().counts.get(what).map(|(_, at)| *at)
    }

    /// What was done last to the process with this number, of the last thousand deeds.
    #[must_use]
    pub fn last_to(&self, pid: u32) -> Option<Deed> {
        self.lock().recent.iter().rev().find(|deed| deed.pid == Some(pid)).cloned()
    }

    /// The last thousand deeds, the oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Deed> {
        self.lock().recent.iter().cloned().collect()
    }

    pub(super) fn note(&self, what: &'static str, child: Option<&Child>) {
        drop(self.add(what, child));
    }

    fn add(&self, what: &'static str, child: Option<&Child>) -> MutexGuard<'_, Done> {
        let mut done = self.lock();
        let (count, last) = done.counts.entry(what).or_insert((0, Instant::now()));
        (*count, *last) = (*count + 1, Instant::now());
        if done.recent.len() == RECENT {
            done.recent.pop_front();
        }
        let name = child.map(|child| child.name().to_owned()).unwrap_or_default();
        done.recent.push_back(Deed { at: Instant::now(), what, pid: child.map(Child::id), name });
        done
    }

    pub(super) fn deadly(&self, what: &'static str, child: &Child, signal: Signal) {
        let mut done = self.add(what, Some(child));
        done.kills(child, signal);
        *done.killed_by_name.entry(child.name().to_owned()).or_default() += 1;
    }

    /// Of one that is about to be given the same once more, or the second half of it.
    pub(super) fn postpone(&self, child: &Child, signal: Signal) {
        self.lock().kills(child, signal);
    }
}

impl Done {
    fn kills(&mut self, child: &Child, signal: Signal) {
        if self.killed.len() > NUMBERS {
            self.killed.retain(|_, killed| killed.back().is_some_and(|(at, _)| at.elapsed() < LATE));
        }
        let killed = self.killed.entry(child.id()).or_default();
        if killed.len() == SIGNALS {
            killed.pop_front();
        }
        killed.push_back((Instant::now(), signal));
    }
}
