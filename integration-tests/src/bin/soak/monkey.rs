//! A chaos monkey: a thread that does harm to the children of this process, at random, while a test goes on.
//!
//! ```ignore
//! let monkey = Monkey::builder(seed)
//!     .every(Duration::from_millis(20))
//!     .victims(|child| child.name() != "the one that must live")
//!     .fault(10, Fault::Kill)
//!     .fault(3, Fault::Pause(Duration::from_millis(50)))
//!     .release()?;
//! // ... the test, which asks the record who was killed when:
//! let record = monkey.record();
//! let was_killed = record.killed(child.id()).is_some();
//! // In the end everybody is continued who was stopped.
//! monkey.stop();
//! ```
//!
//! Victims are found among [`active_children`] and harmed by their handles: a number that is another process's by now is
//! never signalled. What is done is written down before it is done, so who sees a child end by it finds it in the record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Signal, active_children};

/// Numbers that look random, and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Those of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Those of this seed and this name: for each of several that are not to do the same.
    #[must_use]
    pub fn named(seed: u64, name: &str) -> Random {
        let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Random(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next one, below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// Whether the next one is one of so many.
    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// A time up to this one.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(most.as_micros() as u64 + 1))
    }
}

/// What can be done to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSEGV, once more if that hasn't ended it: Rust's own handler, which looks for stack overflows, lets the first
    /// one pass that comes from outside.
    Segfault,
    /// SIGSTOP, and SIGCONT after up to this time.
    Pause(Duration),
    /// SIGSTOP, and SIGKILL after up to this time.
    PauseAndKill(Duration),
}

