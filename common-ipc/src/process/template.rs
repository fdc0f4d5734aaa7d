//! Templates: a closure in a process of its own, from which it is started again and again.

use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ownership::generation::WrongProcess;
use crate::process::child::Child;
use crate::process::errors::StartError;
use crate::process::fork_rule::ForkRule;
use crate::process::fork_server::{self, Births, ForkServer, Server, Start, TemplateBody, Work};
use crate::process::forking;
use crate::process::launch::Kind;
use crate::process::options::{Ends, LaunchOptions};
use crate::process::plan::Plan;
use crate::process::portable::Portable;
use crate::process::report::OutputFailure;
use crate::sys::function::Modules;

/// A closure that can be started any number of times, also beside threads; made by
/// [`Launch::template`](crate::process::Launch::template), or by
/// [`Launch::template_with`](crate::process::Launch::template_with) if it takes an argument.
///
/// It lives in a small process, the *template*, which was forked while the program had one thread. Each child is
/// a copy of that: it has the closure, and the memory that the program had when the template was made. The
/// program's state - working directory, user, streams and so on - it has as they are at its own start, as
/// [`Zygote`](crate::process::Zygote)'s children do.
///
/// The template keeps open what the program had open when it was made, but for the library's own descriptors: of
/// those it has what the options give. What moves to one process only (an end of a connection) the first child
/// gets; a second start is then [`StartError::GivenTwice`].
///
/// In `ps` it is `tmpl:` and the name of its children. **Dropping** this ends the template; children that run go
/// on.
pub struct Template<A = ()> {
    server: Server,
    options: LaunchOptions,
    kind: Kind<'static>,
    /// The options give what only one child can have.
    gives_ends: bool,
    /// It has got that.
    given_away: AtomicBool,
    takes: PhantomData<fn(A)>,
}

impl<A: Portable> Template<A> {
    pub(crate) fn new(
        options: &LaunchOptions,
        kind: Kind<'static>,
        body: &mut TemplateBody<'_>,
    ) -> Result<Template<A>, StartError> {
        let plan = kind.plan(options)?;
        let now = fork_server::now()?;
        let (ours, theirs) = fork_server::both_sides()?;
        let mut name = OsString::from("tmpl:");
        name.push(&plan.name);
        // What its children are given it keeps for them.
        let for_children = LaunchOptions { given: options.given.clone(), ..LaunchOptions::default() };
        let mut its_own = for_children.clone().name(name);
        its_own.given.extend(theirs.given());
        // Beside other threads not even if the rule allows it: libc's allocator isn't prepared for this fork.
        its_own.fork_rule = Some(ForkRule::Refuse);
        let gives_ends = options.moves_something();
        let child = forking::fork(&Plan::of_server(&its_own)?, &mut |_| {
            let failed = |message: String| OutputFailure::Argument { message };
            let ends = Ends::claim(&for_children).map_err(|error| failed(error.to_string()))?;
            let births = Births::receive(&theirs.births);
            let work = Work::Closure { body, ends };
            let served = births.and_then(|births| fork_server::serve(&theirs.socket, births, work));
            served.map(|()| Vec::new()).map_err(|error| failed(error.to_string()))
        })?;
        let server = Server::new(ForkServer::Template, child, ours, now, Arc::new(Modules::loaded()));
        Ok(Template {
            server,
            options: options.clone(),
            kind,
            gives_ends,
            given_away: AtomicBool::new(false),
            takes: PhantomData,
        })
    }

    /// Starts a child from it, which works on a copy of `argument`. Connections, queues, events, locks and memory may
    /// be part of that: what belongs to one process moves to the child if the start succeeds.
    ///
    /// # Errors
    ///
    /// [`StartError::Encode`] and [`StartError::Argument`] if the argument can't be written here or read there. Else see [`StartError`]: [`StartError::ServerDied`] once the template has died;
    /// [`StartError::GivenTwice`] the second time if its options give something that moves;
    /// [`StartError::ZygoteStale`]; [`StartError::WrongProcess`] in another process than the one that made it.
    pub fn start_with(&self, argument: &A) -> Result<Child, StartError> {
        self.start_as(&self.options, argument)
    }

    /// As [`start_with`](Template::start_with), with other options than the template was made with. What they
    /// [give](LaunchOptions::give) doesn't matter: the template keeps for its children what it was given.
    ///
    /// # Errors
    ///
    /// As for [`start_with`](Template::start_with).
    pub fn start_as(&self, options: &LaunchOptions, argument: &A) -> Result<Child, StartError> {
        let start = Start::with(argument)?;
        // Claimed before the start: of two threads, one has them.
        if self.gives_ends && self.given_away.swap(true, Ordering::Relaxed) {
            return Err(StartError::GivenTwice(WrongProcess));
        }
        let started = self
            .kind
            .plan(options)
            .and_then(|plan| self.server.start(&plan, &start).map_err(StartError::from));
        match &started {
            Ok(_) => {
                start.outgoing.sent();
                if self.gives_ends {
                    self.server.let_go();
                }
            }
            Err(_) => self.given_away.store(false, Ordering::Relaxed),
        }
        started
    }

    /// Whether a start can succeed, as far as that is known beforehand.
    ///
    /// # Errors
    ///
    /// [`StartError::ServerDied`] and [`StartError::GivenTwice`], as [`start`](Template::start) would return them.
    pub fn check(&self) -> Result<(), StartError> {
        if self.gives_ends && self.given_away.load(Ordering::Relaxed) {
            return Err(StartError::GivenTwice(WrongProcess));
        }
        self.server.check_alive()
    }

    /// Its process id. Not that of any of its children.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Whether it is there, so that a start can succeed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.server.is_alive()
    }
}

impl Template {
    /// Starts a child from it.
    ///
    /// # Errors
    ///
    /// As for [`start_with`](Template::start_with).
    pub fn start(&self) -> Result<Child, StartError> {
        self.start_with(&())
    }
}

impl<A> fmt::Debug for Template<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("server", &self.server).finish_non_exhaustive()
    }
}
