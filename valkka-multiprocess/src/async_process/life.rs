//! The life of a back end of tasks, in its process, around its runtime.

use std::rc::Rc;
use std::time::Duration;

use common_ipc::RemoteError;
use common_ipc::link::OpenServer;
use common_ipc::process::{PanicReport, StopSignals};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::LocalSet;

use crate::async_process::backend::AsyncBackend;
use crate::async_process::context::Shared;
use crate::async_process::serving::{Serving, live};
use crate::message_process::{BackEnds, Cause, Done, During, EventSender, Failure};

/// How its time in the runtime was.
pub(crate) enum Lived {
    /// It never was ready.
    NotReady(Done),
    /// It was: up to its last command, and `async_post`.
    Served { served: Done, last: Done },
}

/// How long threads that block may hold up the end of the runtime.
const SHUTDOWN: Duration = Duration::from_millis(100);

/// From `pre_run` to `post_run`.
///
/// # Errors
///
/// Why it has ended by itself.
pub(crate) fn serve<B: AsyncBackend>(mut back: B, ends: BackEnds) -> Done {
    let BackEnds { commands, events, name } = ends;
    events.takes_in_for(&commands);
    let logger = crate::logger_name::<B>(&name);
    let events = EventSender::new(events);
    let attempted = |during, attempt: &mut dyn FnMut() -> Result<(), RemoteError>| {
        let done = Failure::of(during, PanicReport::catch(attempt));
        if let Err(failure) = &done {
            events.tell(&logger, failure);
        }
        done
    };

    attempted(During::PreRun, &mut || back.pre_run(&events))?;
    let ended = match in_runtime(&mut back, &commands, name, &logger, &events) {
        Lived::NotReady(done) => {
            if let Err(failure) = &done {
                events.tell(&logger, failure);
            }
            done
        }
        Lived::Served { served, last } => {
            if let Err(failure) = &last {
                events.tell(&logger, failure);
            }
            served.and(last).and(attempted(During::PostRun, &mut || back.post_run(&events)))
        }
    };
    log::debug!(target: &logger, "bye!");
    // Before the links, so that its last words are heard, and their end is the process's.
    drop(back);
    ended
}

fn in_runtime<B: AsyncBackend>(
    back: &mut B,
    commands: &OpenServer,
    name: String,
    logger: &str,
    events: &EventSender<B::Event>,
) -> Lived {
    let cannot_begin = |error: std::io::Error| Lived::NotReady(Err(Failure::error(During::PreRun, error)));
    let signals = match StopSignals::held() {
        Ok(signals) => signals,
        Err(error) => return cannot_begin(error),
    };
    let runtime = match PanicReport::catch(|| back.runtime()) {
        Ok(Ok(runtime)) => runtime,
        Ok(Err(error)) => return cannot_begin(error),
        Err(report) => {
            let cause = Cause::Panicked(report);
            return Lived::NotReady(Err(Failure::new(During::PreRun, cause)));
        }
    };
    let local = LocalSet::new();
    // Whatever is dropped in here may panic; a runtime that is dropped then would wait for all of its threads.
    let lived = PanicReport::catch(|| {
        let life = async {
            let (failed, failures) = unbounded_channel();
            let shared = Shared::new(name, logger.to_owned(), events.clone(), failed);
            let begun = shared.and_then(|shared| Serving::new(back, commands, Rc::new(shared), failures));
            match begun {
                Ok(serving) => live(serving, &signals).await,
                Err(error) => cannot_begin(error),
            }
        };
        let lived = runtime.block_on(local.run_until(life));
        let _inside = runtime.enter();
        drop(local);
        lived
    });
    runtime.shutdown_timeout(SHUTDOWN);
    lived.unwrap_or_else(|report| {
        let failure = Failure::new(During::Task, Cause::Panicked(report));
        Lived::Served { served: Ok(()), last: Err(failure) }
    })
}
