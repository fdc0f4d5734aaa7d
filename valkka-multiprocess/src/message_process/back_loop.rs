//! The life of a back end, in its process.

use std::time::{Duration, Instant};

use common_ipc::RemoteError;
use common_ipc::link::{LinkError, OpenResponder};
use common_ipc::process::{PanicReport, StopSignals, ready};

use crate::message_process::backend::Backend;
use crate::message_process::command_name::command_name;
use crate::message_process::context::{Context, Handler};
use crate::message_process::failure::{Cause, Done, During, Failure, Policy};
use crate::message_process::inbox::Arrived;
use crate::message_process::reply::AtWork;
use crate::message_process::wire::{BackEnds, REFUSED};

/// So many commands are handled in a row, or for so long, before descriptors, timers and signals have their turn.
const BURST: u32 = 64;
const BURST_TIME: Duration = Duration::from_millis(1);

/// From `pre_run` to `post_run`.
///
/// # Errors
///
/// Why it has ended by itself.
pub(crate) fn serve<B: Backend>(mut back: B, ends: BackEnds) -> Done {
    let cannot_begin = |error: std::io::Error| Failure::error(During::PreRun, error);
    let stop_signals = StopSignals::held().map_err(cannot_begin)?;
    let mut cx = Context::new(ends).map_err(cannot_begin)?;
    let pollable = stop_signals.pollable().map_err(cannot_begin)?;
    let watched = cx.reactor.add_fd(pollable, Handler::StopSignal);
    watched.map_err(|error| cannot_begin(std::io::Error::other(error)))?;

    if let Err(failure) = attempt(&mut back, &mut cx, During::PreRun, B::pre_run) {
        cx.tell(&failure);
        return Err(failure);
    }
    ready();
    let served = listen(&mut back, &mut cx);
    let last = attempt(&mut back, &mut cx, During::PostRun, B::post_run);
    if let Err(failure) = &last {
        cx.tell(failure);
    }
    log::debug!(target: cx.logger(), "bye!");
    // Before the links, so that its last words are heard, and their end is the process's.
    drop(back);
    served.and(last)
}

/// Handles what comes until it is over.
fn listen<B: Backend>(back: &mut B, cx: &mut Context<B>) -> Done {
    let (mut in_a_row, mut last_turn) = (0, Instant::now());
    while !cx.is_over {
        let arrived = match cx.next() {
            Ok(arrived) => arrived,
            // The front end was dropped, or has died.
            Err(LinkError::Closed) => break,
            Err(error) => return Err(Failure::error(During::Listen, error)),
        };
        in_a_row = if arrived.is_some() { in_a_row + 1 } else { BURST };
        match arrived {
            Some(Arrived::Stop) => break,
            Some(Arrived::Command { number, command, request }) => {
                let during = During::Command { number, name: command_name(&command) };
                let handled = attempt(back, cx, during, |back, cx| back.handle(cx, command));
                conclude(back, cx, handled, request)?;
            }
            Some(Arrived::Unreadable(why, request)) => {
                let during = During::Command { number: 0, name: "that can't be read".into() };
                let failure = Failure::error(during, RemoteError::msg(why));
                tell(cx, &failure, request);
            }
            None => {}
        }
        if in_a_row >= BURST || last_turn.elapsed() >= BURST_TIME {
            turn(back, cx)?;
            (in_a_row, last_turn) = (0, Instant::now());
        }
        if cx.is_listening && !cx.is_over {
            let listened = attempt(back, cx, During::Listen, B::listen);
            conclude(back, cx, listened, None)?;
        }
    }
    Ok(())
}

/// The turn of descriptors, timers and signals.
fn turn<B: Backend>(back: &mut B, cx: &mut Context<B>) -> Done {
    if let Err(error) = cx.reactor.poll(Some(Duration::ZERO)) {
        return Err(Failure::error(During::Watch, error));
    }
    while let Some(id) = cx.reactor.next_ready() {
        if cx.is_over {
            break;
        }
        match cx.reactor.get_mut(id) {
            Some(Handler::StopSignal) => cx.stop(),
            Some(Handler::Call(during, call)) => {
                let (during, Some(mut call)) = (during.clone(), call.take()) else { continue };
                let done = attempt(back, cx, during, |back, cx| call(back, cx));
                cx.set(id, call);
                conclude(back, cx, done, None)?;
            }
            Some(Handler::Once(call)) => {
                let Some(call) = call.take() else { continue };
                cx.unwatch(id);
                let done = attempt(back, cx, During::Timer, call);
                conclude(back, cx, done, None)?;
            }
            None => {}
        }
    }
    Ok(())
}

/// Calls the back end, and has an error or a panic as a failure.
fn attempt<B: Backend>(
    back: &mut B,
    cx: &mut Context<B>,
    during: During,
    call: impl FnOnce(&mut B, &mut Context<B>) -> Result<(), RemoteError>,
) -> Done {
    cx.during = during;
    let tried = PanicReport::catch(|| call(back, cx));
    Failure::of(cx.during.clone(), tried)
}

/// Tells of a failure, and does what the policy says.
fn conclude<B: Backend>(back: &mut B, cx: &mut Context<B>, done: Done, request: Option<AtWork>) -> Done {
    let refused = cx.refused.take();
    let failure = match (done, refused) {
        (Ok(()), None) => return Ok(()),
        (Ok(()), Some(refused)) => {
            tell(cx, &refused, request);
            return Ok(());
        }
        (Err(failure), refused) => {
            refused.iter().for_each(|refused| cx.tell(refused));
            failure
        }
    };
    tell(cx, &failure, request);
    match PanicReport::catch(|| back.policy(&failure)) {
        Ok(Policy::GoOn) => Ok(()),
        Ok(Policy::Die) => Err(failure),
        Err(report) => {
            let failure = Failure::new(failure.during, Cause::Panicked(report));
            cx.tell(&failure);
            Err(failure)
        }
    }
}

/// Of a request whose reply nobody has, whoever asked is told; else all who listen to the front end.
fn tell<B: Backend>(cx: &mut Context<B>, failure: &Failure, request: Option<AtWork>) {
    match request.and_then(|request| request.take_if_dropped()) {
        Some(responder) => refuse(cx.logger(), responder, failure),
        None => cx.tell(failure),
    }
}

fn refuse(logger: &str, responder: OpenResponder, failure: &Failure) {
    log::error!(target: logger, "{failure}");
    if let Err(error) = responder.reply::<Failure, _>(REFUSED, failure) {
        log::warn!(target: logger, "whoever asked wasn't told of that: {error}");
    }
}
