//! Message processes.
//!
//! ```text
//! the program                                                   the back end's process
//!   MessageProcess   what it is started from      way, body ->  back_loop   pre_run, handle, post_run
//!     FrontEnd       commands out, events in      wire          Context     events out, descriptors, timers
//!       Run            from a start to its end                    Inbox       commands in
//! ```

mod back_loop;
mod backend;
mod body;
mod command_name;
mod context;
mod error;
mod failure;
mod front;
mod inbox;
mod incoming;
mod keeping;
mod outbound;
mod reply;
mod run;
mod watched;
mod way;
mod wire;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
use common_ipc::process::{Launch, LaunchOptions, Portable, Sigint, StartError, Zygote};
use parking_lot::Mutex;

pub use backend::Backend;
use body::Blocking;
pub(crate) use body::Body;
pub(crate) use command_name::NAMED_BY_ITS_FIRST_FIELD;
pub use context::Context;
pub use error::ProcessError;
pub use failure::{Cause, During, Failure, Policy};
pub use front::{FrontEnd, Pipe};
pub use incoming::{Ended, Incoming};
pub use outbound::EventSender;
pub use reply::Reply;
pub(crate) use reply::{ReplySlot, TRAVELLING as REPLY_NAME, decoded_slot, decoding};
pub(crate) use run::Run;
pub(crate) use wire::BackEnds;
#[cfg(feature = "tokio")]
pub(crate) use {
    command_name::command_name,
    failure::Done,
    front::STOP_GRACE,
    inbox::{Arrived, read as read_command},
    keeping::Keeping,
    outbound::{TELLING, was_told},
    reply::{Asked, AtWork},
    run::{TERM_GRACE, answer, only_events, read as read_event},
    wire::{COMMAND, EVENT, FAILED, REFUSED, STOP},
};

use crate::message_process::way::Way;

/// A process that handles commands, one after another, and sends events: its front end here, its [back end](Backend) there.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Ping(Vec<i32>),
/// }
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum Event {
///     Pong(Vec<i32>),
/// }
///
/// struct Player;
///
/// impl Backend for Player {
///     type Command = Command;
///     type Event = Event;
///
///     fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
///         match command {
///             Command::Ping(list) => cx.send_out(&Event::Pong(list))?,
///         }
///         Ok(())
///     }
/// }
///
/// let process = MessageProcess::new("my-process", Player); // nothing runs yet
/// process.start()?;
/// process.send(&Command::Ping(vec![1, 2, 3]))?;
/// assert_eq!(process.recv()?, Event::Pong(vec![1, 2, 3]));
/// process.stop()?;
/// # Ok::<(), ProcessError>(())
/// ```
///
/// What the front end can do is in [`FrontEnd`], to which this derefs.
///
/// The back end's value stays here as well: each start moves a copy of it, as it is here, into the new process. So a process that
/// has ended can be started again. What does something when it is dropped (a temporary directory that deletes itself, a
/// buffered file) would do it there and here, and a socket stays open here as well: make it in
/// [`pre_run`](Backend::pre_run).
///
/// **Dropping** this ends the back end as [`stop`](FrontEnd::stop) does, but in a second at most, and then half a second.
/// The exit of the program ends it by SIGTERM, so that `post_run` is called.
#[doc(alias = "Process")]
pub struct MessageProcess<B: Body<K>, K = Blocking> {
    front: FrontEnd<B::Command, B::Event>,
    manner: Mutex<Manner<B>>,
}

/// How the next back end is started.
struct Manner<B> {
    /// It is there, but for the time of a start.
    back: Option<B>,
    options: LaunchOptions,
    ignores_sigint: bool,
    way: Way<B>,
    max_message: usize,
}

/// How long the end of a back end may take whose handle is dropped.
const DROP_GRACE: Duration = Duration::from_secs(1);

impl<B: Body<K>, K> MessageProcess<B, K> {
    /// A process of this name, as `ps` shows it, that isn't there yet.
    pub fn new(name: impl Into<String>, back: B) -> Self {
        let name = name.into();
        let logger = crate::logger_name::<B>(&name);
        let manner = Manner {
            back: Some(back),
            options: LaunchOptions::new(),
            ignores_sigint: false,
            way: Way::Fork,
            max_message: DEFAULT_MAX_FRAME,
        };
        MessageProcess { front: FrontEnd::new(name, logger), manner: Mutex::new(manner) }
    }

    /// Has the process started with these options, in place of those that were given before: working directory, user,
    /// limits and so on. Its name stays that of [`new`](MessageProcess::new).
    #[must_use]
    pub fn launch_with(mut self, options: LaunchOptions) -> Self {
        self.manner.get_mut().options = options;
        self
    }

    /// Has the process started from a zygote, which can be done beside any threads and runtimes, and costs the same however large
    /// the program is. The process has none of the program's memory: the back end is serialised.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Zygote, init};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Adder(i32);
    ///
    /// impl Backend for Adder {
    ///     type Command = i32;
    ///     type Event = i32;
    ///
    ///     fn handle(&mut self, cx: &mut Context<Self>, number: i32) -> Result<(), RemoteError> {
    ///         Ok(cx.send_out(&(self.0 + number))?)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     init()?; // first of all
    ///     std::thread::spawn(|| ()); // from here on there may be threads
    ///     let adder = MessageProcess::new("adder", Adder(40)).launch_in(&Zygote::global());
    ///     adder.start()?;
    ///     adder.send(&2)?;
    ///     assert_eq!(adder.recv()?, 42);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn launch_in(mut self, zygote: &Zygote) -> Self
    where
        B: Portable,
    {
        self.manner.get_mut().way = Way::Zygote(zygote.clone(), way::start_in::<B, K>);
        self
    }

    /// Makes a template now, with the options that were set before, from which the process is started every time: also
    /// beside threads, with the memory that the program has now.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Start`], beside other threads for example.
    pub fn launch_from_template(mut self) -> Result<Self, ProcessError> {
        self.front.check()?;
        way::must_be_forkable(self.front.name())?;
        let manner = self.manner.get_mut();
        let options = manner.options(self.front.name());
        manner.way = Way::Template(Box::new(way::template(&launch(&options), &mut manner.back)?));
        Ok(self)
    }

    /// Has Ctrl-C reach the program alone: the back end ignores SIGINT, and ends when it is told to.
    #[doc(alias = "ignoreSIGINT")]
    #[must_use]
    pub fn ignore_sigint(mut self) -> Self {
        self.manner.get_mut().ignores_sigint = true;
        self
    }

    /// How many bytes an encoded command, event or reply may have; 64 MiB unless set, and at most 4 GiB.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.manner.get_mut().max_message = bytes;
        self
    }

    /// Starts the back end. It returns when there is a process: [`wait_ready`](FrontEnd::wait_ready) waits for more. (A
    /// zygote or template that is stuck is given up after the
    /// [`ready_timeout`](common_ipc::process::LaunchOptions::ready_timeout) of the options, 60 s unless set.)
    ///
    /// A back end that has ended is started anew, with numbers of commands from 1 on; events of the one before that
    /// nobody has received are dropped.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Running`] if it runs; [`ProcessError::Start`] if no process can be had: beside other threads, for
    /// example, unless it is started from a [zygote](MessageProcess::launch_in) or a
    /// [template](MessageProcess::launch_from_template). With the feature `tokio`, `ProcessError::InsideRuntime` for a fork
    /// in the midst of a runtime.
    #[doc(alias = "go")]
    pub fn start(&self) -> Result<(), ProcessError> {
        self.front.check()?;
        let mut manner = self.manner.lock();
        if self.front.is_alive() {
            return Err(ProcessError::Running { name: self.front.name().to_owned() });
        }
        let run = manner.begin(self.front.name())?;
        self.front.begins(run);
        Ok(())
    }

    /// Its front end, for other threads and other owners.
    #[must_use]
    pub fn front(&self) -> &FrontEnd<B::Command, B::Event> {
        &self.front
    }
}

