//! Many back ends in one loop.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use common_ipc::link::Poller;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, Incoming, MainLoop, MessageProcess, RemoteError};

use crate::case::{Better, Bound, Case, Contender, Promise};
use crate::measure::Setting;
use crate::place::Place;

const OURS: &str = "MainLoop over MessageProcesses, a serde enum";

pub(crate) const CASE: Case = Case {
    name: "main_loop",
    task: "64 back ends send 10,000 messages each, which one loop receives: all of them",
    unit: "M messages/s",
    better: Better::Higher,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(OURS, ours),
        Contender::peer("64 sockets, epoll, a write and a read of 16 bytes each", sockets),
    ],
    bounds: &[Bound { of: OURS, to: None, is: Promise::AtLeast(1.0), at: None }],
};

const BACK_ENDS: usize = 64;
const MESSAGES: u64 = 10_000;

#[derive(Serialize, Deserialize)]
enum Event {
    Number { camera: u32, frame: u64 },
}

struct Source(u32);

impl Backend for Source {
    type Command = ();
    type Event = Event;

    fn handle(&mut self, cx: &mut Context<Self>, (): ()) -> Result<(), RemoteError> {
        for frame in 0..MESSAGES {
            cx.send_out(&Event::Number { camera: self.0, frame })?;
        }
        Ok(())
    }
}

fn rate(begin: Instant) -> f64 {
    (BACK_ENDS as u64 * MESSAGES) as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn ours(_: Setting) -> f64 {
    let sources: Vec<_> =
        (0..BACK_ENDS as u32).map(|camera| MessageProcess::new("source", Source(camera))).collect();
    let mut main_loop = MainLoop::new().unwrap();
    for source in &sources {
        source.start().unwrap();
        main_loop.watch(source, |incoming| incoming).unwrap();
    }
    let mut round = || {
        let mut next = [0; BACK_ENDS];
        let begin = Instant::now();
        for source in &sources {
            source.send(&()).unwrap();
        }
        for _ in 0..BACK_ENDS as u64 * MESSAGES {
            match main_loop.next().unwrap() {
                Some(Incoming::Event(Event::Number { camera, frame })) => {
                    let next = &mut next[camera as usize];
                    assert_eq!(frame, *next, "in order, and all of them");
                    *next += 1;
                }
                other => panic!("{other:?}", other = other.map(|_| "no event")),
            }
        }
        assert_eq!(next, [MESSAGES; BACK_ENDS]);
        rate(begin)
    };
    round();
    round()
}

fn sockets(setting: Setting) -> f64 {
    let poller = Poller::new().unwrap();
    let mut streams = Vec::new();
    let mut children = Vec::new();
    for number in 0..BACK_ENDS {
        let (here, mut there) = UnixStream::pair().unwrap();
        poller.add(here.as_fd(), number as u64).unwrap();
        children.push(setting.fork(move || {
            for frame in 0..2 * MESSAGES {
                if frame % MESSAGES == 0 {
                    there.read_exact(&mut [0; 1]).unwrap();
                }
                let mut message = [0; 16];
                message[8..].copy_from_slice(&(frame % MESSAGES).to_le_bytes());
                there.write_all(&message).unwrap();
            }
            // Its end is something to read as well.
            let _ = there.read(&mut [0; 1]);
        }));
        streams.push(here);
    }
    let mut ready = Vec::new();
    let mut round = || {
        let begin = Instant::now();
        streams.iter_mut().for_each(|stream| stream.write_all(b"!").unwrap());
        let mut left = BACK_ENDS as u64 * MESSAGES;
        while left > 0 {
            ready.clear();
            poller.wait(None, &mut ready).unwrap();
            for place in &ready {
                streams[*place as usize].read_exact(&mut [0; 16]).unwrap();
                left -= 1;
            }
        }
        rate(begin)
    };
    round();
    round()
}
