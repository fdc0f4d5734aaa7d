//! Children that are harmed at random.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::ownership::generation::Generation;
use crate::process::{Child, LibraryThread, Signal, active_children, start_library_thread};
use crate::testing::random::Random;
use crate::testing::record::Record;

/// What can be done to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Harm {
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

impl Harm {
    /// What it is called in a [`Record`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Harm::Kill => "killed",
            Harm::Segfault => "segfault",
            Harm::Pause(_) => "stopped for a while",
            Harm::PauseAndKill(_) => "stopped, then killed",
        }
    }
}

type Victims = Box<dyn Fn(&Child) -> bool + Send>;
type Other = Box<dyn FnMut(&mut Random) + Send>;

enum Kind {
    OfChild(Harm),
    Other(&'static str, Other),
}

/// What a monkey is to do; made by [`Monkey::builder`].
#[must_use]
pub struct MonkeyBuilder {
    seed: u64,
    every: Duration,
    victims: Victims,
    kinds: Vec<(u64, Kind)>,
}

impl MonkeyBuilder {
    /// How long it waits between two deeds, on average; 20 ms without this.
    pub fn every(mut self, mean: Duration) -> Self {
        self.every = mean;
        self
    }

    /// Whom it may harm; any child without this. It is asked about those that run, each time. A supervisor's children and
    /// a pool's workers are known by their names.
    pub fn victims(mut self, may: impl Fn(&Child) -> bool + Send + 'static) -> Self {
        self.victims = Box::new(may);
        self
    }

    /// Something that it does to a child; so often, compared with the other things.
    pub fn harm(mut self, weight: u32, harm: Harm) -> Self {
        self.kinds.push((u64::from(weight), Kind::OfChild(harm)));
        self
    }

    /// Something else, that isn't about a child; so often, compared with the other things.
    pub fn other(
        mut self,
        weight: u32,
        name: &'static str,
        deed: impl FnMut(&mut Random) + Send + 'static,
    ) -> Self {
        self.kinds.push((u64::from(weight), Kind::Other(name, Box::new(deed))));
        self
    }

    /// Begins. The program may go on to fork: it does its deeds on a thread of the library's.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn release(self) -> io::Result<Monkey> {
        let record = Record::default();
        let (stop, stopped) = channel();
        let (alive, ended) = channel();
        let random = Random::named(self.seed, "monkey");
        let cage = Cage { random, record: record.clone(), begun: Vec::new() };
        start_library_thread("monkey", move |thread| {
            cage.live(thread, self, &stopped);
            drop(alive);
        })?;
        Ok(Monkey { record, stop: Some(stop), ended, home: Generation::current() })
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

/// A **chaos monkey**: it does harm to the children of this process, at random, while a test goes on. Dropping it stops it.
///
/// ```
/// use std::time::Duration;
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::testing::{Harm, Monkey};
///
/// let seed = 7; // print it: with the same one, the same is done again, as far as threads allow
/// let monkey = Monkey::builder(seed)
///     .every(Duration::from_millis(2))
///     .victims(|child| child.name() == "victim")
///     .harm(10, Harm::Kill)
///     .harm(3, Harm::Pause(Duration::from_millis(5)))
///     .release()?;
/// let options = LaunchOptions::new().name("victim");
/// let child = Launch::new(&options).start(|| std::thread::sleep(Duration::from_secs(60)))?;
/// let status = child.wait()?;
/// let record = monkey.stop(); // nobody stays stopped
/// let (_, by) = record.killed(child.id()).expect("by whom else");
/// assert_eq!(status.signal(), Some(by));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Victims are found among [`active_children`] and harmed by their handles: a number that is another process's by now is
/// never signalled. What is done is written down before it is done, so who sees a child end by it finds it in the record.
#[derive(Debug)]
pub struct Monkey {
    record: Record,
    stop: Option<Sender<()>>,
    /// Closed when its thread is at its end.
    ended: Receiver<()>,
    home: Generation,
}

impl Monkey {
    /// One with this seed, that does nothing yet.
    pub fn builder(seed: u64) -> MonkeyBuilder {
        MonkeyBuilder {
            seed,
            every: Duration::from_millis(20),
            victims: Box::new(|_| true),
            kinds: Vec::new(),
        }
    }

    /// What it has done.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Ends it. What it is in the midst of is brought to its end before this returns: nobody stays stopped.
    pub fn stop(mut self) -> Record {
        self.end();
        self.record.clone()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        // In a copy of the process there is no such thread.
        if self.home.check().is_ok() {
            let _ = self.ended.recv();
        }
    }
}

impl Drop for Monkey {
    fn drop(&mut self) {
        self.end();
    }
}

/// The second half of a deed.
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
    fn live(mut self, thread: &mut LibraryThread, mut plan: MonkeyBuilder, stopped: &Receiver<()>) {
        let mut next = Instant::now();
        loop {
            let wake = self.begun.iter().map(|begun| begun.due).fold(next, Instant::min);
            let wait = wake.saturating_duration_since(Instant::now());
            match thread.sleep(|| stopped.recv_timeout(wait)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
            self.finish(|begun| begun.due <= Instant::now());
            if next <= Instant::now() {
                next = Instant::now() + self.random.up_to(2 * plan.every);
                // Whom it may harm is said by other people's code.
                thread.call(|| self.act(&mut plan));
            }
        }
        self.finish(|_| true);
    }

    fn act(&mut self, plan: &mut MonkeyBuilder) {
        let mut number = self.random.below(plan.kinds.iter().map(|(weight, _)| weight).sum());
        let chosen = plan.kinds.iter_mut().find(|(weight, _)| match number.checked_sub(*weight) {
            Some(left) => {
                number = left;
                false
            }
            None => true,
        });
        match chosen {
            Some((_, Kind::OfChild(harm))) => {
                let harm = *harm;
                let mut victims: Vec<_> =
                    active_children().into_iter().filter(|child| self.may_harm(plan, child)).collect();
                if !victims.is_empty() {
                    let child = victims.swap_remove(self.random.below(victims.len() as u64) as usize);
                    self.harm(child, harm);
                }
            }
            Some((_, Kind::Other(name, other))) => {
                self.record.note(name, None);
                other(&mut self.random);
            }
            None => {}
        }
    }

    /// Nobody is harmed again in the midst of the first time: what a stopped process is sent, it hears later.
    fn may_harm(&self, plan: &MonkeyBuilder, child: &Child) -> bool {
        self.begun.iter().all(|begun| begun.child.id() != child.id()) && (plan.victims)(child)
    }

    /// One that has ended meanwhile is left as it is; then it stands in the record for nothing.
    fn harm(&mut self, child: Child, harm: Harm) {
        let now = Instant::now();
        match harm {
            Harm::Kill => {
                self.record.deadly(harm.name(), &child, Signal::KILL);
                let _ = child.kill();
            }
            Harm::Segfault => {
                self.record.deadly(harm.name(), &child, Signal::SEGV);
                let _ = child.signal(Signal::SEGV);
                self.begun.push(Begun { due: now + ONCE_MORE, child, then: Signal::SEGV });
            }
            Harm::Pause(most) => {
                self.record.note(harm.name(), Some(&child));
                let _ = child.signal(Signal::STOP);
                self.begun.push(Begun { due: now + self.random.up_to(most), child, then: Signal::CONT });
            }
            Harm::PauseAndKill(most) => {
                self.record.deadly(harm.name(), &child, Signal::KILL);
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