impl Fault {
    /// What it is called in a record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Kill => "killed",
            Fault::Segfault => "segfault",
            Fault::Pause(_) => "stopped for a while",
            Fault::PauseAndKill(_) => "stopped, then killed",
        }
    }
}

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
        self.lock().killed_by_name.get(std::ffi::OsStr::new(name)).copied().unwrap_or(0)
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

    fn deadly(&self, what: &'static str, child: &Child, signal: Signal) {
        let mut done = self.add(what, Some(child));
        done.kills(child, signal);
        *done.killed_by_name.entry(child.name().to_owned()).or_default() += 1;
    }

    /// Of one that is about to be given the same once more, or the second half of it.
    fn postpone(&self, child: &Child, signal: Signal) {
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

type Victims = Box<dyn Fn(&Child) -> bool + Send>;
type Other = Box<dyn FnMut(&mut Random) + Send>;

enum Kind {
    OfChild(Fault),
    Other(&'static str, Other),
}

/// What a monkey is to do; made by [`Monkey::builder`].
#[must_use]
pub struct MonkeyBuilder {
    seed: u64,
    every: Duration,
    victims: Victims,
    faults: Vec<(u64, Kind)>,
}

impl MonkeyBuilder {
    /// How long it waits between two faults, on average; 20 ms without this.
    pub fn every(mut self, mean: Duration) -> Self {
        self.every = mean;
        self
    }

    /// Whom it may harm; any child without this. It is asked about those that run, each time.
    pub fn victims(mut self, may: impl Fn(&Child) -> bool + Send + 'static) -> Self {
        self.victims = Box::new(may);
        self
    }

    /// A fault that it does; so often, compared with the others.
    pub fn fault(mut self, weight: u32, fault: Fault) -> Self {
        self.faults.push((u64::from(weight), Kind::OfChild(fault)));
        self
    }

    /// A fault of another kind, that isn't about a child; so often, compared with the others.
    pub fn other(
        mut self,
        weight: u32,
        name: &'static str,
        fault: impl FnMut(&mut Random) + Send + 'static,
    ) -> Self {
        self.faults.push((u64::from(weight), Kind::Other(name, Box::new(fault))));
        self
    }

    /// Begins. Beside its thread nothing can be started by a fork.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn release(self) -> io::Result<Monkey> {
        let record = Record::default();
        let (stop, stopped) = channel();
        let cage =
            Cage { random: Random::named(self.seed, "monkey"), record: record.clone(), begun: Vec::new() };
        let thread =
            std::thread::Builder::new().name("monkey".into()).spawn(move || cage.live(self, &stopped))?;
        Ok(Monkey { record, stop: Some(stop), thread: Some(thread) })
    }
}

impl fmt::Debug for MonkeyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonkeyBuilder")
            .field("seed", &self.seed)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// A thread that does harm to children. **Dropping** it stops it.
#[derive(Debug)]
pub struct Monkey {
    record: Record,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Monkey {
    /// One with this seed, that does nothing yet.
    pub fn builder(seed: u64) -> MonkeyBuilder {
        MonkeyBuilder {
            seed,
            every: Duration::from_millis(20),
            victims: Box::new(|_| true),
            faults: Vec::new(),
        }
    }

    /// What it has done.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Ends it. Faults that it is in the midst of are brought to their end before this returns: nobody stays stopped.
    pub fn stop(mut self) -> Record {
        self.end();
        self.record.clone()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Monkey {
    fn drop(&mut self) {
        self.end();
    }
}

/// The second half of a fault.
#[derive(Debug)]
struct Begun {
    due: Instant,
    child: Child,
    then: Signal,
}

/// What the thread has.
struct Cage {
    random: Random,
    record: Record,
    begun: Vec<Begun>,
}

/// So long after a SIGSEGV that has been let pass comes the next one.
const ONCE_MORE: Duration = Duration::from_millis(2);

impl Cage {
    fn live(mut self, mut plan: MonkeyBuilder, stopped: &Receiver<()>) {
        let mut next = Instant::now();
        loop {
            let wake = self.begun.iter().map(|begun| begun.due).fold(next, Instant::min);
            match stopped.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
            self.finish(|begun| begun.due <= Instant::now());
            if next <= Instant::now() {
                next = Instant::now() + self.random.up_to(2 * plan.every);
                self.act(&mut plan);
            }
        }
        self.finish(|_| true);
    }

    fn act(&mut self, plan: &mut MonkeyBuilder) {
        let mut number = self.random.below(plan.faults.iter().map(|(weight, _)| weight).sum());
        let chosen = plan.faults.iter_mut().find(|(weight, _)| match number.checked_sub(*weight) {
            Some(left) => {
                number = left;
                false
            }
            None => true,
        });
        match chosen {
            Some((_, Kind::OfChild(fault))) => {
                let fault = *fault;
                let mut victims: Vec<_> =
                    active_children().into_iter().filter(|child| self.may_harm(plan, child)).collect();
                if !victims.is_empty() {
                    let child = victims.swap_remove(self.random.below(victims.len() as u64) as usize);
                    self.harm(child, fault);
                }
            }
            Some((_, Kind::Other(name, other))) => {
                drop(self.record.add(name, None));
                other(&mut self.random);
            }
            None => {}
        }
    }

    /// Nobody is given a second fault in the midst of the first one: what a stopped process is sent, it hears later.
    fn may_harm(&self, plan: &MonkeyBuilder, child: &Child) -> bool {
        self.begun.iter().all(|begun| begun.child.id() != child.id()) && (plan.victims)(child)
    }

    /// One that has ended meanwhile is left as it is; then it stands in the record for nothing.
    fn harm(&mut self, child: Child, fault: Fault) {
        let now = Instant::now();
        match fault {
            Fault::Kill => {
                self.record.deadly(fault.name(), &child, Signal::KILL);
                let _ = child.kill();
            }
            Fault::Segfault => {
                self.record.deadly(fault.name(), &child, Signal::SEGV);
                let _ = child.signal(Signal::SEGV);
                self.begun.push(Begun { due: now + ONCE_MORE, child, then: Signal::SEGV });
            }
            Fault::Pause(most) => {
                drop(self.record.add(fault.name(), Some(&child)));
                let _ = child.signal(Signal::STOP);
                self.begun.push(Begun { due: now + self.random.up_to(most), child, then: Signal::CONT });
            }
            Fault::PauseAndKill(most) => {
                self.record.deadly(fault.name(), &child, Signal::KILL);
                let _ = child.signal(Signal::STOP);
                self.begun.push(Begun { due: now + self.random.up_to(most), child, then: Signal::KILL });
            }
        }
    }

    fn finish(&mut self, is_due: impl Fn(&Begun) -> bool) {
        let (due, later) = std::mem::take(&mut self.begun).into_iter().partition(is_due);
        self.begun = later;
        let due: Vec<Begun> = due;
        for begun in due {
            // Its number is its own for as long as it hasn't been collected.
            if begun.then != Signal::CONT && begun.child.is_alive().unwrap_or(false) {
                self.record.postpone(&begun.child, begun.then);
            }
            let _ = begun.child.signal(begun.then);
        }
    }
}
