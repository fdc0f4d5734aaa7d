//! What processes share: captured, given, and sent.

use std::time::Duration;

use common_ipc::link::{Connection, LinkError};
use common_ipc::memory::{FrozenArray, SharedArray};
use common_ipc::process::{Launch, LaunchOptions, WrongProcess};
use common_ipc::sync::{Event, EventFd, Mutex, Semaphore};

use crate::Outcome::{self, Passed};
use crate::processes::children::start;

scenarios!(
    all_of_it_can_be_sent,
    what_was_given_can_be_sent_on_and_what_was_captured_cannot,
    an_event_fd_is_had_by_whom_it_was_given_to,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(serde::Serialize, serde::Deserialize)]
struct Shared {
    array: SharedArray<u32>,
    frozen: FrozenArray<u8>,
    semaphore: Semaphore,
    total: Mutex<u64>,
    go: Event,
    done: EventFd,
}

impl Shared {
    fn new() -> Shared {
        Shared {
            array: SharedArray::with_shape(&[2, 3]).unwrap(),
            frozen: SharedArray::from_slice(b"frozen").unwrap().freeze().unwrap(),
            semaphore: Semaphore::new(1).unwrap(),
            total: Mutex::new(0).unwrap(),
            go: Event::new().unwrap(),
            done: EventFd::new().unwrap(),
        }
    }

    fn use_all_of_it(&self) {
        assert!(self.array.shape() == [2, 3] && *self.frozen == *b"frozen");
        let _permit = self.semaphore.acquire().unwrap();
        self.array.set(5, self.array.get(5).unwrap() + 1).unwrap();
        *self.total.lock().unwrap() += 1;
        self.go.wait().unwrap();
        self.done.set().unwrap();
    }
}

fn all_of_it_can_be_sent() -> Outcome {
    // The children are there before what they are sent.
    let (links, children): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (here, there) = Connection::<Shared, Shared>::pair().unwrap();
            let options = LaunchOptions::new().give(&there);
            let child = Launch::new(&options).start(move || {
                let received = there.recv().unwrap();
                received.use_all_of_it();
                // What came can be sent on.
                there.send(&received).unwrap();
            });
            (here, child.unwrap())
        })
        .unzip();
    let shared = Shared::new();
    for link in &links {
        link.send(&shared).unwrap();
    }
    shared.go.set();
    assert!(shared.done.wait_or_death(&children[0], Some(PATIENCE)).unwrap());
    for (link, child) in links.iter().zip(&children) {
        let back = link.recv_timeout(PATIENCE).unwrap().unwrap();
        child.output::<()>().unwrap();
        back.use_all_of_it();
    }
    assert_eq!((shared.array.get(5).unwrap(), *shared.total.lock().unwrap()), (6, 6));
    assert_eq!(shared.semaphore.available(), 1);
    Passed
}

fn what_was_given_can_be_sent_on_and_what_was_captured_cannot() -> Outcome {
    for given in [true, false] {
        let (array, event) = (SharedArray::<u32>::new(10).unwrap(), Event::new().unwrap());
        let (here, there) = Connection::<(), (SharedArray<u32>, Event)>::pair().unwrap();
        let mut options = LaunchOptions::new().give(&there);
        if given {
            options = options.give(&array).give(&event);
        }
        let in_child = (array.clone(), event.clone());
        let child = Launch::new(&options).start(move || {
            in_child.0.set(3, 7).unwrap();
            match there.send(&in_child) {
                Ok(()) => true,
                Err(LinkError::Encode(error)) => {
                    assert!(error.message.contains("LaunchOptions::give"), "{error}");
                    false
                }
                Err(error) => panic!("{error}"),
            }
        });
        let child = child.unwrap();
        if given {
            let (back, also_event) = here.recv().unwrap();
            assert_eq!(back.get(3).unwrap(), 7);
            back.set(4, 8).unwrap();
            also_event.set();
            assert!(array.get(4).unwrap() == 8 && event.is_set());
        }
        assert_eq!(child.output::<bool>().unwrap(), given);
        assert_eq!(array.get(3).unwrap(), 7);
    }
    Passed
}

fn an_event_fd_is_had_by_whom_it_was_given_to() -> Outcome {
    let event = EventFd::new().unwrap();
    let foreign = start(|| {
        let error = event.set().unwrap_err();
        let wait = event.wait_timeout(Duration::ZERO).is_err();
        wait && error.get_ref().is_some_and(|inner| inner.is::<WrongProcess>())
    });
    assert!(foreign.output::<bool>().unwrap());
    let options = LaunchOptions::new().give(&event);
    let children = [(), ()].map(|()| Launch::new(&options).start(|| event.wait().unwrap()).unwrap());
    event.set().unwrap();
    for child in children {
        child.output::<()>().unwrap();
    }
    assert!(event.is_set().unwrap(), "it is still here");
    Passed
}
