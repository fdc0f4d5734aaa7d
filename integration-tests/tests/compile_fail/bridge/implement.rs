#![allow(unused)]

use cross_process_bridge::{BridgeError, bridge};

trait Store: Sized {
    fn new() -> Self;
    fn len(&self) -> usize;
    fn merge(&mut self, other: &Self) -> Result<(), BridgeError>;
    fn renamed(&self) -> Result<(), BridgeError>;
    fn remote(&self) -> Result<(), BridgeError>;
}

struct Memory;

#[bridge(traits(Store))]
impl Memory {
    fn make() -> Memory {
        Memory
    }
}

#[bridge(implement)]
impl Store for Memory {
    fn new() -> Self {
        Memory
    }
    fn len(&self) -> usize {
        0
    }
    fn merge(&mut self, other: &Self) -> Result<(), BridgeError> {
        Ok(())
    }
    #[bridge(rename = "other")]
    fn renamed(&self) -> Result<(), BridgeError> {
        Ok(())
    }
    #[bridge(remote_error)]
    fn remote(&self) -> Result<(), BridgeError> {
        Ok(())
    }
}

fn main() {}
