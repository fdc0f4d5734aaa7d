//! Who has which request: one task that gives requests to children, and hears of their replies and of their deaths.
//!
//! No request waits for ever. A death answers what the dead process had taken; what it may have taken without saying so
//! is answered by the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use multiprocess::ExitStatus;
use multiprocess::link::{LinkError, Queue};
use multiprocess::supervisor::{Event, Events, Status, Supervisor};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::worker::{Reply, Request};

const DEADLINE: Duration = Duration::from_secs(3);

/// What a client gets, or with which status and why not.
pub type Outcome = Result<Answer, (StatusCode, String)>;

#[derive(Serialize)]
pub struct Answer {
    child: &'static str,
    pid: u32,
    start: u64,
    steps: u32,
}

/// What a client wants.
pub struct Order {
    pub n: u64,
    pub tell: oneshot::Sender<Outcome>,
}

pub struct Worker {
    pub name: &'static str,
    pub requests: Queue<Request>,
}

pub struct Dispatcher {
    supervisor: Arc<Supervisor>,
    /// In the supervisor's order.
    workers: Vec<Worker>,
    replies: Queue<Reply>,
    pending: HashMap<u64, Pending>,
    last: u64,
}

struct Pending {
    worker: usize,
    since: Instant,
    taken_by: Option<u32>,
    /// How the first process ended that may have taken it.
    suspicion: Option<String>,
    tell: oneshot::Sender<Outcome>,
}

impl Dispatcher {
    pub fn new(supervisor: Arc<Supervisor>, workers: Vec<Worker>, replies: Queue<Reply>) -> Dispatcher {
        Dispatcher { supervisor, workers, replies, pending: HashMap::new(), last: 0 }
    }

    /// Goes on until there are no orders any more, or the queue of replies fails.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>, events: Events) -> Result<(), LinkError> {
        let mut heard = listen(self.replies.clone());
        let mut tick = tokio::time::interval(DEADLINE / 30);
        let mut supervised = true;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.give(order),
                    None => return Ok(()),
                },
                reply = heard.recv() => match reply {
                    Some(reply) => self.hear(reply?),
                    None => return Ok(()),
                },
                event = events.recv_async(), if supervised => match event {
                    Some(event) => self.see(event),
                    None => supervised = false,
                },
                _ = tick.tick() => self.expire(),
            }
        }
    }

    fn give(&mut self, Order { n, tell }: Order) {
        self.last += 1;
        let (id, worker) = (self.last, self.choose());
        let Worker { name, requests } = &self.workers[worker];
        // `send` would wait for room, and this task with it.
        match requests.try_send(&Request { id, n }) {
            Ok(()) => {
                let pending =
                    Pending { worker, since: Instant::now(), taken_by: None, suspicion: None, tell };
                self.pending.insert(id, pending);
            }
            Err(error) => {
                let _ = tell.send(Err((StatusCode::SERVICE_UNAVAILABLE, format!("{name}: {error}"))));
            }
        }
    }

    /// Who has the fewest requests of those that serve; of several, another one each time.
    fn choose(&self) -> usize {
        let states = self.supervisor.children().unwrap_or_default();
        let serves = |worker: usize| {
            states.get(worker).is_some_and(|state| matches!(state.status, Status::Ready | Status::Replacing))
        };
        let load = |worker| self.pending.values().filter(|pending| pending.worker == worker).count();
        let (count, first) = (self.workers.len(), self.last as usize);
        let in_turn = (first..first + count).map(|turn| turn % count);
        in_turn.min_by_key(|&worker| (!serves(worker), load(worker))).unwrap_or(0)
    }

    fn hear(&mut self, reply: Reply) {
        match reply {
            Reply::Taken { id, pid } => {
                if let Some(pending) = self.pending.get_mut(&id) {
                    pending.taken_by = Some(pid);
                }
            }
            Reply::Done { id, pid, start, steps } => {
                if let Some(Pending { worker, tell, .. }) = self.pending.remove(&id) {
                    let _ = tell.send(Ok(Answer { child: self.workers[worker].name, pid, start, steps }));
                }
            }
            Reply::Died { child, pid, cause } => {
                let cause = format!("{child} {cause} (process {pid})");
                for pending in self.take(|pending| pending.taken_by == Some(pid)) {
                    let _ = pending.tell.send(Err((StatusCode::BAD_GATEWAY, cause.clone())));
                }
                for pending in self.pending.values_mut() {
                    if pending.taken_by.is_none() && self.workers[pending.worker].name == child {
                        pending.suspicion.get_or_insert_with(|| cause.clone());
                    }
                }
            }
        }
    }

    /// Who has ended well had finished what it had taken.
    fn see(&mut self, event: Event) {
        let (child, pid, cause) = match event {
            Event::Exited { cause, .. } if cause.status().is_some_and(ExitStatus::success) => return,
            Event::Exited { child, pid, cause } => (child, pid, cause.to_string()),
            Event::Stopped(stopped) if stopped.status.success() => return,
            Event::Stopped(stopped) => (stopped.child, stopped.pid, stopped.status.to_string()),
            _ => return,
        };
        let died = Reply::Died { child: child.to_string(), pid, cause };
        if self.replies.try_send(&died).is_err() {
            // No room. What the dead one had done and isn't heard yet is told as lost.
            self.hear(died);
        }
    }

    /// Answers what has waited for too long.
    fn expire(&mut self) {
        for pending in self.take(|pending| pending.since.elapsed() > DEADLINE) {
            let name = self.workers[pending.worker].name;
            let late = |why| (StatusCode::GATEWAY_TIMEOUT, why);
            let _ = pending.tell.send(Err(match (pending.taken_by, pending.suspicion) {
                (Some(pid), _) => late(format!("{name} is still at it (process {pid})")),
                (None, Some(cause)) => (StatusCode::BAD_GATEWAY, cause),
                (None, None) => late(format!("{name} has not taken the request")),
            }));
        }
    }

    fn take(&mut self, which: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let ids: Vec<_> =
            self.pending.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.pending.remove(id)).collect()
    }
}

/// A queue has no `recv` for tasks, so a thread of its own waits for it.
fn listen(replies: Queue<Reply>) -> mpsc::Receiver<Result<Reply, LinkError>> {
    let (tell, heard) = mpsc::channel(64);
    std::thread::spawn(move || {
        loop {
            let reply = replies.recv();
            let last = reply.is_err();
            if tell.blocking_send(reply).is_err() || last {
                return;
            }
        }
    });
    heard
}
