#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

#[bridge(traits(Named))]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
}

trait Named {
    fn name(&self) -> String;
}

impl Named for Counter {
    fn name(&self) -> String {
        "counter".to_owned()
    }
}

fn main() {}
