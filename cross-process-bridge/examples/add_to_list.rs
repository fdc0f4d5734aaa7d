//! What a method does to a `&mut` argument is done to the caller's own value, though it is done in another process.
//!
//! `cargo run -p cross-process-bridge --example add_to_list`

use cross_process_bridge::{BridgeError, bridge};

struct Adder;

#[bridge]
impl Adder {
    fn new() -> Adder {
        Adder
    }

    fn add_to_list(&self, list: &mut Vec<String>) {
        list.push(format!("added by process {}", std::process::id()));
    }
}

fn main() -> Result<(), BridgeError> {
    let bridge = AdderBridge::new();
    bridge.start()?;
    let mut list = vec![format!("made by process {}", std::process::id())];
    bridge.add_to_list(&mut list)?;
    println!("{list:#?}");
    bridge.stop()
}
