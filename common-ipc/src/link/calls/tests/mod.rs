//! What calls do, between threads; what they do between processes is for the integration tests.

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "tokio")]
mod asynchronous_server;
mod hostile;
mod open;
mod progress;
mod typed;
mod unhurried;

use std::thread::Scope;
use std::time::Duration;

use crate::link::{LinkError, OpenCaller, OpenReply, OpenServer};

/// Asks for what is said back.
const ECHO: u32 = 1;

fn number(reply: OpenReply<'_>) -> u64 {
    reply.decode::<u64>().unwrap()
}

/// A thread that says everything back, until the other side is gone.
fn echo<'scope>(scope: &'scope Scope<'scope, '_>, server: OpenServer) {
    scope.spawn(move || {
        let mut buffer = Vec::new();
        while let Ok(request) = server.recv(&mut buffer) {
            let (number, responder) = request.decode::<u64>();
            // The caller may be gone by now.
            let _ = responder.reply::<u64, _>(0, &number.unwrap());
        }
    });
}

fn ask(caller: &OpenCaller, what: u64) -> u64 {
    caller.call::<u64, _, _>(ECHO, &what, None, number).unwrap()
}

fn is_closed(error: &LinkError) -> bool {
    matches!(error, LinkError::Closed)
}

/// Until something is so that other threads bring about; not for ever.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..10_000 {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}
