//! Who is told of events, with bounded memory.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::event::Event;

/// So many events wait for one subscriber.
pub(super) const BACKLOG: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: Vec<Subscriber>,
    closed: bool,
}

#[derive(Debug)]
struct Subscriber {
    sender: Sender<Event>,
    /// Not told of since it was full last.
    lost: u64,
}

impl Subscribers {
    pub(super) fn add(&mut self) -> Receiver<Event> {
        // One more place than is used, so that what was lost can be told at the end.
        let (sender, receiver) = bounded(BACKLOG + 1);
        if !self.closed {
            self.all.push(Subscriber { sender, lost: 0 });
        }
        receiver
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.all.retain_mut(|subscriber| subscriber.tell(event));
    }

    /// There will be no more events.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for Subscriber { sender, lost } in self.all.drain(..) {
            if lost > 0 {
                // There is the place that was kept for it.
                let _ = sender.try_send(Event::Lost { count: lost });
            }
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
        !matches!(self.sender.try_send(event.clone()), Err(TrySendError::Disconnected(_)))
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
        for pid in 0..2000 {
            subscribers.tell(&event(pid));
        }
        let first = pids(receiver.try_iter().take(1000));
        assert_eq!(first, (0..1000).collect::<Vec<i64>>());
        subscribers.tell(&event(2000));
        subscribers.tell(&event(2001));
        let mut rest: Vec<i64> = (1000..1024).collect();
        rest.extend([-976, 2000, 2001]);
        assert_eq!(pids(receiver.try_iter()), rest);
    }

    #[test]
    fn what_is_missing_is_told_at_the_end() {
        let mut subscribers = Subscribers::default();
        let receiver = subscribers.add();
        for pid in 0..5000 {
            subscribers.tell(&event(pid));
        }
        subscribers.close();
        assert_eq!(pids(receiver.iter()).last(), Some(&-3976));
        assert_eq!(subscribers.add().iter().count(), 0, "there is nothing to hear any more");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut subscribers = Subscribers::default();
        drop(subscribers.add());
        let stays = subscribers.add();
        subscribers.tell(&event(1));
        assert_eq!((subscribers.all.len(), stays.len()), (1, 1));
    }
}
