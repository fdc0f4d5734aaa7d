//! Log records of children, handed to the program's own logger.
//!
//! A forked child has a copy of its parent's logger, which writes into the same file at its own pace; a zygote's child
//! may have none. With [`install`] there is one logger, the program's, and whatever its children log by the crate `log`
//! is handed to that: of children of every way of starting, and of theirs.
//!
//! ```
//! use std::sync::Mutex;
//! use common_ipc::logging;
//! use common_ipc::process::{Launch, LaunchOptions};
//!
//! /// A logger like any other.
//! struct Collects;
//! static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
//!
//! impl log::Log for Collects {
//!     fn enabled(&self, _: &log::Metadata<'_>) -> bool {
//!         true
//!     }
//!     fn log(&self, record: &log::Record<'_>) {
//!         let process = record.key_values().get("process".into());
//!         let process = process.map_or("the program".to_owned(), |name| name.to_string());
//!         LINES.lock().unwrap().push(format!("{process}: {}", record.args()));
//!     }
//!     fn flush(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! logging::install(Box::new(Collects))?;
//! log::set_max_level(log::LevelFilter::Info);
//! log::info!("here");
//! let options = LaunchOptions::new().name("worker");
//! Launch::new(&options).start(|| log::info!("there"))?.wait()?;
//! log::logger().flush();
//! assert_eq!(*LINES.lock().unwrap(), ["the program: here", "worker: there"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What the logger is handed
//!
//! A child's record has its level, target, module path, file, line, message and key-values, and two key-values more:
//! `pid`, a number, and `process`, the name of the process, as [`current_name`](crate::process::current_name) gives it.
//! (Its own key-values of these names give way to them.) The time is that of the handing over. A value that is neither a
//! number, a `bool`, a `char` nor a text arrives as the text that it displays.
//!
//! The records of one thread come in their order, and so do those of one child if the order is known there. Records of
//! the program itself go to the logger at once, as ever.
//!
//! The program's level ([`log::max_level`]) is that of each child at its start, a zygote's included. Should the program
//! lower it later, it takes no more than that. The logger's own filter is asked in the program only: that of a target is
//! cheaper set where the records are made.
//!
//! # How they come
//!
//! Each child of the program has a socket for them, which its own children share; it takes a descriptor of the program's
//! for as long as one of them runs. A record is with the kernel when the
//! macro returns, so that it survives whatever happens to the child then: a panic, `abort`, SIGKILL. A thread of the
//! library's hands them over, beside which the program may fork; it is started with the first child. While nobody logs,
//! nothing happens, and what the level forbids costs what it costs without this.
//!
//! What is under way is bounded by the socket, which has room for more than 200 short records, or some 100 KiB. When it is full - the
//! program is stopped, or its logger is slow - a record waits for up to a second. Then it is dropped, as are those that
//! find no room after it, without any wait, until one does: that one, or the end of the child's body, tells how many
//! there were, as a warning of the target `common_ipc::logging`: "n records of this process were lost". A child that is
//! killed before that can't tell.
//!
//! A record of more than 48 KiB of message, or 8 KiB of key-values, is cut, and its message says so.
//!
//! [`log::Log::flush`] in the program waits until what was sent before is handed over, for up to 5 s, and flushes the
//! logger. The program's exit (the return of `main`, or `exit`) does so after its children have ended. In a child it tells
//! what was lost; what was sent needs no flush.
//!
//! # Of children that are not trusted
//!
//! A child may send what it likes: texts of its choice, up to the bounds above, or garbage, which is told once and skipped.
//! What it can't: make the program use more memory than that, keep the records of the program's other children from
//! arriving, or pass itself off as another process. `pid` is the kernel's word, unless the child has the capability
//! CAP_SYS_ADMIN. `process` is the program's own knowledge for a child of its own; a child's child says itself how it is
//! called.
//!
//! # What isn't promised
//!
//! - Records of a child that outlives its program are lost, as are those of one that closes descriptors which aren't its
//!   own. It neither waits nor fails because of it.
//! - The wait for room is that of the macro, whatever the caller holds meanwhile.
//! - While the logger is at work, a fork waits for it: for up to a second, and is then
//!   [`Refusal::CallbackRunning`](crate::process::Refusal::CallbackRunning). A logger that takes less for a record refuses
//!   no fork, however many there are.
//! - A logger that another library sets in a zygote's preload, or that was set before the program called
//!   [`init`](crate::process::init), is the one of that zygote's children.
//! - A copy of the program that other code forked has a copy of the logger, and uses that.

