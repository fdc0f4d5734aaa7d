//! A back end of tasks as most tests need it, and runtimes for its front end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::link::Bytes;
use valkka_multiprocess::{
    AsyncBackMessageProcess, AsyncBackend, AsyncContext, EventSender, Failure, Policy, ProcessError,
    RemoteError, Reply, Zygote,
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// To be sent back by the handler.
    Echo(u64),
    /// To be sent back by the handler, so much later.
    EchoAfter(u64, u64),
    /// To be sent back by a task, so much later.
    EchoInTask(u64, u64),
    Bytes(Bytes),
    Square {
        number: u64,
        reply: Reply<u64>,
    },
    /// By a task, so much later.
    SquareInTask {
        number: u64,
        milliseconds: u64,
        reply: Reply<u64>,
    },
    /// Never answered, but kept by a task.
    KeepInTask {
        reply: Reply<u64>,
    },
    DropInTask {
        reply: Reply<u64>,
    },
    /// How a handler, or a task, ends.
    End(Where, How),
    EndRequest(Where, How, Reply<u64>),
    /// A task tells when it sees the end, and goes on for so long.
    TellWhenCancelled(u64),
    /// The handler never returns.
    Hang,
    /// A handler, or a task, that waits for ever, and panics when it is dropped; with what it then begins.
    WaitAwkwardly(Where),
    /// A thread of the runtime's is blocked for ever.
    BlockForEver,
    Report,
    Stop,
    Ticks {
        reply: Reply<u64>,
    },
    Unreadable(Unreadable),
    Pid {
        reply: Reply<u32>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Where {
    Handler,
    Task,
    Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum How {
    Error,
    Panic,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Echo(u64),
    Bytes(Bytes),
    /// One of the steps of its life.
    Step(String),
    Cancelled,
    WentOn,
}

/// What the other side can't read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it won't be read"))
    }
}

/// How a back end is made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) enum Made {
    #[default]
    Well,
    /// It tells of the steps of its life.
    Talkative,
    /// Its tasks have time at the end.
    Patient,
    /// It dies of its first failure.
    Delicate,
    /// `async_pre` fails, or never returns.
    Fails(How),
    NeverReady,
    /// `runtime` fails.
    WithoutRuntime,
    /// Its runtime has several threads.
    Spread,
    BadEnd,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) made: Made,
    #[serde(skip)]
    ticks: std::rc::Rc<std::cell::Cell<u64>>,
}

struct Awkward(AsyncContext<Probe>);

impl Drop for Awkward {
    fn drop(&mut self) {
        self.0.spawn(async { Ok(()) });
        self.0.spawn_background(std::future::pending());
        panic!("it was dropped");
    }
}

fn ended(how: How) -> Result<(), RemoteError> {
    match how {
        How::Error => Err(RemoteError::msg("as it was told")),
        How::Panic => panic!("as it was told"),
    }
}

impl Probe {
    fn step(&self, name: &str) -> Option<Event> {
        (self.made == Made::Talkative).then(|| Event::Step(name.to_owned()))
    }

    fn end(
        cx: &AsyncContext<Self>,
        place: Where,
        how: How,
        reply: Option<Reply<u64>>,
    ) -> Result<(), RemoteError> {
        let end = async move {
            let _reply = reply;
            tokio::task::yield_now().await;
            ended(how)
        };
        match place {
            Where::Handler => return ended(how),
            Where::Task => drop(cx.spawn(end)),
            Where::Background => drop(cx.spawn_background(end)),
        }
        Ok(())
    }
}

impl AsyncBackend for Probe {
    type Command = Command;
    type Event = Event;

    fn pre_run(&mut self, events: &EventSender<Event>) -> Result<(), RemoteError> {
        assert!(tokio::runtime::Handle::try_current().is_err());
        self.step("pre_run").iter().try_for_each(|step| events.send(step))?;
        Ok(())
    }

    async fn async_pre(&mut self, cx: &AsyncContext<Self>) -> Result<(), RemoteError> {
        match self.made {
            Made::Fails(how) => return ended(how),
            Made::NeverReady => std::future::pending().await,
            _ => {}
        }
        if let Some(step) = self.step("async_pre") {
            cx.send_out(&step).await?;
        }
        let ticks = std::rc::Rc::clone(&self.ticks);
        cx.spawn_background(async move {
            let mut every = tokio::time::interval(Duration::from_millis(1));
            loop {
                every.tick().await;
                ticks.set(ticks.get() + 1);
            }
        });
        Ok(())
    }

