//! Front ends in the loop of the program.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use common_ipc::link::LinkError;
use common_ipc::process::{Child, ExitStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::main_loop::source::{Front, Next, Watch, sealed};
use crate::message_process::error::ProcessError;
use crate::message_process::incoming::Incoming;
use crate::message_process::run::Run;
use crate::message_process::{Body, FrontEnd, MessageProcess};
use crate::reactor::WatchError;

impl<E: DeserializeOwned + Send> Front<Incoming<E>> for Run<E> {
    fn poll_fd(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.pollable()
    }

    fn try_next(&self) -> Next<Incoming<E>> {
        self.look()
    }

    fn child(&self) -> &Child {
        &self.child
    }

    fn ended(&self, status: ExitStatus) -> Incoming<E> {
        Incoming::Ended(self.ended_with(status).clone())
    }
}

impl<C, E> sealed::Sealed for FrontEnd<C, E> {}

impl<C, E> Watch for FrontEnd<C, E>
where
    C: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned + Send + 'static,
{
    type Incoming = Incoming<E>;

    fn front(&self) -> Result<Arc<dyn Front<Incoming<E>>>, WatchError> {
        match self.run() {
            Ok(run) => Ok(run),
            Err(ProcessError::WrongProcess(error)) => Err(error.into()),
            Err(_) => Err(WatchError::NotStarted),
        }
    }
}

impl<B: Body<K>, K> sealed::Sealed for MessageProcess<B, K> {}

impl<B: Body<K>, K> Watch for MessageProcess<B, K>
where
    B::Event: Send + 'static,
{
    type Incoming = Incoming<B::Event>;

    fn front(&self) -> Result<Arc<dyn Front<Incoming<B::Event>>>, WatchError> {
        Watch::front(MessageProcess::front(self))
    }
}
