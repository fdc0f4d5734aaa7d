//! In the object's process: who takes in what comes while the object's own thread is in the midst of a stream.
//!
//! The iterator may take its time over an item, or wait for something for ever. Meanwhile its consumer is given what there is,
//! may give up, and others are told that the object is occupied. So there is a thread of the library's for that, made for the
//! first stream.

use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use common_ipc::link::KeptRequest;
use common_ipc::process::{LibraryThread, start_library_thread};

use crate::desk::turn_away;
use crate::method;
use crate::outlet::Outlet;
use crate::reply::{Answer, Failure};

/// The way to that thread.
#[derive(Debug, Default)]
pub(crate) struct Reception(OnceCell<Thread>);

#[derive(Debug)]
struct Thread {
    streams: SyncSender<Arc<Outlet>>,
    /// What it has kept, once it has left a stream.
    kept: Receiver<Vec<KeptRequest>>,
}

impl Reception {
    /// From here on it can be used.
    pub(crate) fn ready(&self) -> io::Result<()> {
        if self.0.get().is_none() {
            let (streams, opened) = sync_channel::<Arc<Outlet>>(1);
            let (leave, kept) = sync_channel(1);
            start_library_thread("streams", move |thread| {
                while let Ok(outlet) = thread.sleep(|| opened.recv()) {
                    if leave.send(take_in(&outlet, thread)).is_err() {
                        break;
                    }
                }
            })?;
            // There was none.
            let _ = self.0.set(Thread { streams, kept });
        }
        Ok(())
    }

    /// Has it take in what comes.
    pub(crate) fn attend(&self, outlet: Arc<Outlet>) -> Attended<'_> {
        let thread = self.0.get().filter(|thread| thread.streams.send(Arc::clone(&outlet)).is_ok());
        if thread.is_none() {
            outlet.give_up();
        }
        Attended(thread)
    }
}

/// A stream for which it does so.
pub(crate) struct Attended<'a>(Option<&'a Thread>);

impl Attended<'_> {
    /// Waits until it doesn't any more, and returns what is still to be carried out.
    pub(crate) fn until_over(self) -> Vec<KeptRequest> {
        self.0.and_then(|thread| thread.kept.recv().ok()).unwrap_or_default()
    }
}

/// Until the consumer has taken the last item and somebody wants something else, or has given up. What was received for
/// others is returned.
fn take_in(outlet: &Outlet, thread: &mut LibraryThread) -> Vec<KeptRequest> {
    let (mut kept, mut buffer) = (Vec::new(), Vec::new());
    loop {
        // The iterator may fork.
        let Ok(request) = thread.sleep(|| outlet.server.recv(&mut buffer)) else {
            // The object's own thread finds that, too.
            outlet.give_up();
            return kept;
        };
        if outlet.is_over() {
            kept.push(request.keep());
            return kept;
        }
        match request.what() {
            method::NEXT => match request.decode::<u64>() {
                (Ok(number), responder) if number == outlet.number => outlet.ask(responder),
                (_, responder) => Answer::of(responder).failure(Failure::Unknown),
            },
            method::GIVE_UP => {
                if request.decode::<u64>().0 == Ok(outlet.number) {
                    outlet.give_up();
                    return kept;
                }
            }
            method::STOP => {
                outlet.keep_silent();
                outlet.give_up();
                kept.push(request.keep());
                return kept;
            }
            _ => kept.extend(turn_away(request, outlet.by)),
        }
    }
}
