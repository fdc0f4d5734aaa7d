//! In the object's process: the items of a stream, from the iterator that makes them to whoever asks for them.
//!
//! The iterator runs where the object lives, some way ahead of its consumer. What it has made never waits for what it
//! makes next: an item goes out at once if it was asked for, and if not, then with all others as soon as it is. So batches are
//! as long as the consumer is slower than the iterator, and nothing is held back by an iterator that waits.

use std::mem;
use std::sync::Arc;

use common_ipc::link::codec::encode_checked;
use common_ipc::link::{Bytes, LinkError, OpenResponder, OpenServer, ReplyError};
use common_ipc::process::PanicReport;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use crate::crosses::Crosses;
use crate::desk::Desk;
use crate::reply::{Answer, Failure, OPENED, RESULT};

/// The iterator is at most so many bytes ahead, and one item.
const AHEAD: usize = 256 << 10;
/// And at most so many items, to begin with: twice as many each time that its consumer finds all of them there.
const FIRST_AHEAD: usize = 1;
/// What a batch has beside its items.
const HEADER: usize = 128;

/// Some items, and whether there are more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Of each item its length, then itself.
    pub(crate) items: Bytes,
    pub(crate) end: Option<End>,
}

/// Why there are no more items.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// The iterator has ended.
    Over,
    /// That is the last item.
    Failed(Failure),
}

/// What an item begins with.
pub(crate) const LENGTH: usize = 4;

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) server: OpenServer,
    pub(crate) number: u64,
    pub(crate) by: &'static str,
    state: Mutex<State>,
    /// There is room again, or nobody waits any more.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    items: Vec<u8>,
    count: usize,
    /// So many items may be made ahead.
    ahead: usize,
    /// So many bytes of items go into one batch.
    most: usize,
    end: Option<End>,
    /// The consumer waits.
    asked: Option<OpenResponder>,
    /// Nobody will ask any more.
    given_up: bool,
    /// The end was sent.
    is_over: bool,
}

