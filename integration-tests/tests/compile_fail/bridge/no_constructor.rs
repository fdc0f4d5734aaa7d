#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

#[bridge]
impl Counter {
    fn count(&self) -> u8 {
        self.0
    }
}

fn main() {}
