//! Who brings the replies to tasks.
//!
//! A task never holds the reader role while it isn't polled: whoever does could be left unpolled for ever. A task
//! of the library's, the *driver*, which the runtime polls whenever the connection has something, takes the role,
//! hands over what is there, and leaves the role, all within one poll. It needs no thread, and nobody to wait for
//! it.
//!
//! Where it finds a thread in the role, that hands over to tasks as well. It is told when the role is free again
//! with nobody to take it: there may be something left. The rest is the connection's promise to those who poll:
//! while nobody receives and something is there, its descriptor is readable.
//!
//! Once the driver has found the connection's end, or its runtime has ended, it is no more. Then a task that waits
//! is offered the role: it takes it for a moment, finds out why, and passes it on. All tasks are at once, since the one
//! that is may be kept by somebody who doesn't poll it, and others would wait for that.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::io::unix::AsyncFdReadyGuard;

use crate::link::calls::engine::Engine;
use crate::link::connection::scratch;
use crate::link::connection::waiting::Wait;
use crate::link::poll::Deadline;
use crate::link::watched::Watched;

/// The driver's share in the engine: while it waits it keeps no connection open.
pub(super) struct Driving(pub(super) Weak<Engine>);

/// What a driver found.
enum Found {
    /// All there was is handed over.
    Nothing,
    /// More than is handed over in one go.
    More,
    /// A thread that reads.
    Reader,
    /// Nothing will come any more.
    End,
}

/// So many replies in one go: other tasks want to run as well.
const AT_ONCE: usize = 128;

impl Driving {
    /// Until nothing will come any more, or the runtime ends.
    pub(super) async fn drive(self, readable: Watched) {
        let mut seen = None;
        while let Some(engine) = self.0.upgrade() {
            let Ok(released) = engine.lock().map(|slots| Arc::clone(&slots.released)) else { return };
            let mut released = pin!(released.notified());
            // Before the look: what is released after it counts.
            released.as_mut().enable();
            let found = engine.hand_over_all();
            drop(engine);
            match found {
                Found::Nothing => {
                    if let Some(mut seen) = seen.take() {
                        AsyncFdReadyGuard::clear_ready(&mut seen);
                    }
                    let mut wait = pin!(readable.wait());
                    let either = poll_fn(|context| match released.as_mut().poll(context) {
                        Poll::Ready(()) => Poll::Ready(Ok(None)),
                        Poll::Pending => wait.as_mut().poll(context).map_ok(Some),
                    });
                    match either.await {
                        Ok(guard) => seen = guard,
                        Err(_) => return,
                    }
                }
                Found::More => tokio::task::yield_now().await,
                Found::Reader => released.await,
                Found::End => return,
            }
        }
    }
}

/// When it is over, by what it found or by the end of its runtime.
impl Drop for Driving {
    fn drop(&mut self) {
        let Some(engine) = self.0.upgrade() else { return };
        let Ok(mut slots) = engine.lock() else { return };
        slots.drivers -= 1;
        engine.offer_the_role(slots);
    }
}

impl Engine {
    /// Hands over what is there, if nobody else does.
    fn hand_over_all(&self) -> Found {
        let Ok(mut slots) = self.lock() else { return Found::End };
        if slots.is_read {
            slots.missed = true;
            return Found::Reader;
        }
        self.take_the_role(&mut slots);
        drop(slots);
        let now = Deadline::after(Duration::ZERO);
        let found = scratch::with(|bytes| {
            for _ in 0..AT_ONCE {
                bytes.clear();
                let came = match self.end().recv_bytes(bytes, Wait::until(now)) {
                    Ok(Some(came)) => came,
                    Ok(None) => return Found::Nothing,
                    Err(_) => return Found::End,
                };
                match self.number_of(bytes) {
                    Ok(number) => self.hand_over(number, bytes, came),
                    Err(_) => return Found::End,
                }
            }
            Found::More
        });
        let mut slots = self.slots.lock();
        slots.is_over |= matches!(found, Found::End);
        self.leave_the_role(&mut slots);
        self.offer_the_role(slots);
        found
    }
}
