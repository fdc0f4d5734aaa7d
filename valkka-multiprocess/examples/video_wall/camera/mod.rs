//! A camera: what runs in a process of its own and fills the buffers that it is given.

mod picture;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::{Backend, Context, Failure, Policy, RemoteError};

use crate::settings::Frames;
use picture::Pictures;

/// One is shown, one is full and on its way, and one is being filled.
pub(crate) const BUFFERS: usize = 3;

/// To the camera.
#[derive(Serialize, Deserialize)]
pub(crate) enum Command {
    /// This buffer is the camera's until it says that it is full.
    Fill(usize),
}

/// From the camera.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// There is a frame in this buffer, and the camera has done with it.
    Full(usize),
}

/// The camera. It goes to its process as it is serialised; the arrays arrive as the same memory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Camera {
    number: usize,
    frames: Frames,
    buffers: Vec<SharedArray<u8>>,
    #[serde(skip)]
    state: Option<State>,
}

/// What it has in its process.
struct State {
    pictures: Pictures,
    mine: VecDeque<usize>,
    frame: u64,
    panics_at: Option<Instant>,
}

impl Camera {
    pub(crate) fn new(number: usize, frames: Frames, buffers: Vec<SharedArray<u8>>) -> Camera {
        Camera { number, frames, buffers, state: None }
    }

    fn shoot(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        let Some(state) = &mut self.state else { return Ok(()) };
        state.frame += 1;
        if state.panics_at.is_some_and(|time| time <= Instant::now()) {
            panic!("chaos");
        }
        // With no buffer to fill, this frame is lost, as with any camera whose pictures nobody collects.
        let Some(buffer) = state.mine.pop_front() else { return Ok(()) };
        self.buffers[buffer].write_from(0, state.pictures.draw(state.frame))?;
        Ok(cx.send_out(&Event::Full(buffer))?)
    }
}

impl Backend for Camera {
    type Command = Command;
    type Event = Event;

    fn pre_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
        // Pictures are read here: a file that a decoder can't bear ends a camera, and not the wall.
        let pictures = Pictures::new(self.number, &self.frames)?;
        let panics_at = self.frames.has_chaos.then(|| Instant::now() + lifetime());
        self.state = Some(State { pictures, mine: VecDeque::new(), frame: 0, panics_at });
        cx.every(self.frames.period(), Camera::shoot);
        Ok(())
    }

    fn handle(&mut self, _: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        let Command::Fill(buffer) = command;
        if let Some(state) = &mut self.state {
            state.mine.push_back(buffer);
        }
        Ok(())
    }

    /// The wall starts another one.
    fn policy(&mut self, _: &Failure) -> Policy {
        Policy::Die
    }
}

/// From two to eight seconds.
fn lifetime() -> Duration {
    Duration::from_millis(2000 + RandomState::new().hash_one(0) % 6000)
}
