//! The rest of the block is bridged all the same, so that one mistake is one error.
#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

#[bridge]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
    fn add<N: Into<u8>>(&mut self, number: N) {
        self.0 += number.into();
    }
    fn count(&self) -> u8 {
        self.0
    }
}

fn main() {
    let counter = CounterBridge::new();
    counter.start().unwrap();
    println!("{}", counter.count().unwrap());
}
