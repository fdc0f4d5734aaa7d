//! Message processes whose back end is a tokio runtime, and front ends for tasks.
//!
//! ```text
//! the program                                      the back end's process
//!   AsyncBackMessageProcess                way ->    life      pre_run, a runtime, post_run
//!     FrontEnd     front: send_async ..   wire         serving   async_pre, handle, async_post
//!       Run        run: on which it stands             context   AsyncContext: events out, tasks
//!                                                      tasks     what handlers have begun
//!                                                      stopping  when it is over, and for whom
//! ```

mod backend;
mod context;
mod front;
mod life;
mod race;
mod run;
mod serving;
mod stopping;
mod tasks;

pub use backend::AsyncBackend;
pub use context::AsyncContext;
pub(crate) use race::Either;
pub(crate) use run::Runtimes;

use crate::message_process::{BackEnds, Body, Done, MessageProcess};

/// A process whose back end is a tokio runtime of its own: see [`AsyncBackend`].
///
/// It is started, and its [front end](crate::FrontEnd) used, as any [`MessageProcess`] is. By a fork it can be started in
/// a program without a runtime; in one that has a runtime, from a [zygote](MessageProcess::launch_in). The back end builds
/// its runtime itself, in its process.
///
/// ```
/// use std::time::Duration;
/// use serde::{Deserialize, Serialize};
/// use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext, ProcessError, RemoteError, Reply};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Quick(u32),
///     Slow { milliseconds: u64, reply: Reply<u64> },
/// }
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum Event {
///     Done(u32),
/// }
///
/// struct Server;
///
/// impl AsyncBackend for Server {
///     type Command = Command;
///     type Event = Event;
///
///     async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
///         match command {
///             Command::Quick(number) => cx.send_out(&Event::Done(number)).await?,
///             // In a task of its own: the next command is handled meanwhile.
///             Command::Slow { milliseconds, reply } => {
///                 cx.spawn(async move {
///                     tokio::time::sleep(Duration::from_millis(milliseconds)).await;
///                     reply.send_async(&milliseconds).await?;
///                     Ok(())
///                 });
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let server = AsyncBackMessageProcess::new("server", Server);
/// server.start()?;
/// std::thread::scope(|scope| {
///     let slow = scope.spawn(|| server.request(|reply| Command::Slow { milliseconds: 50, reply }));
///     server.send(&Command::Quick(1))?;
///     assert_eq!(server.recv()?, Event::Done(1));
///     assert_eq!(slow.join().unwrap()?, 50);
///     Ok::<_, ProcessError>(())
/// })?;
/// server.stop()?;
/// # Ok::<(), ProcessError>(())
/// ```
pub type AsyncBackMessageProcess<B> = MessageProcess<B, Asynchronous>;

/// The kind of those whose methods don't block: [`AsyncBackend`].
#[derive(Debug)]
pub enum Asynchronous {}

impl<B: AsyncBackend> Body<Asynchronous> for B {
    type Command = B::Command;
    type Event = B::Event;

    fn serve(self, ends: BackEnds) -> Done {
        life::serve(self, ends)
    }
}