    async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Echo(number) => cx.send_out(&Event::Echo(number)).await?,
            Command::EchoAfter(number, milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                cx.send_out(&Event::Echo(number)).await?;
            }
            Command::EchoInTask(number, milliseconds) => {
                let task = cx.clone();
                cx.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    task.send_out(&Event::Echo(number)).await?;
                    Ok(())
                });
            }
            Command::Bytes(bytes) => cx.send_out(&Event::Bytes(bytes)).await?,
            Command::Square { number, reply } => reply.send_async(&(number * number)).await?,
            Command::SquareInTask { number, milliseconds, reply } => {
                cx.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    reply.send_async(&(number * number)).await?;
                    Ok(())
                });
            }
            Command::KeepInTask { reply } => {
                cx.spawn(async move {
                    let _reply = reply;
                    std::future::pending().await
                });
            }
            Command::DropInTask { reply } => {
                cx.spawn(async move {
                    tokio::task::yield_now().await;
                    drop(reply);
                    Ok(())
                });
            }
            Command::End(place, how) => Self::end(cx, place, how, None)?,
            Command::EndRequest(place, how, reply) => Self::end(cx, place, how, Some(reply))?,
            Command::TellWhenCancelled(milliseconds) => {
                let task = cx.clone();
                cx.spawn(async move {
                    task.cancelled().await;
                    task.send_out(&Event::Cancelled).await?;
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    task.send_out(&Event::WentOn).await?;
                    Ok(())
                });
            }
            Command::Hang => std::future::pending().await,
            Command::WaitAwkwardly(place) => {
                let guard = Awkward(cx.clone());
                let wait = async move {
                    let _guard = guard;
                    std::future::pending::<Result<(), RemoteError>>().await
                };
                match place {
                    Where::Handler => wait.await?,
                    Where::Task => drop(cx.spawn(wait)),
                    Where::Background => drop(cx.spawn_background(wait)),
                }
            }
            Command::BlockForEver => {
                drop(tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(600))));
            }
            Command::Report => cx.report(RemoteError::msg("only told")).await,
            Command::Stop => cx.stop(),
            Command::Ticks { reply } => reply.send_async(&self.ticks.get()).await?,
            Command::Unreadable(_) => {}
            Command::Pid { reply } => reply.send_async(&std::process::id()).await?,
        }
        Ok(())
    }

    async fn async_post(&mut self, cx: &AsyncContext<Self>) -> Result<(), RemoteError> {
        if let Some(step) = self.step("async_post") {
            cx.send_out(&step).await?;
        }
        if self.made == Made::BadEnd { ended(How::Panic) } else { Ok(()) }
    }

    fn post_run(&mut self, events: &EventSender<Event>) -> Result<(), RemoteError> {
        assert!(tokio::runtime::Handle::try_current().is_err());
        self.step("post_run").iter().try_for_each(|step| events.send(step))?;
        Ok(())
    }

    fn policy(&mut self, _: &Failure) -> Policy {
        if self.made == Made::Delicate { Policy::Die } else { Policy::GoOn }
    }

    fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        match self.made {
            Made::WithoutRuntime => Err(std::io::Error::other("there is none")),
            Made::Spread => {
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
            }
            _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        }
    }

    fn cancel_after(&self) -> Duration {
        if self.made == Made::Patient { Duration::from_secs(20) } else { Duration::ZERO }
    }
}

pub(crate) type Process = AsyncBackMessageProcess<Probe>;

pub(crate) fn made(made: Made) -> Process {
    AsyncBackMessageProcess::new("probe", Probe { made, ..Probe::default() }).launch_in(&Zygote::global())
}

/// Started.
pub(crate) fn started(how: Made) -> Process {
    let process = made(how);
    process.start().unwrap();
    process
}

/// On one thread, which nobody may block.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await }).expect("it hangs");
}

/// On several.
pub(crate) fn spread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await }).expect("it hangs");
}

/// The failure that comes next.
pub(crate) fn told(process: &Process) -> Failure {
    match process.recv() {
        Err(ProcessError::Failed(failure)) => *failure,
        other => panic!("{other:?} is no failure"),
    }
}
