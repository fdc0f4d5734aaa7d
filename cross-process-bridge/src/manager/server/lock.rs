//! A lock: who holds it, and who is next.

use std::collections::VecDeque;

use common_ipc::link::OpenResponder;

use crate::manager::server::store::{Answers, Waiter, withdraw};
use crate::manager::wire::{Answer, Failure, Op};

#[derive(Debug, Default)]
pub(super) struct Lock {
    holder: Option<Holder>,
    /// The last one that held it died with it, and nobody was told yet.
    died: bool,
    pub(super) waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Holder {
    client: u64,
    wait: u64,
    /// It was told that the one before has died.
    was_told: bool,
}

impl Lock {
    pub(super) fn carry_out(
        &mut self,
        client: u64,
        responder: OpenResponder,
        op: Op,
        answers: &mut Answers<'_>,
    ) {
        let answer = match op {
            Op::Lock { wait, .. } if self.holder.is_none() => {
                let answer = self.hold(client, wait);
                answers.reply(responder, answer);
                return;
            }
            Op::Lock { now: true, .. } => Answer::NotNow,
            Op::Lock { wait, .. } => {
                self.waiters.extend(answers.wait(client, wait, responder));
                return;
            }
            Op::Unlock { wait } => {
                let is_held = self.is_held_by(client, wait);
                if is_held {
                    self.next(answers);
                }
                Answer::Is(is_held)
            }
            Op::GiveUp { wait } if self.is_held_by(client, wait) => {
                // It never knew that it held it, nor what it was told.
                self.died |= self.holder.as_ref().is_some_and(|holder| holder.was_told);
                self.next(answers);
                Answer::Is(true)
            }
            Op::GiveUp { wait } => Answer::Is(withdraw(&mut self.waiters, client, wait, answers)),
            _ => Answer::Failed(Failure::WrongKind { is: "lock".to_owned() }),
        };
        answers.reply(responder, answer);
    }

    fn is_held_by(&self, client: u64, wait: u64) -> bool {
        self.holder.as_ref().is_some_and(|holder| (holder.client, holder.wait) == (client, wait))
    }

    fn hold(&mut self, client: u64, wait: u64) -> Answer {
        let holder_died = std::mem::take(&mut self.died);
        self.holder = Some(Holder { client, wait, was_told: holder_died });
        Answer::Locked { holder_died }
    }

    fn next(&mut self, answers: &mut Answers<'_>) {
        self.holder = None;
        if let Some(waiter) = self.waiters.pop_front() {
            let answer = self.hold(waiter.client, waiter.wait);
            answers.tell(waiter, answer);
        }
    }

    pub(super) fn forget(&mut self, client: u64, answers: &mut Answers<'_>) {
        self.waiters.retain(|waiter| waiter.client != client);
        if self.holder.as_ref().is_some_and(|holder| holder.client == client) {
            self.died = true;
            self.next(answers);
        }
    }
}
