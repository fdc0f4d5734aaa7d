//! Two blocks have a method of the same name.
#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

trait Count {
    fn count(&self) -> u8;
}

#[bridge(traits(Count))]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
    fn count(&self) -> u8 {
        self.0
    }
}

#[bridge]
impl Count for Counter {
    fn count(&self) -> u8 {
        self.0
    }
}

fn main() {}
