#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

#[bridge]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
}

trait Named {
    fn name(&self) -> String;
    fn length(&self) -> usize;
}

#[bridge]
impl Named for Counter {
    fn name(&self) -> String {
        "counter".to_owned()
    }
    fn length(&self) -> usize {
        7
    }
}

fn main() {}
