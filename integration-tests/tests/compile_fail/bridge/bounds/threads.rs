#![allow(unused)]

use std::cell::Cell;
use std::rc::Rc;

use cross_process_bridge::bridge;

struct Counter(Cell<u64>);

#[bridge(threads = 4)]
impl Counter {
    fn new() -> Counter {
        Counter(Cell::new(0))
    }
    fn get(&self) -> u64 {
        self.0.get()
    }
}

struct Shared(Rc<u64>);

#[bridge(threads = 2)]
impl Shared {
    fn new() -> Shared {
        Shared(Rc::new(0))
    }
}

fn main() {}
