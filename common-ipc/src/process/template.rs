//! Templates: a closure in a process of its own, from which it is started again and again.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ownership::generation::WrongProcess;
use crate::process::child::Child;
use crate::process::child_side::Body;
use crate::process::errors::StartError;
use crate::process::fork_rule::ForkRule;
use crate::process::fork_server::{self, Births, ForkServer, Server, Start, Work};
use crate::process::forking;
use crate::process::launch::Kind;
use crate::process::options::{Ends, LaunchOptions};
use crate::process::plan::Plan;
use crate::process::report::OutputFailure;
use crate::sys::function::Modules;

/// A closure that can be started any number of times, also beside threads; made by
/// [`Launch::template`](crate::process::Launch::template).
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
#[derive(Debug)]
pub struct Template {
    server: Server,
    options: LaunchOptions,
    kind: Kind<'static>,
    /// The options give what only one child can have.
    gives_ends: bool,
    /// It has got that.
    given_away: AtomicBool,
}

impl Template {
    pub(crate) fn new(
        options: &LaunchOptions,
        kind: Kind<'static>,
        body: &mut Body<'_>,
    ) -> Result<Template, StartError> {
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
        })
    }

    /// Starts a child from it.
    ///
    /// # Errors
    ///
    /// See [`StartError`]: [`StartError::ServerDied`] once the template has died;
    /// [`StartError::GivenTwice`] the second time if its options give something that moves;
    /// [`StartError::ZygoteStale`]; [`StartError::WrongProcess`] in another process than the one that made it.
    pub fn start(&self) -> Result<Child, StartError> {
        // Claimed before the start: of two threads, one has them.
        if self.gives_ends && self.given_away.swap(true, Ordering::Relaxed) {
            return Err(StartError::GivenTwice(WrongProcess));
        }
        let started = self
            .kind
            .plan(&self.options)
            .and_then(|plan| self.server.start(&plan, &Start::default()).map_err(StartError::from));
        match &started {
            Ok(_) if self.gives_ends => self.server.let_go(),
            Ok(_) => {}
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
