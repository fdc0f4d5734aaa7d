//! Frames that the back end draws where the front end reads them: nothing is copied from process to process.
//!
//! `cargo run -p valkka-multiprocess --example shared_array`

use std::error::Error;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::memory::SharedArray;
use valkka_multiprocess::{Backend, Context, EventGroup, EventIndex, MessageProcess, RemoteError};

const HEIGHT: usize = 480;
const WIDTH: usize = 640;
const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];

#[derive(Serialize, Deserialize)]
enum Command {
    /// Into the array that both have.
    Draw { colour: [u8; 3], done: EventIndex },
    /// Into an array that comes with the command.
    DrawInto { frame: SharedArray<u8>, colour: [u8; 3], done: EventIndex },
}

struct Painter {
    frame: SharedArray<u8>,
    events: EventGroup,
}

impl Backend for Painter {
    type Command = Command;
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        let done = match command {
            Command::Draw { colour, done } => {
                draw(&self.frame, colour)?;
                done
            }
            Command::DrawInto { frame, colour, done } => {
                draw(&frame, colour)?;
                done
            }
        };
        // Whoever wakes by it sees all that was written before.
        self.events.set(done)?;
        Ok(())
    }
}

fn draw(frame: &SharedArray<u8>, colour: [u8; 3]) -> Result<(), RemoteError> {
    let (width, row) = (frame.shape()[1], colour.repeat(frame.shape()[1]));
    for y in 0..frame.shape()[0] {
        frame.write_from(y * width * 3, &row)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Both are made before the start, and each process has them then.
    let frame = SharedArray::<u8>::with_shape(&[HEIGHT, WIDTH, 3])?;
    let events = EventGroup::new(10)?;
    let painter = Painter { frame: frame.clone(), events: events.clone() };
    let process = MessageProcess::new("painter", painter);
    process.start()?;
    let child = process.child()?;

    let mut pixel = [0; 3];
    let place = frame.index(&[HEIGHT - 1, WIDTH - 1, 0])?;
    for colour in [RED, GREEN] {
        // Until the event is set the array is the back end's; from then on it is ours again.
        events.sync(&child, |done| process.send(&Command::Draw { colour, done }))?;
        frame.read_into(place, &mut pixel)?;
        println!("the last pixel is {pixel:?}");
    }

    // One that is made later goes along with a command: as the same memory, however large it is.
    let small = SharedArray::<u8>::with_shape(&[2, 2, 3])?;
    let command = |done| Command::DrawInto { frame: small.clone(), colour: RED, done };
    events.sync(&child, |done| process.send(&command(done)))?;
    println!("a small one, made on demand: {:?}", small.to_vec());

    process.stop()?;
    Ok(())
}
