//! What all callers count, and who is in a call since when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use multiprocess::{BridgeError, Execution};

/// A call that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a call has no result.
pub struct Trouble {
    cause: &'static str,
    pub execution: Execution,
    pub needs_start: bool,
    pub text: String,
}

impl Trouble {
    /// The future of a call was dropped.
    pub fn dropped() -> Trouble {
        let text = "its future was dropped".to_owned();
        Trouble { cause: "future dropped", execution: Execution::Unknown, needs_start: false, text }
    }
}

impl From<BridgeError> for Trouble {
    fn from(error: BridgeError) -> Trouble {
        let cause = match &error {
            BridgeError::NotStarted { .. } => "NotStarted",
            BridgeError::Start(_) => "Start",
            BridgeError::Panicked { .. } => "Panicked",
            BridgeError::PeerDied { .. } => "PeerDied",
            BridgeError::Timeout { killed: false, .. } => "Timeout",
            BridgeError::Timeout { killed: true, .. } => "Timeout that killed",
            BridgeError::TooLarge { .. } => "TooLarge",
            _ => UNFORESEEN,
        };
        let (execution, needs_start) = (error.execution(), error.needs_start());
        Trouble { cause, execution, needs_start, text: error.to_string() }
    }
}

/// Of a cause that nothing here can have.
const UNFORESEEN: &str = "unforeseen";

pub struct Tally {
    begin: Instant,
    closing: AtomicBool,
    pub calls: AtomicU64,
    pub results: AtomicU64,
    /// Results that are an error of the object's own.
    pub refused: AtomicU64,
    pub kills: AtomicU64,
    pub restarts: AtomicU64,
    errors: Mutex<BTreeMap<(&'static str, String), u64>>,
    wrong: Mutex<Vec<String>>,
    /// For each caller, when it has begun what it is in, in milliseconds; 0 for nothing.
    busy: Vec<AtomicU64>,
}

/// Busy until it is dropped.
pub struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Tally {
    pub fn new(callers: u32) -> Tally {
        Tally {
            begin: Instant::now(),
            closing: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            results: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            errors: Mutex::default(),
            wrong: Mutex::default(),
            busy: (0..callers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    fn now(&self) -> u64 {
        self.elapsed().as_millis() as u64 + 1
    }

    pub fn busy(&self, who: u32) -> Busy<'_> {
        let busy = &self.busy[who as usize];
        busy.store(self.now(), Ordering::Relaxed);
        Busy(busy)
    }

    /// Who has waited for too long.
    pub fn hung(&self) -> Vec<usize> {
        let latest = self.now().saturating_sub(PATIENCE.as_millis() as u64);
        let is_hung = |since: &AtomicU64| (1..latest).contains(&since.load(Ordering::Relaxed));
        self.busy.iter().enumerate().filter(|(_, since)| is_hung(since)).map(|(who, _)| who).collect()
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub fn count(&self, trouble: &Trouble) {
        if trouble.cause == UNFORESEEN {
            self.wrong(trouble.text.clone());
        }
        *lock(&self.errors).entry((trouble.cause, trouble.execution.to_string())).or_default() += 1;
    }

    /// Once something is wrong, all come to an end.
    pub fn wrong(&self, what: String) {
        self.close();
        lock(&self.wrong).push(what);
    }

    pub fn is_right(&self) -> bool {
        lock(&self.wrong).is_empty() && self.hung().is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [&self.calls, &self.results, &self.refused, &self.kills, &self.restarts];
        let [calls, results, refused, kills, restarts] = counts.map(|count| count.load(Ordering::Relaxed));
        writeln!(f, "{calls:8} calls\n{results:8} results, {refused} of them an Err of the object's")?;
        for ((cause, execution), count) in lock(&self.errors).iter() {
            writeln!(f, "{count:8} {cause}: {execution}")?;
        }
        writeln!(f, "{kills:8} kills\n{restarts:8} restarts")?;
        let hung = self.hung();
        write!(f, "{:8} hung", hung.len())?;
        for who in hung {
            write!(f, "\nWRONG: caller {who} has waited for more than {PATIENCE:?}")?;
        }
        lock(&self.wrong).iter().try_for_each(|what| write!(f, "\nWRONG: {what}"))
    }
}
