//! The front end waits until the back end has done what it was told, by an event that both have.
//!
//! `cargo run -p valkka-multiprocess --example ping_sync`

use std::error::Error;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, EventError, EventGroup, EventIndex, MessageProcess, RemoteError,
};

#[derive(Serialize, Deserialize)]
enum Command {
    /// `done` says which event is to be set.
    Ping { list: Vec<i32>, done: EventIndex },
    /// Ends the back end, and no event is set.
    Leave,
}

struct Player {
    events: EventGroup,
}

impl Backend for Player {
    type Command = Command;
    type Event = ();

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Ping { list, done } => {
                println!("back end: ping {list:?}");
                self.events.set(done)?;
            }
            Command::Leave => cx.stop(),
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Made before the start, so that both sides have the events, and a command holds an index alone.
    let events = EventGroup::new(10)?;
    let process = MessageProcess::new("player", Player { events: events.clone() });
    process.start()?;
    let child = process.child()?;

    for number in 1..=3 {
        // Reserves an event, sends its index, waits until it is set, and gives the event back.
        events.sync(&child, |done| process.send(&Command::Ping { list: vec![number; 3], done }))?;
        println!("front end: it was handled, and {} events are free", events.available());
    }

    // Who waits for a process that ends isn't left waiting.
    match events.sync(&child, |_| process.send(&Command::Leave)) {
        Err(EventError::DiedBeforeSet { status, .. }) => {
            println!("front end: no event, the process {status}")
        }
        other => println!("front end: {other:?}"),
    }
    Ok(())
}
