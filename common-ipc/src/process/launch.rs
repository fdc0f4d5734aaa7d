//! Starting a child: what of it is chosen by the kind of child, and the ways to start one.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::process::child::Child;
use crate::process::errands::reading_argument;
use crate::process::errors::StartError;
use crate::process::exit_hook::AtExit;
use crate::process::fork_server::{Outcome, Start, Thunk};
use crate::process::forking;
use crate::process::options::{LaunchOptions, ParentDeath};
use crate::process::plan::Plan;
use crate::process::portable::Portable;
use crate::process::report::OutputFailure;
use crate::process::signals::Held;
use crate::process::template::Template;
use crate::process::zygote::Zygote;
use crate::sys::function;

/// A start of a child: the options of the user and what the kind of child adds to them.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let words = vec!["moved", "by", "the", "fork"];
/// let child = Launch::new(&LaunchOptions::new().name("counter")).start(move || words.len())?;
/// assert_eq!(child.output::<usize>()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Launch<'a> {
    options: &'a LaunchOptions,
    kind: Kind<'a>,
}

/// What the kind of child adds to the options.
#[derive(Debug, Clone)]
pub(crate) struct Kind<'a> {
    name: Cow<'a, str>,
    wait_until_ready: bool,
    announce_ready: bool,
    hold_stop_signals: bool,
    at_exit: AtExit,
}

impl<'a> Launch<'a> {
    /// A start with these options.
    pub fn new(options: &'a LaunchOptions) -> Launch<'a> {
        let kind = Kind {
            name: Cow::Borrowed("child"),
            wait_until_ready: false,
            announce_ready: false,
            hold_stop_signals: false,
            at_exit: AtExit::default(),
        };
        Launch { options, kind }
    }

    /// What a child without a name is named after: `kind` and a number.
    pub fn kind(mut self, kind: &'a str) -> Self {
        self.kind.name = Cow::Borrowed(kind);
        self
    }

    /// Has the start wait until the child is about to run its body.
    pub fn wait_until_ready(mut self, wait: bool) -> Self {
        self.kind.wait_until_ready = wait;
        self
    }

    /// Has the child say that it is ready when it is about to run its body, as if the body began with
    /// [`ready`](crate::process::ready). The start doesn't wait for that; [`Child::wait_ready`] does.
    pub fn announce_ready(mut self, announce: bool) -> Self {
        self.kind.announce_ready = announce;
        self
    }

    /// Keeps SIGTERM and, unless it is to be ignored, SIGINT blocked in the child from its first
    /// moment; its body takes them by [`StopSignals`](crate::process::StopSignals).
    pub fn hold_stop_signals(mut self, hold: bool) -> Self {
        self.kind.hold_stop_signals = hold;
        self
    }

    /// What the program's exit does to the child.
    pub fn at_exit(mut self, at_exit: AtExit) -> Self {
        self.kind.at_exit = at_exit;
        self
    }

    /// What the start is like.
    pub(crate) fn plan(&self) -> Result<Plan<'a>, StartError> {
        self.kind.plan(self.options)
    }

