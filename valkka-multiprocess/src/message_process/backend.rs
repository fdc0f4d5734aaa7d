//! What runs in the other process.

use common_ipc::RemoteError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message_process::context::Context;
use crate::message_process::failure::{Failure, Policy};

/// The side of a message process that runs in a process of its own.
///
/// The value is made here and moved there: what a front end has is a
/// [`MessageProcess`](crate::MessageProcess), which has none of the methods of this trait, and the back end has none of
/// its. What is to be made there (a model that is loaded, a connection to a camera) is made in
/// [`pre_run`](Backend::pre_run).
///
/// In its process `pre_run` is called first; then [`handle`](Backend::handle) for each command, one after another, in the
/// order in which they were sent; [`post_run`](Backend::post_run) when that is over: when it was asked to stop, after SIGTERM (and
/// SIGINT, unless that is [ignored](crate::MessageProcess::ignore_sigint)), when [`Context::stop`] was called, when its
/// policy says so, or when the front end is gone. A handler isn't interrupted by any of these, but by SIGKILL, which comes
/// when it takes too long.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use valkka_multiprocess::{Backend, Context, Failure, Policy, RemoteError};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Load(String),
/// }
///
/// /// Keeps the lengths of files.
/// #[derive(Default)]
/// struct Lengths(Vec<u64>);
///
/// impl Backend for Lengths {
///     type Command = Command;
///     type Event = u64;
///
///     fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
///         let Command::Load(path) = command;
///         self.0.push(std::fs::metadata(path)?.len()); // an error is logged, and the front end is told
///         cx.send_out(&self.0.iter().sum())?;
///         Ok(())
///     }
///
///     fn policy(&mut self, _: &Failure) -> Policy {
///         Policy::Die // a file that can't be read is more than this one wants to go on with
///     }
/// }
/// ```
pub trait Backend: Sized + 'static {
    /// What the front end sends.
    type Command: Serialize + DeserializeOwned;
    /// What the back end sends.
    type Event: Serialize + DeserializeOwned;

    /// Handles a command.
    ///
    /// # Errors
    ///
    /// Whatever fails. It is logged; the front end is told; then [`policy`](Backend::policy) decides. So for a panic.
    #[doc(alias = "c__ping")]
    fn handle(&mut self, cx: &mut Context<Self>, command: Self::Command) -> Result<(), RemoteError>;

    /// Called in the back end's process before the first command: for what takes long, or can't be moved.
    /// [`FrontEnd::wait_ready`](crate::FrontEnd::wait_ready) waits until it has returned.
    ///
    /// # Errors
    ///
    /// Whatever fails. Then the back end ends: neither commands nor `post_run` are for one that isn't ready.
    #[doc(alias = "preRun__")]
    fn pre_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        let _ = cx;
        Ok(())
    }

    /// Called in the back end's process after the last command. Events that it sends still arrive.
    ///
    /// # Errors
    ///
    /// Whatever fails, for the log and [`Ended::failure`](crate::Ended::failure).
    #[doc(alias = "postRun__")]
    fn post_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        let _ = cx;
        Ok(())
    }

    /// Called again and again between commands while [`Context::set_listening`] is on, without any pause: what waits has to
    /// wait in here. (To wait for descriptors or times, [`Context::watch`], [`Context::every`] and
    /// [`Context::after`] cost nothing meanwhile.)
    ///
    /// # Errors
    ///
    /// Whatever fails; as for [`handle`](Backend::handle).
    #[doc(alias = "readPipes__")]
    fn listen(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        let _ = cx;
        Ok(())
    }

    /// Decides what becomes of the back end after a failure that was logged and told. Unless it says otherwise, the back end goes
    /// on. Commands that can't be read, and [routes](crate::Router) that don't exist, aren't asked about: it goes on.
    fn policy(&mut self, failure: &Failure) -> Policy {
        let _ = failure;
        Policy::GoOn
    }
}
