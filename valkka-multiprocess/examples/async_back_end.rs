//! A back end that is a tokio runtime: a command that takes long is a task of its own, beside those that come after it.
//!
//! `cargo run -p valkka-multiprocess --example async_back_end --features tokio`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext, ProcessError, RemoteError};

#[derive(Serialize, Deserialize)]
enum Command {
    MyStuff { parameter: String },
    Slow { milliseconds: u64 },
}

struct Back;

impl AsyncBackend for Back {
    type Command = Command;
    type Event = String;

    async fn handle(&mut self, cx: &AsyncContext<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::MyStuff { parameter } => cx.send_out(&format!("got {parameter}")).await?,
            Command::Slow { milliseconds } => {
                let events = cx.clone();
                // The next command is handled meanwhile.
                cx.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    events.send_out(&format!("slept for {milliseconds} ms")).await?;
                    Ok(())
                });
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), ProcessError> {
    let p = AsyncBackMessageProcess::new("my-process", Back);
    p.start()?; // by a fork: this program has no runtime, and needs none
    p.send(&Command::Slow { milliseconds: 300 })?;
    p.send(&Command::MyStuff { parameter: "this".to_owned() })?;
    println!("{}", p.recv()?);
    println!("{}", p.recv()?);
    p.stop()?;
    Ok(())
}
