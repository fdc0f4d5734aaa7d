//! An object in a process of its own says which process it is in.
//!
//! `cargo run -p cross-process-bridge --example pid`

use cross_process_bridge::{BridgeError, bridge};

struct A;

#[bridge]
impl A {
    fn new() -> A {
        A
    }

    fn a(&self) {
        println!("a {}", std::process::id());
    }

    /// Without `self`: it runs there all the same.
    fn b() {
        println!("b {}", std::process::id());
    }
}

fn main() -> Result<(), BridgeError> {
    println!("main {}", std::process::id());
    let bridge = ABridge::new(); // create the bridge
    bridge.start()?; // start the process and make an object in it
    bridge.a()?; // prints another number
    bridge.stop()?; // stop the process

    // The same in a block of its own.
    ABridge::new().scope(|bridge| {
        bridge.a()?;
        bridge.b()
    })?
}
