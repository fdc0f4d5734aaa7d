//! Who is told of events, with bounded memory.

use std::time::Duration;

#[cfg(feature = "tokio")]
use crossbeam_channel::bounded;
use crossbeam_channel::{Receiver, Sender, TrySendError, unbounded};

use super::event::Event;

/// So many events wait for one subscriber.
pub(super) const BACKLOG: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: Vec<Subscriber>,
    closed: bool,
}

/// What happens to a supervisor's children, in its order: made by [`Supervisor::events`](super::Supervisor::events) and
/// [`SupervisorBuilder::events`](super::SupervisorBuilder::events).
///
/// It is an iterator, which waits for the next event and ends when the supervisor has ended. Any thread may read; each
/// event is one reader's. **Dropping** it ends the subscription.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    #[cfg(feature = "tokio")]
    news: std::sync::Arc<tokio::sync::Notify>,
}

impl Events {
    /// Waits for the next event. `None`: the supervisor has ended, and there won't be any.
    pub fn recv(&self) -> Option<Event> {
        self.receiver.recv().ok()
    }

    /// The next event, if there is one now.
    pub fn try_recv(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// Waits for the next event for up to `timeout`. `None`: there was none, or won't be any.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// Those that come, waiting for each, until the supervisor has ended.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.recv())
    }

    /// Those that are there now.
    pub fn try_iter(&self) -> impl Iterator<Item = Event> + '_ {
        std::iter::from_fn(|| self.try_recv())
    }

    /// As [`recv`](Events::recv), in a task, without blocking a thread; with any runtime. If the future is dropped, no
    /// event is lost. For one reader at a time.
    #[cfg(feature = "tokio")]
    pub async fn recv_async(&self) -> Option<Event> {
        use crossbeam_channel::TryRecvError;
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Disconnected) => return None,
                // News that came since it was looked are kept for this.
                Err(TryRecvError::Empty) => self.news.notified().await,
            }
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv()
    }
}

#[derive(Debug)]
struct Subscriber {
    sender: Sender<Event>,
    #[cfg(feature = "tokio")]
    news: std::sync::Arc<tokio::sync::Notify>,
    /// Not told of since it was full last.
    lost: u64,
}

impl Subscribers {
    pub(super) fn add(&mut self) -> Events {
        // It takes what waits, and no more: how much that may be `tell` sees to.
        let (sender, receiver) = unbounded();
        let events = Events {
            receiver,
            #[cfg(feature = "tokio")]
            news: std::sync::Arc::default(),
        };
        if !self.closed {
            self.all.push(Subscriber {
                sender,
                #[cfg(feature = "tokio")]
                news: std::sync::Arc::clone(&events.news),
                lost: 0,
            });
        }
        events
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.all.retain_mut(|subscriber| subscriber.tell(event));
    }

    /// There will be no more events.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for subscriber in self.all.drain(..) {
            if subscriber.lost > 0 {
                let _ = subscriber.sender.try_send(Event::Lost { count: subscriber.lost });
            }
            // Dropping it tells of the end.
        }
    }
}

impl Subscriber {
    /// Whether it is still there.
    fn tell(&mut self, event: &Event) -> bool {
        // Two places, if there is a gap to be told of first.
        let needed = if self.lost > 0 { 2 } else { 1 };
        if self.sender.len() + needed > BACKLOG {
            self.lost += 1;
            return true;
        }
        if self.lost > 0 {
            let gap = Event::Lost { count: std::mem::take(&mut self.lost) };
            if let Err(TrySendError::Disconnected(_)) = self.sender.try_send(gap) {
                return false;
            }
        }
        let told = self.sender.try_send(event.clone());
        #[cfg(feature = "tokio")]
        self.news.notify_one();
        !matches!(told, Err(TrySendError::Disconnected(_)))
    }
}

#[cfg(feature = "tokio")]
impl Drop for Subscriber {
    fn drop(&mut self) {
        // The end of the channel is news as well: it ends before that is told.
        let (closed, _) = bounded(0);
        drop(std::mem::replace(&mut self.sender, closed));
        self.news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(pid: u32) -> Event {
        Event::Ready { child: "a".into(), pid }
    }

    fn pids(events: impl Iterator<Item = Event>) -> Vec<i64> {
        let number = |event| match event {
            Event::Ready { pid, .. } => i64::from(pid),
            Event::Lost { count } => -i64::try_from(count).unwrap(),
            other => panic!("{other}"),
        };
        events.map(number).collect()
    }

    #[test]
    fn who_does_not_read_is_told_how_many_are_missing_and_where() {
        let mut subscribers = Subscribers::default();
        let receiver = subscribers.add();
        let backlog = BACKLOG as i64;
        for pid in 0..BACKLOG as u32 + 976 {
            subscribers.tell(&event(pid));
        }
        let first = pids(receiver.receiver.try_iter().take(1000));
        assert_eq!(first, (0..1000).collect::<Vec<i64>>());
        subscribers.tell(&event(1_000_000));
        subscribers.tell(&event(1_000_001));
        let mut rest: Vec<i64> = (1000..backlog).collect();
        rest.extend([-976, 1_000_000, 1_000_001]);
        assert_eq!(pids(receiver.receiver.try_iter()), rest);
    }

    #[test]
    fn what_is_missing_is_told_at_the_end() {
        let mut subscribers = Subscribers::default();
        let receiver = subscribers.add();
        for pid in 0..BACKLOG as u32 + 3976 {
            subscribers.tell(&event(pid));
        }
        subscribers.close();
        assert_eq!(pids(receiver).last(), Some(&-3976));
        assert_eq!(subscribers.add().count(), 0, "there is nothing to hear any more");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut subscribers = Subscribers::default();
        drop(subscribers.add());
        let stays = subscribers.add();
        subscribers.tell(&event(1));
        assert_eq!((subscribers.all.len(), stays.receiver.len()), (1, 1));
    }
}
