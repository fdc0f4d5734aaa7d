//! In the object's process: closures that the caller lends to a method for the time of its call.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;

use common_ipc::link::codec;
use common_ipc::link::{Bytes, LinkError, ReplyError};
use serde::{Deserialize, Serialize};

use crate::crosses::Crosses;
use crate::desk::{Desk, turn_away};
use crate::method;
use crate::reply::{Answer, CLOSURES, Failure};

/// What became of a closure's call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Resumed {
    /// It has returned this, encoded.
    Value(Bytes),
    /// It has panicked. The caller goes on with that.
    Panicked,
    /// Its arguments couldn't be read, or its result can't be written.
    Failed(String),
}

/// By which a method calls the closures that it was lent.
#[derive(Debug)]
pub struct Lent<'a> {
    desk: &'a Desk<'a>,
    /// What answers the call, or the closure's return.
    answer: RefCell<&'a mut Answer>,
    number: u64,
    by: &'static str,
    /// Nobody lends them any more.
    is_over: Cell<bool>,
}

/// What a method is unwound with that can't go on without its closure. It is no panic of its own, so the hook isn't told.
struct Unwinds;

impl<'a> Lent<'a> {
    pub(crate) fn new(desk: &'a Desk<'a>, answer: &'a mut Answer, number: u64, by: &'static str) -> Lent<'a> {
        Lent { desk, answer: RefCell::new(answer), number, by, is_over: Cell::new(false) }
    }

    /// Has the caller call the closure of this number, and waits for what that returns.
    ///
    /// # Panics
    ///
    /// If the closure does, or the caller is gone or waits no longer: that unwinds the method. If what goes there or comes
    /// back can't be serialised.
    pub fn call<W: Crosses, R: Crosses>(&self, closure: u32, arguments: &(impl Serialize + ?Sized)) -> R {
        if self.is_over.get() {
            resume_unwind(Box::new(Unwinds));
        }
        let responder = self.answer.borrow_mut().take();
        let Some(responder) = responder else {
            panic!("a closure of the caller's was called while another one, or the same, was being called");
        };
        if let Err(ReplyError { cause, responder, .. }) =
            responder.reply::<W, _>(CLOSURES + closure, arguments)
        {
            **self.answer.borrow_mut() = Answer::of(responder);
            match cause {
                LinkError::Encode(_) | LinkError::TooLarge(_) => {
                    panic!("what a closure of the caller's was called with can't be sent: {cause}")
                }
                _ => self.end(),
            }
        }
        match self.wait() {
            Resumed::Value(bytes) => codec::decode(&bytes)
                .unwrap_or_else(|error| panic!("what the caller's closure returned can't be read: {error}")),
            Resumed::Panicked => resume_unwind(Box::new(Unwinds)),
            Resumed::Failed(why) => panic!("the caller's closure could not be called: {why}"),
        }
    }

    /// For the return of the closure. Others are told that the object is occupied.
    fn wait(&self) -> Resumed {
        let mut buffer = Vec::new();
        loop {
            // Whatever is wrong, the next one who receives finds it again.
            let Ok(request) = self.desk.server.recv(&mut buffer) else { self.end() };
            match request.what() {
                method::RESUME => {
                    let (resumed, responder) = request.decode::<(u64, Resumed)>();
                    match resumed {
                        Ok((number, resumed)) if number == self.number => {
                            **self.answer.borrow_mut() = Answer::of(responder);
                            return resumed;
                        }
                        _ => Answer::of(responder).failure(Failure::Unknown),
                    }
                }
                method::GIVE_UP => {
                    if request.decode::<u64>().0 == Ok(self.number) {
                        self.end();
                    }
                }
                method::STOP => {
                    self.desk.keep([request.keep()]);
                    self.end();
                }
                _ => self.desk.keep(turn_away(request, self.by)),
            }
        }
    }

    fn end(&self) -> ! {
        self.is_over.set(true);
        resume_unwind(Box::new(Unwinds))
    }
}
