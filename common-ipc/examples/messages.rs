//! Two processes exchange a million messages; then one of them is killed, and the other one tells why its
//! call has ended.
//!
//! `cargo run -p common-ipc --example messages`

use std::error::Error;
use std::time::Instant;

use common_ipc::link::{Connection, LinkError};
use common_ipc::process::{Launch, LaunchOptions};

const MESSAGES: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    // This end sends and receives numbers; so does the other one, which the child gets.
    let (here, there) = Connection::<u64, u64>::pair()?;
    let options = LaunchOptions::new().name("doubler").give(&there);
    let child = Launch::new(&options).start(move || {
        for number in there.iter().flatten() {
            if there.send(&(number * 2)).is_err() {
                return;
            }
        }
    })?;

    let begin = Instant::now();
    for number in 0..MESSAGES / 2 {
        here.send(&number)?;
        assert_eq!(here.recv()?, number * 2);
    }
    println!("{MESSAGES} messages in {:.2?}", begin.elapsed());

    child.kill()?;
    let why = loop {
        if let Err(error) = here.send(&1).and_then(|()| here.recv()) {
            break error;
        }
    };
    assert!(matches!(why, LinkError::Closed));
    println!("the connection: {why}");
    println!("the child: {}", child.wait()?);
    Ok(())
}