/// A start of a back end. Signals that ask it to stop wait until its loop takes them.
fn launch(options: &LaunchOptions) -> Launch<'_> {
    Launch::new(options).hold_stop_signals(true)
}

impl<B> Manner<B> {
    fn options(&self, name: &str) -> LaunchOptions {
        let options = self.options.clone().name(name);
        if self.ignores_sigint { options.sigint(Sigint::Ignore) } else { options }
    }

    fn begin<K>(&mut self, name: &str) -> Result<Run<B::Event>, ProcessError>
    where
        B: Body<K>,
    {
        let connect = || open_calls(self.max_message);
        let failed = |source| StartError::Os { step: "make a connection", source };
        let (commands_out, commands) = connect().map_err(failed)?;
        let (events, events_in) = connect().map_err(failed)?;
        let options = self.options(name);
        let ends = BackEnds { commands, events, name: name.to_owned() };
        let child = match &self.way {
            Way::Fork => {
                way::must_be_forkable(name)?;
                let options = options.give(&ends.commands).give(&ends.events);
                way::fork(&launch(&options), &mut self.back, ends)?
            }
            Way::Template(template) => template.start_as(&options, &ends)?,
            Way::Zygote(zygote, start_in) => {
                // It is there: only a child takes it for good.
                let Some(back) = self.back.take() else {
                    return Err(common_ipc::process::WrongProcess.into());
                };
                let (back, started) = start_in(&launch(&options), zygote, back, ends);
                self.back = Some(back);
                started?
            }
        };
        let run = Run::new(name.to_owned(), commands_out, events_in, child);
        // It may lie about that, or have no descriptor to tell it by.
        run.belongs_to_its_child().inspect_err(|_| drop(run.child.kill()))?;
        Ok(run)
    }
}

/// The last words of a back end whose handle is dropped are nobody's.
impl<B: Body<K>, K> Drop for MessageProcess<B, K> {
    fn drop(&mut self) {
        let Ok(run) = self.front.run() else { return };
        if let Err(error) = run.stop(DROP_GRACE) {
            log::warn!(target: self.front.logger(), "the back end of a dropped process goes on: {error}");
        }
    }
}

impl<B: Body<K>, K> Deref for MessageProcess<B, K> {
    type Target = FrontEnd<B::Command, B::Event>;

    fn deref(&self) -> &Self::Target {
        &self.front
    }
}

impl<B: Body<K>, K> fmt::Debug for MessageProcess<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageProcess").field("front", &self.front).finish_non_exhaustive()
    }
}

impl<B: Body<K>, K> fmt::Display for MessageProcess<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.front, f)
    }
}
