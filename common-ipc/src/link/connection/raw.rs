//! Messages as bytes: for those who encode and decode by themselves.

use crate::link::attachments::Incoming;
use crate::link::connection::end::End;
use crate::link::connection::receiving::{Next, Receiving};
use crate::link::connection::waiting::Wait;
use crate::link::error::LinkError;
use crate::sys::mapping::View;

/// What came along with a message, if anything.
pub(crate) type Came = Option<Incoming>;

impl End {
    /// Receives a message's bytes, appended to `head`, which is empty, and returns what came along.
    #[inline]
    pub(crate) fn recv_bytes(&self, head: &mut Vec<u8>, wait: Wait<'_>) -> Result<Option<Came>, LinkError> {
        self.recv_and(head, wait, |_, _| ())
    }

    /// As [`recv_bytes`](End::recv_bytes), and before it returns the other side can see that the message was
    /// taken (see [`was_taken`](End::was_taken)). If that had [given it up](End::give_up_the_rest) before, it isn't.
    #[inline]
    pub(crate) fn take_bytes(&self, head: &mut Vec<u8>, wait: Wait<'_>) -> Result<Option<Came>, LinkError> {
        let mut may_take = true;
        let received = self.recv_and(head, wait, |receiving, view| {
            receiving.publish(view);
            may_take = receiving.consumer.may_take(view);
        })?;
        if may_take { Ok(received) } else { Err(LinkError::Closed) }
    }

    #[inline]
    fn recv_and(
        &self,
        head: &mut Vec<u8>,
        wait: Wait<'_>,
        finish: impl FnOnce(&mut Receiving, View<'_>),
    ) -> Result<Option<Came>, LinkError> {
        let view = self.view()?;
        let Some(mut receiving) = self.lock_receiving(wait.deadline) else { return Ok(None) };
        let received = self.recv_locked(view, &mut receiving, head, wait);
        finish(&mut receiving, view);
        // What follows is code of the message's type: it may take a while, or call anything.
        drop(receiving);
        self.remind_who_missed();
        received.map_err(|error| self.fail(error))
    }

    /// As [`recv_bytes`](End::recv_bytes), if a message is there: without a look at anything but the ring.
    #[inline]
    pub(crate) fn recv_what_is_there(&self, head: &mut Vec<u8>) -> Result<Option<Came>, LinkError> {
        let view = self.view()?;
        let Some(mut receiving) = self.receiving.try_lock() else { return Ok(None) };
        let received = match receiving.next(self, view, head) {
            Ok(Next::Frame(beside)) => self.complete(view, &mut receiving, head, beside).map(Some),
            Ok(Next::Bits | Next::Nothing) => Ok(None),
            Err(error) => Err(error),
        };
        drop(receiving);
        self.remind_who_missed();
        received.map_err(|error| self.fail(error))
    }
}
