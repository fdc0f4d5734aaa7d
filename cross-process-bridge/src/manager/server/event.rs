//! Events.

use common_ipc::link::OpenResponder;

use crate::manager::server::store::{Answers, Waiter};
use crate::manager::wire::{Answer, Failure, Op};

#[derive(Debug, Default)]
pub(super) struct Event {
    is_set: bool,
    pub(super) waiters: Vec<Waiter>,
}

impl Event {
    pub(super) fn carry_out(
        &mut self,
        client: u64,
        responder: OpenResponder,
        op: Op,
        answers: &mut Answers<'_>,
    ) {
        let answer = match op {
            Op::EventSet => {
                self.is_set = true;
                self.waiters.drain(..).for_each(|waiter| answers.tell(waiter, Answer::Done));
                Answer::Done
            }
            Op::EventClear => {
                self.is_set = false;
                Answer::Done
            }
            Op::EventIsSet => Answer::Is(self.is_set),
            Op::EventWait { .. } if self.is_set => Answer::Done,
            Op::EventWait { wait } => {
                self.waiters.extend(answers.wait(client, wait, responder));
                return;
            }
            Op::GiveUp { wait } => {
                let found =
                    self.waiters.iter().position(|waiter| (waiter.client, waiter.wait) == (client, wait));
                let waiter = found.map(|place| self.waiters.swap_remove(place));
                waiter.iter().for_each(|waiter| answers.gone(waiter));
                Answer::Is(waiter.is_some())
            }
            _ => Answer::Failed(Failure::WrongKind { is: "event".to_owned() }),
        };
        answers.reply(responder, answer);
    }
}
