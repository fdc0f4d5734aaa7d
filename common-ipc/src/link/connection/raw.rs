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

    /// As [`take_bytes`](End::take_bytes), if a message is there, or comes while this looks for it as somebody does who is
    /// about to sleep. For those who poll it changes nothing: once the end was readable it stays so, and the other side
    /// rings no more, until somebody finds nothing by `take_bytes`. Who is to wait for the descriptor has to do that before.
    #[cfg(feature = "tokio")]
    pub(crate) fn take_soon(&self, head: &mut Vec<u8>, looks: bool) -> Result<Option<Came>, LinkError> {
        let view = self.view()?;
        let Some(mut receiving) = self.receiving.try_lock() else { return Ok(None) };
        let received = self.take_soon_locked(view, &mut receiving, head, looks);
        drop(receiving);
        self.remind_who_missed();
        received.map_err(|error| self.fail(error))
    }

    #[cfg(feature = "tokio")]
    fn take_soon_locked(
        &self,
        view: View<'_>,
        receiving: &mut Receiving,
        head: &mut Vec<u8>,
        mut looks: bool,
    ) -> Result<Option<Came>, LinkError> {
        loop {
            match receiving.next(self, view, head)? {
                Next::Frame(beside) => {
                    let came = beside.map(|beside| self.gather(receiving, head, *beside)).transpose()?;
                    receiving.publish(view);
                    return if receiving.consumer.may_take(view) {
                        Ok(Some(came))
                    } else {
                        Err(LinkError::Closed)
                    };
                }
                Next::Bits => return Ok(None),
                Next::Nothing => {}
            }
            let Receiving { consumer, spinner, .. } = receiving;
            if !std::mem::take(&mut looks) || !spinner.spin(|| !consumer.is_empty(view)) {
                return Ok(None);
            }
        }
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
