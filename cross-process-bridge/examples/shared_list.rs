//! A list that several processes share: what a bridge's method does to it in its own process, this program sees.
//!
//! `cargo run -p cross-process-bridge --example shared_list`

use cross_process_bridge::bridge;
use cross_process_bridge::manager::{Manager, ManagerError, SharedList};

struct Adder;

#[bridge]
impl Adder {
    fn new() -> Adder {
        Adder
    }

    fn add_to_list(&self, list: &SharedList<String>) -> Result<(), String> {
        let text = format!("added by process {}", std::process::id());
        list.append(&text).map_err(|error| error.to_string())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let list: SharedList<String> = manager.list_of([format!("made by process {}", std::process::id())])?;
    let bridge = AdderBridge::new();
    bridge.start()?;
    bridge.add_to_list(&list)??;
    println!("{:#?}", list.to_vec()?);
    println!("The list is kept by process {}.", manager.child().id());
    bridge.stop()?;
    manager.stop()?;
    match list.len() {
        Err(error @ ManagerError::Gone { .. }) => println!("Afterwards: {error}"),
        other => println!("Afterwards: {other:?}"),
    }
    Ok(())
}
