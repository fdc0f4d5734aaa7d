//! Ends as parts of a message, from the sender's side.

use std::io;

use nix::poll::{PollFd, PollFlags};

use crate::link::attachments::Outgoing;
use crate::link::connection::room::{LOOK_AGAIN, Patience};
use crate::link::control;
use crate::link::error::LinkError;
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;

/// Ends that are on their way to another process: should the message not be sent, they are here again.
pub(crate) struct Moving<'a>(Vec<&'a PrivateFd>);

impl Moving<'_> {
    /// Tells their other ends, which must know before the process that they leave may die.
    pub(crate) fn begin<'a>(outgoing: &'a Outgoing, patience: Patience<'_>) -> Result<Moving<'a>, LinkError> {
        let mut moving = Moving(Vec::new());
        for (control, _) in outgoing.moved().filter(|(_, how)| *how == How::MovedWithNotice) {
            loop {
                let told = control::tell_moving(control);
                // Who is gone needn't know; who has too much unheard must be waited for.
                if !told.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    break;
                }
                let deadline = match patience {
                    Patience::None => return Err(LinkError::Full),
                    Patience::Unless(_) => Deadline::NEVER,
                    Patience::Until(deadline) => deadline,
                };
                let Some(socket) = control.at_home() else { break };
                let in_time = wait_until(
                    &mut [PollFd::new(socket, PollFlags::POLLOUT)],
                    deadline.or_after(LOOK_AGAIN),
                )?;
                if !in_time && (deadline.has_passed() || patience.is_over()) {
                    return Err(LinkError::TimedOut);
                }
            }
            moving.0.push(control);
        }
        Ok(moving)
    }

    pub(crate) fn have_arrived(mut self) {
        self.0.clear();
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        // If one can't be told, it sees this process's death by the socket only.
        self.0.iter().for_each(|control| drop(control::tell_owner_is_here(control)));
    }
}