    /// Forks a child that runs `body` and ends.
    ///
    /// The fork itself moves the body into the child, so it may capture anything. This process drops
    /// its copy when the child has been started; the child drops its own when the body returns. A
    /// value that does something when it is dropped (a temporary directory that deletes itself, a
    /// `BufWriter` with pending output) therefore does it in both: make it in the body.
    ///
    /// What the body returns is serialised in the child and read by [`Child::output`]. An `io::Result` can't be:
    /// return a `Result<T, RemoteError>`. A body that never returns is of a type that can't be either: write
    /// `|| -> () { .. }`.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. The body didn't run, or didn't get to its end.
    pub fn start<O, F>(&self, body: F) -> Result<Child, StartError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        let mut body = Some(body);
        forking::fork(&self.plan()?, &mut |ready| run(&mut body, ready))
    }

    /// Starts a child from a zygote, which calls `run` on a copy of `argument`.
    ///
    /// `run` is a plain function, or a closure that captures nothing; what it is to work on is its argument,
    /// which is serialised. Connections, queues, events, locks and memory may be part of that: what belongs to
    /// one process moves to the child if the start succeeds. The start returns when the child has read its
    /// argument and is about to call `run`.
    ///
    /// ```
    /// use common_ipc::link::Connection;
    /// use common_ipc::process::{self, Launch, LaunchOptions, Zygote};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// process::init()?;
    /// let (here, there) = Connection::<u32, u32>::pair()?;
    /// let child = Launch::new(&LaunchOptions::new()).start_in(
    ///     &Zygote::global(),
    ///     |(there, factor): (Connection<u32, u32>, u32)| {
    ///         let number = there.recv().unwrap();
    ///         there.send(&(number * factor)).unwrap();
    ///     },
    ///     &(there, 7),
    /// )?;
    /// here.send(&6)?;
    /// assert_eq!(here.recv()?, 42);
    /// child.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StartError`]. The function wasn't called.
    pub fn start_in<A, O>(&self, zygote: &Zygote, run: fn(A) -> O, argument: &A) -> Result<Child, StartError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        zygote.start(&self.plan()?, Start::new(call::<A, O> as Thunk, function::address(run), argument)?)
    }

    /// Makes a template of `body`, from which it can be started any number of times: see [`Template`]. Nothing is
    /// started yet.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// let words = std::rc::Rc::new(vec!["any", "closure"]); // nothing need be serialisable
    /// let template = Launch::new(&LaunchOptions::new()).template(move || words.len())?;
    /// std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(1)));
    /// for _ in 0..3 {
    ///     // Also beside other threads.
    ///     assert_eq!(template.start()?.output::<usize>()?, 2);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Beside other threads it is refused whatever the fork rule says:
    /// [`Refusal::OtherThreads`](crate::process::Refusal::OtherThreads).
    pub fn template<O, F>(&self, body: F) -> Result<Template, StartError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        self.template_with(|()| body())
    }

    /// As [`template`](Launch::template), of a closure that takes an argument: each start has its own, which is
    /// serialised.
    ///
    /// ```
    /// use common_ipc::link::Connection;
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// let factor = std::rc::Rc::new(3);
    /// let template = Launch::new(&LaunchOptions::new()).template_with(move |there: Connection<u32, u32>| {
    ///     there.iter().flatten().for_each(|number| there.send(&(number * *factor)).unwrap());
    /// })?;
    /// for _ in 0..2 {
    ///     // Each child has an end of its own.
    ///     let (here, there) = Connection::<u32, u32>::pair()?;
    ///     let child = template.start_with(&there)?;
    ///     here.send(&14)?;
    ///     assert_eq!(here.recv()?, 42);
    ///     drop(here);
    ///     child.wait()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`template`](Launch::template).
    pub fn template_with<A, O, F>(&self, body: F) -> Result<Template<A>, StartError>
    where
        A: Portable,
        F: FnOnce(A) -> O,
        O: Serialize + DeserializeOwned,
    {
        let mut body = Some(body);
        Template::new(self.options, self.kind.clone().into_owned(), &mut |argument, incoming, ready| {
            let argument = read_argument::<A>(argument, incoming)?;
            // A child runs it once, and never comes back.
            run(&mut body.take().map(|body| || body(argument)), ready)
        })
    }
}

impl Kind<'_> {
    /// What a start of this kind with these options is like.
    pub(crate) fn plan<'a>(&self, options: &'a LaunchOptions) -> Result<Plan<'a>, StartError> {
        let mut plan = Plan::new(options, &self.name)?;
        plan.at_exit = self.at_exit;
        plan.wait_until_ready = self.wait_until_ready;
        plan.handshake |= self.wait_until_ready;
        plan.announce_ready = self.announce_ready;
        if self.hold_stop_signals {
            plan.held = Held::StopSignals;
            plan.parent_death =
                options.parent_death.unwrap_or(ParentDeath::Stop { grace: ParentDeath::LOOP_GRACE });
        }
        Ok(plan)
    }

    fn into_owned(self) -> Kind<'static> {
        Kind { name: Cow::Owned(self.name.into_owned()), ..self }
    }
}

/// In the child, whose copy of the body is its own. It is there: a child runs it once, and never comes back.
fn run<O, F>(body: &mut Option<F>, ready: &mut dyn FnMut()) -> Outcome
where
    F: FnOnce() -> O,
    O: Serialize + DeserializeOwned,
{
    ready();
    body.take().map_or_else(|| Ok(Vec::new()), |body| encode_output(&body()))
}

/// In a zygote's child.
fn call<A: Portable, O: Serialize + DeserializeOwned>(
    run: usize,
    argument: &[u8],
    incoming: Option<Incoming>,
    ready: &mut dyn FnMut(),
) -> Outcome {
    let argument = read_argument::<A>(argument, incoming)?;
    ready();
    // `start_in` made it a number, and named these types.
    encode_output(&function::at::<fn(A) -> O>(run)(argument))
}

fn read_argument<A: Portable>(argument: &[u8], incoming: Option<Incoming>) -> Result<A, OutputFailure> {
    reading_argument(|| codec::decode_message(argument, incoming))
        .map_err(|error| OutputFailure::Argument { message: error.to_string() })
}

/// In the child: the output, whole, before anything of it is sent.
fn encode_output<O: Serialize + DeserializeOwned>(output: &O) -> Outcome {
    codec::encode_checked(output).map_err(|error| OutputFailure::Encode {
        type_name: error.type_name.to_owned(),
        message: error.message,
    })
}