impl Outlet {
    fn new(server: &OpenServer, number: u64, by: &'static str) -> Outlet {
        let state = State {
            items: Vec::new(),
            count: 0,
            ahead: FIRST_AHEAD,
            most: AHEAD,
            end: None,
            asked: None,
            given_up: false,
            is_over: false,
        };
        Outlet { server: server.clone(), number, by, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The consumer wants items.
    pub(crate) fn ask(&self, responder: OpenResponder) {
        let mut state = self.state.lock();
        if state.count >= state.ahead {
            state.ahead = state.ahead.saturating_mul(2);
        }
        state.asked = Some(responder);
        state.deliver();
        self.changed.notify_all();
    }

    /// Nobody wants any more.
    pub(crate) fn give_up(&self) {
        self.state.lock().given_up = true;
        self.changed.notify_all();
    }

    /// Whether the consumer knows that there is nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().is_over
    }

    /// The process is about to end, and that is what the consumer is to be told.
    pub(crate) fn keep_silent(&self) {
        mem::forget(self.state.lock().asked.take());
    }

    /// Waits for room. Whether another item is wanted.
    fn wants_more(&self) -> bool {
        let mut state = self.state.lock();
        while state.is_wanted() && (state.count >= state.ahead || state.items.len() >= AHEAD) {
            self.changed.wait(&mut state);
        }
        state.is_wanted()
    }

    fn put(&self, item: &[u8]) {
        let mut state = self.state.lock();
        // Of more than that no message can be made.
        state.items.extend((item.len() as u32).to_le_bytes());
        state.items.extend(item);
        state.count += 1;
        state.deliver();
    }

    fn end(&self, end: End) {
        let mut state = self.state.lock();
        // It may have come earlier: at an item that can't be sent.
        if state.is_wanted() {
            state.end = Some(end);
            state.deliver();
        }
    }

    /// Makes the items, until there are no more or nobody wants any.
    fn make<I>(&self, items: I) -> Option<Failure>
    where
        I: Iterator<Item: Crosses>,
    {
        let mut items = items;
        while self.wants_more() {
            let item = items.next()?;
            match encode_checked(&item) {
                Ok(bytes) => self.put(&bytes),
                Err(error) => {
                    let (type_name, message) = (error.type_name.to_owned(), error.message);
                    return Some(Failure::Result { type_name, message });
                }
            }
        }
        None
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        !self.given_up && !self.is_over && self.end.is_none()
    }

    /// To who waits, what there is.
    fn deliver(&mut self) {
        while !self.items.is_empty() || self.end.is_some() {
            let Some(responder) = self.asked.take() else { return };
            let rest = self.items.split_off(first_of(&self.items, self.most));
            let bytes = Bytes::from(mem::replace(&mut self.items, rest));
            let end = if self.items.is_empty() { self.end.take() } else { None };
            let (is_last, batch) = (end.is_some(), Batch { items: bytes, end });
            match responder.reply::<Batch, _>(RESULT, &batch) {
                Ok(()) => {
                    self.count = count(&self.items);
                    self.is_over = is_last;
                }
                Err(ReplyError { cause, responder, .. }) => {
                    if !self.put_back(batch, cause) {
                        self.given_up = true;
                        return;
                    }
                    self.asked = Some(responder);
                }
            }
        }
    }

    /// What couldn't be sent. Whether something else may be.
    fn put_back(&mut self, batch: Batch, cause: LinkError) -> bool {
        // Else the other side is gone.
        let LinkError::TooLarge(error) = cause else { return false };
        let most = error.max.saturating_sub(HEADER);
        let mut items = Vec::from(batch.items);
        if items.is_empty() {
            let Some(End::Failed(mut failure)) = batch.end else { return false };
            failure.shorten();
            self.end = Some(End::Failed(failure));
            // Once is enough.
            return mem::replace(&mut self.most, 0) > 0;
        }
        self.end = self.end.take().or(batch.end);
        if first_of(&items, most) > most {
            let (length, max) = (error.length as u64, error.max as u64);
            self.end = Some(End::Failed(Failure::TooLarge { length, max }));
            self.items.clear();
            return true;
        }
        self.most = most;
        items.append(&mut self.items);
        self.items = items;
        true
    }
}

/// How many bytes the items have that go into a batch of so many bytes: at least the first one goes.
fn first_of(items: &[u8], most: usize) -> usize {
    if items.len() <= most {
        return items.len();
    }
    let mut end = 0;
    while let Some(length) = length_at(items, end) {
        let next = end + LENGTH + length;
        if end > 0 && next > most {
            break;
        }
        end = next;
    }
    end.min(items.len())
}

fn count(items: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(length) = length_at(items, at) {
        at += LENGTH + length;
        count += 1;
    }
    count
}

/// How long the item is that begins there.
pub(crate) fn length_at(items: &[u8], at: usize) -> Option<usize> {
    let length = items.get(at..)?.first_chunk::<LENGTH>()?;
    Some(u32::from_le_bytes(*length) as usize)
}

/// What takes the items of a stream.
#[derive(Debug)]
pub struct Opening<'a> {
    desk: &'a Desk<'a>,
    answer: &'a mut Answer,
    number: u64,
    by: &'static str,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        desk: &'a Desk<'a>,
        answer: &'a mut Answer,
        number: u64,
        by: &'static str,
    ) -> Opening<'a> {
        Opening { desk, answer, number, by }
    }

    /// There are none, but this result.
    pub fn refuse<R: Crosses>(self, result: &R) {
        self.answer.result(result);
    }

    /// This is the result, and here they are. Returns when all were taken, or nobody wants them any more; the iterator was
    /// dropped before.
    pub fn run<R: Crosses, I>(self, result: &R, items: I)
    where
        I: Iterator<Item: Crosses>,
    {
        let outlet = Arc::new(Outlet::new(self.desk.server, self.number, self.by));
        let attended = self.desk.reception.ready();
        if let Err(error) = &attended {
            panic!("a thread that a stream needs can't be had: {error}");
        }
        if !self.answer.kind(OPENED, result) {
            return;
        }
        let attended = self.desk.reception.attend(Arc::clone(&outlet));
        let end = match PanicReport::catch(|| outlet.make(items)) {
            Ok(None) => End::Over,
            Ok(Some(failure)) => End::Failed(failure),
            Err(report) => End::Failed(Failure::Panicked(report)),
        };
        outlet.end(end);
        self.desk.keep(attended.until_over());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.extend((*length as u32).to_le_bytes());
            bytes.extend(vec![7; *length]);
        }
        bytes
    }

    #[test]
    fn a_batch_has_whole_items_and_at_least_one() {
        let three = items(&[10, 0, 20]);
        assert_eq!((first_of(&three, 1000), count(&three)), (three.len(), 3));
        assert_eq!(first_of(&three, 18), 18);
        assert_eq!(first_of(&three, 17), 14);
        assert_eq!(first_of(&three, 3), 14);
        assert_eq!((first_of(&[], 3), count(&[])), (0, 0));
    }
}
