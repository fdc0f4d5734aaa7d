//! How fast frames of 1080p come from another process: through a shared array, or as a message, beside a plain copy.
//!
//! `cargo run --release -p valkka-multiprocess --example frames`
//!
//! Each way has its turn in every round; shown is the median of the rounds.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::link::Bytes;
use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::{
    Backend, Context, EventGroup, EventIndex, MessageProcess, ProcessError, RemoteError,
};

const SHAPE: [usize; 3] = [1080, 1920, 3];
const ROUNDS: usize = 40;

#[derive(Serialize, Deserialize)]
enum Command {
    /// Into the shared array.
    Write { done: EventIndex },
    /// As an event.
    Send,
}

struct Camera {
    array: SharedArray<u8>,
    events: EventGroup,
    /// What it sends: bytes that are there, as the decoder of a camera has them.
    frame: Bytes,
}

impl Backend for Camera {
    type Command = Command;
    type Event = Bytes;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Write { done } => {
                self.array.write_from(0, &self.frame)?;
                self.events.set(done)?;
            }
            Command::Send => cx.send_out(&self.frame)?,
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let array = SharedArray::<u8>::with_shape(&SHAPE)?;
    let events = EventGroup::new(1)?;
    let frame: Vec<u8> = (0..array.len()).map(|at| at as u8).collect();
    let camera = Camera { array: array.clone(), events: events.clone(), frame: frame.clone().into() };
    let process = MessageProcess::new("camera", camera);
    process.start()?;
    let child = process.child()?;

    let mut copy = vec![0; frame.len()];
    let write = || events.sync(&child, |done| process.send(&Command::Write { done }));
    let mut ways: [(&str, Times); 4] = [
        ("a copy within one process", Times::new()),
        ("written to a shared array, and the front end told (one copy)", Times::new()),
        ("... and read from it (two copies)", Times::new()),
        ("sent as a message (two copies, and memory to receive it in)", Times::new()),
    ];
    for _ in 0..ROUNDS {
        ways[0].1.take(|| {
            black_box(&mut copy).copy_from_slice(black_box(&frame));
            Ok::<_, ProcessError>(())
        })?;
        ways[1].1.take(write)?;
        ways[2].1.take(|| {
            write()?;
            array.read_into(0, black_box(&mut copy)).map_err(Box::<dyn Error>::from)
        })?;
        ways[3].1.take(|| {
            process.send(&Command::Send)?;
            process.recv().map(|frame| drop(black_box(frame)))
        })?;
    }
    assert!(copy == frame, "a frame is what was written");
    println!("frames of {} bytes:", frame.len());
    for (way, times) in &mut ways {
        let time = times.median();
        let speed = frame.len() as f64 / time / 1e9;
        println!("{speed:6.2} GB/s, {:7.0} us each: {way}", time * 1e6);
    }
    process.stop()?;
    Ok(())
}

/// How long something took, each time.
struct Times(Vec<f64>);

impl Times {
    fn new() -> Times {
        Times(Vec::with_capacity(ROUNDS))
    }

    fn take<T, X>(&mut self, action: impl FnOnce() -> Result<T, X>) -> Result<T, X> {
        let begin = Instant::now();
        let done = action();
        self.0.push(begin.elapsed().as_secs_f64());
        done
    }

    /// In seconds.
    fn median(&mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[self.0.len() / 2]
    }
}
