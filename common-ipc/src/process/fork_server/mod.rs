//! Processes that make children for the program: a fork whose cost doesn't grow with the program's memory, and
//! that is safe beside its threads.
//!
//! ```text
//! ask             the program's side: a request, and what comes of it     (Server)
//! request         what it consists of; packed: on its way
//! serve           the server's side: it makes the child                   (serve)
//! records         how what a child logs comes to the program's logger
//! births          where the kernel writes a child's number              (Births)
//! surroundings    what has changed in the program since                   (ProgramState)
//!   status, changes, streams    as /proc tells it; as a child makes it good; what is behind 0 to 2
//! ```
//!
//! There are three kinds. The *keeper* is forked on the first line of `main` and makes zygotes. A *zygote* runs
//! functions by their addresses on serialised values. A *template* holds a closure and runs that.
//!
//! A server was forked from the program and has its code, at the same addresses, and the memory of that moment.
//! It makes each child by clone3 with CLONE_PARENT: the child is the program's own, as if the program itself had
//! forked it, with the server's memory. (Made by a bare clone3 without an exit signal, as the server was itself,
//! a child's end sends no signal, and only who waits for its very pid or pidfd collects it.)
//!
//! The program sends one packet: how the child is to be, and descriptors, among them the child's end of its
//! report link. On that the child speaks when it is ready, or says why it isn't, or the server says why there is
//! no child; its closing says that there is nobody left. By then the kernel has written the child's number into
//! memory that the program and the server share, if there is a child. So requests from many threads cross each
//! other freely, a start has one thing to wait for, and whoever is killed, at whatever moment, leaves nobody
//! waiting and no child unknown.
//!
//! A bare clone doesn't run the handlers of `pthread_atfork`; a server has one thread, and takes no lock that
//! those are about. What must not be the same in two processes belongs into
//! [`after_fork`](crate::process::after_fork).

mod ask;
mod births;
mod changes;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod packed;
mod records;
mod request;
mod serve;
mod status;
mod streams;
mod surroundings;

use std::fmt;

use crate::process::errors::StartError;
pub(crate) use ask::{ForServer, NoChild, Server, Start, both_sides};
pub(crate) use births::Births;
pub(crate) use request::{Outcome, Thunk};
pub(crate) use serve::{TemplateBody, Work, serve};
pub use surroundings::ProgramState;
pub(crate) use surroundings::{Surroundings, open_cwd};

/// The program's surroundings at this moment.
pub(crate) fn now() -> Result<Surroundings, StartError> {
    Surroundings::now().map_err(|source| StartError::Os { step: "find out the program's state", source })
}

/// A process that makes children for the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkServer {
    /// Made by [`init`](crate::process::init), makes zygotes.
    Keeper,
    /// Starts functions on serialised values.
    Zygote,
    /// Starts one closure again and again.
    Template,
}

impl fmt::Display for ForkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForkServer::Keeper => "keeper of zygotes",
            ForkServer::Zygote => "zygote",
            ForkServer::Template => "template",
        })
    }
}

impl ForkServer {
    /// What the caller of a start that it failed can do next.
    pub(crate) fn what_next(self) -> &'static str {
        match self {
            ForkServer::Keeper => "Zygotes that are there go on; there will be no new ones",
            ForkServer::Zygote => "The next start gets a new one",
            ForkServer::Template => "What it held is lost: make the object anew, before other threads run",
        }
    }
}
