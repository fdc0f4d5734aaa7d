//! A logger that keeps what it is handed, as most scenarios of log records need it.

use std::sync::{Mutex, PoisonError};

use common_ipc::logging;
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// A record, as the logger was handed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: Option<u32>,
    pub(crate) process: Option<String>,
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) place: (Option<String>, Option<String>, Option<u32>),
    pub(crate) message: String,
    /// But for those two.
    pub(crate) values: Vec<String>,
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
/// What is done with a record before it is kept.
static MANNERS: Mutex<fn(&Seen)> = Mutex::new(|_| ());

/// The logger.
pub(crate) struct Collects;

impl Log for Collects {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut pairs = Pairs::default();
        record.key_values().visit(&mut pairs).unwrap();
        let seen = Seen {
            pid: pairs.pid,
            process: pairs.process,
            level: record.level(),
            target: record.target().to_owned(),
            place: (record.module_path().map(str::to_owned), record.file().map(str::to_owned), record.line()),
            message: record.args().to_string(),
            values: pairs.others,
        };
        let manners = *MANNERS.lock().unwrap_or_else(PoisonError::into_inner);
        manners(&seen);
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    fn flush(&self) {}
}

#[derive(Default)]
struct Pairs {
    pid: Option<u32>,
    process: Option<String>,
    others: Vec<String>,
}

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        match key.as_str() {
            "pid" => assert!(self.pid.replace(value.to_u64().unwrap() as u32).is_none()),
            "process" => assert!(self.process.replace(value.to_string()).is_none()),
            key => self.others.push(format!("{key}={value:?}")),
        }
        Ok(())
    }
}

/// Installs it, by the relay.
pub(crate) fn install() {
    logging::install(Box::new(Collects)).unwrap();
    log::set_max_level(LevelFilter::Info);
}

/// As [`install`]; each record is met by this first.
pub(crate) fn install_with(manners: fn(&Seen)) {
    *MANNERS.lock().unwrap() = manners;
    install();
}

/// What it was handed, of everything that was there before this call.
pub(crate) fn seen() -> Vec<Seen> {
    log::logger().flush();
    so_far()
}

/// What it was handed until now.
pub(crate) fn so_far() -> Vec<Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The messages of one process.
pub(crate) fn messages(seen: &[Seen], pid: u32) -> Vec<String> {
    seen.iter().filter(|seen| seen.pid == Some(pid)).map(|seen| seen.message.clone()).collect()
}

/// `0`, `1` and so on.
pub(crate) fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Logs them.
pub(crate) fn log_numbers(count: u32) {
    (0..count).for_each(|number| log::info!("{number}"));
}
