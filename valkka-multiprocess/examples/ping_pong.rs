//! A back end in a process of its own answers each command by an event.
//!
//! `cargo run -p valkka-multiprocess --example ping_pong`

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError};

/// What the front end sends.
#[derive(Serialize, Deserialize)]
enum Command {
    Ping(Vec<i32>),
}

/// What the back end sends.
#[derive(Serialize, Deserialize, Debug)]
enum Event {
    Pong { list: Vec<i32>, by: u32 },
}

/// What lives in the other process.
struct Player;

impl Backend for Player {
    type Command = Command;
    type Event = Event;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Ping(list) if list.is_empty() => return Err(RemoteError::msg("nothing to pong")),
            Command::Ping(list) => cx.send_out(&Event::Pong { list, by: std::process::id() })?,
        }
        Ok(())
    }
}

fn main() -> Result<(), ProcessError> {
    let process = MessageProcess::new("player", Player); // nothing runs yet
    process.start()?;

    process.send(&Command::Ping(vec![1, 2, 3]))?;
    let Event::Pong { list, by } = process.recv()?;
    println!("pong {list:?} by another process: {}", by != std::process::id());

    // An error there is an error here, and says at what. The back end goes on.
    process.send(&Command::Ping(Vec::new()))?;
    if let Err(error) = process.recv() {
        println!("error: {error}");
    }

    let stopped = process.stop()?;
    println!("the back end {}", stopped.status);
    Ok(())
}
