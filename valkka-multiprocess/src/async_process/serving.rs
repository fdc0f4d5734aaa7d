//! The loop of a back end of tasks, in its runtime.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use common_ipc::RemoteError;
use common_ipc::link::{AsyncOpenServer, LinkError, OpenServer};
use common_ipc::process::{PanicReport, StopSignals, ready};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::async_process::backend::AsyncBackend;
use crate::async_process::context::{AsyncContext, Shared};
use crate::async_process::life::Lived;
use crate::async_process::race::{Either, either};
use crate::async_process::tasks::guarded;
use crate::message_process::{
    Arrived, AtWork, Cause, Done, During, Failure, Policy, command_name, read_command,
};

/// A back end and what comes for it.
pub(crate) struct Serving<'a, B: AsyncBackend> {
    back: &'a mut B,
    shared: Rc<Shared<B::Event>>,
    commands: AsyncOpenServer,
    buffer: Vec<u8>,
    /// Of tasks, for the policy.
    failures: UnboundedReceiver<Box<Failure>>,
}

/// What is to be done next.
enum Next<C> {
    Arrived(Arrived<C>),
    Failed(Box<Failure>),
    End,
}

/// From `async_pre` to `async_post`.
pub(crate) async fn live<B: AsyncBackend>(mut serving: Serving<'_, B>, signals: &StopSignals) -> Lived {
    let (shared, grace) = (Rc::clone(&serving.shared), serving.back.cancel_after());
    let life = async {
        let cx = AsyncContext::new(&shared, During::PreRun, None);
        let back = &mut *serving.back;
        let began = guarded(async { back.async_pre(&cx).await });
        match either(began, shared.stopping.over()).await {
            Either::Left(Ok(())) => {}
            Either::Left(Err(cause)) => {
                return Lived::NotReady(Err(Failure::new(During::PreRun, cause)));
            }
            Either::Right(()) => return Lived::NotReady(Ok(())),
        }
        ready();
        let served = serving.listen().await;
        shared.stopping.begin();
        shared.tasks.end(shared.stopping.over()).await;
        let cx = AsyncContext::new(&shared, During::PostRun, None);
        let back = &mut *serving.back;
        let last = guarded(async { back.async_post(&cx).await }).await;
        Lived::Served { served, last: last.map_err(|cause| Failure::new(During::PostRun, cause)) }
    };
    match either(life, shared.stopping.mind(signals, grace)).await {
        Either::Left(lived) => lived,
        Either::Right(never) => match never {},
    }
}

impl<'a, B: AsyncBackend> Serving<'a, B> {
    pub(crate) fn new(
        back: &'a mut B,
        commands: &OpenServer,
        shared: Rc<Shared<B::Event>>,
        failures: UnboundedReceiver<Box<Failure>>,
    ) -> io::Result<Serving<'a, B>> {
        let commands = commands.to_async()?;
        Ok(Serving { back, shared, commands, buffer: Vec::new(), failures })
    }

    /// Handles what comes until it is over.
    async fn listen(&mut self) -> Done {
        let shared = Rc::clone(&self.shared);
        loop {
            let done = match self.next().await {
                Ok(Next::Arrived(Arrived::Command { number, command, request })) => {
                    either(self.handle(number, command, request), shared.stopping.over()).await
                }
                Ok(Next::Arrived(Arrived::Unreadable(why, request))) => {
                    either(self.refuse(why, request), shared.stopping.over()).await
                }
                Ok(Next::Failed(failure)) => either(self.decide(failure), shared.stopping.over()).await,
                // The front end was dropped, or has died.
                Ok(Next::Arrived(Arrived::Stop) | Next::End) | Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(Failure::error(During::Listen, error)),
            };
            match done {
                Either::Left(done) => done?,
                Either::Right(()) => return Ok(()),
            }
        }
    }

    async fn next(&mut self) -> Result<Next<B::Command>, LinkError> {
        let Serving { shared, commands, buffer, failures, .. } = self;
        let mut arriving = pin!(async { Ok(Next::Arrived(read_command(commands.recv(buffer).await?))) });
        let mut ending = pin!(shared.stopping.begun());
        poll_fn(|context| {
            shared.tasks.forget_ended(context);
            if ending.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Next::End));
            }
            if let Poll::Ready(Some(failure)) = failures.poll_recv(context) {
                return Poll::Ready(Ok(Next::Failed(failure)));
            }
            arriving.as_mut().poll(context)
        })
        .await
    }

    async fn handle(&mut self, number: u64, command: B::Command, request: Option<AtWork>) -> Done {
        let during = During::Command { number, name: command_name(&command) };
        let cx = AsyncContext::new(&self.shared, during.clone(), request.as_ref());
        let back = &mut *self.back;
        let Err(cause) = guarded(async { back.handle(&cx, command).await }).await else { return Ok(()) };
        let failure = Failure::new(during, cause);
        self.shared.tell(&failure, request).await;
        self.decide(failure).await
    }

    /// Tells of a command that can't be read.
    async fn refuse(&self, why: String, request: Option<AtWork>) -> Done {
        let during = During::Command { number: 0, name: "that can't be read".into() };
        self.shared.tell(&Failure::error(during, RemoteError::msg(why)), request).await;
        Ok(())
    }

    /// Does what the policy says about a failure that was told.
    async fn decide(&mut self, failure: Box<Failure>) -> Done {
        let cause = match PanicReport::catch(|| self.back.policy(&failure)) {
            Ok(Policy::GoOn) => return Ok(()),
            Ok(Policy::Die) => return Err(failure),
            Err(report) => Cause::Panicked(report),
        };
        let failure = Failure::new(failure.during, cause);
        self.shared.tell(&failure, None).await;
        Err(failure)
    }
}
