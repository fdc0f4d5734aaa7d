//! An object in a process of its own says which process it is in.
//!
//! `cargo run -p cross-process-bridge --example pid`

use cross_process_bridge::{BridgeError, bridge};

struct Teller;

#[bridge]
impl Teller {
    fn new() -> Teller {
        Teller
    }

    fn tell(&self) {
        println!("object {}", std::process::id());
    }

    /// Without `self`: it runs there all the same.
    fn tell_without_self() {
        println!("function {}", std::process::id());
    }
}

fn main() -> Result<(), BridgeError> {
    println!("main {}", std::process::id());
    let bridge = TellerBridge::new(); // create the bridge
    bridge.start()?; // start the process and make an object in it
    bridge.tell()?; // prints another number
    bridge.stop()?; // stop the process

    // The same in a block of its own: started anew, so it is another process.
    TellerBridge::new().scope(|bridge| {
        bridge.tell()?;
        bridge.tell_without_self()
    })?
}