mod cutting;
mod link;
mod record;
mod relay;
mod uplink;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Log, Metadata, Record, SetLoggerError};

pub(crate) use link::pair;
pub(crate) use relay::{Relay, Round, drain_at_exit, watch};
pub(crate) use uplink::{adopt, adopt_from_zygote, cut_off, tell_losses};

/// Why the relay is not the logger.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It is: it was installed before, or this is a child of a program that did so. What was passed is dropped.
    #[error("the relay of log records is installed already, and stays as it is")]
    Installed,
    /// The program has set another logger, which stays in place.
    #[error(
        "another logger is set already: pass that to `logging::install` instead of setting it, for a program has one \
         logger"
    )]
    AnotherLogger(#[source] SetLoggerError),
}

crate::error::debug_is_display!(InstallError);

/// The program's logger.
static INNER: OnceLock<Box<dyn Log>> = OnceLock::new();
static RELAYING: Relaying = Relaying;
static IS_THE_LOGGER: AtomicBool = AtomicBool::new(false);

/// Makes `logger` the program's, and that of all children which it starts from now on: see [the module](self). Those
/// that run go on as they do.
///
/// It sets no level: [`log::set_max_level`] does, which is `Off` at first.
///
/// `logger` is called on the program's threads and on one of the library's, there with the signals of the program's own
/// threads. A panic in it, there, ends nothing: the next record is handed to it.
///
/// # Errors
///
/// [`InstallError`]. Nothing has changed.
pub fn install(logger: Box<dyn Log>) -> Result<(), InstallError> {
    become_the_logger()?;
    // Nobody else gets here.
    let _ = INNER.set(logger);
    Ok(())
}

fn become_the_logger() -> Result<(), InstallError> {
    match log::set_logger(&RELAYING) {
        Ok(()) => {
            IS_THE_LOGGER.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(_) if IS_THE_LOGGER.load(Ordering::Relaxed) => Err(InstallError::Installed),
        Err(error) => Err(InstallError::AnotherLogger(error)),
    }
}

/// What the log macros call.
struct Relaying;

impl Log for Relaying {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match uplink::is_set() {
            // Whatever the logger has locked was locked in another process.
            true => metadata.level() <= log::max_level(),
            false => INNER.get().is_some_and(|inner| inner.enabled(metadata)),
        }
    }

    fn log(&self, record: &Record<'_>) {
        if uplink::is_set() {
            uplink::send(record);
        } else if let Some(inner) = INNER.get() {
            inner.log(record);
        }
    }

    fn flush(&self) {
        if uplink::is_set() {
            uplink::tell_losses();
        } else if let Some(inner) = INNER.get() {
            relay::flush();
            inner.flush();
        }
    }
}

/// How the records of a new child come to the program.
#[derive(Debug)]
pub(crate) enum Route {
    /// They don't: it logs as it would by itself.
    None,
    /// By a link of its own.
    New,
    /// By this process's, which is a child itself.
    Shared(std::os::fd::BorrowedFd<'static>),
}

/// That of a child of this process.
pub(crate) fn route() -> Route {
    match (uplink::is_set(), INNER.get()) {
        (true, _) => uplink::socket().map_or(Route::None, Route::Shared),
        (false, Some(_)) => Route::New,
        (false, None) => Route::None,
    }
}
