#![allow(unused)]

use cross_process_bridge::bridge;

struct Store;

#[bridge(threads = 4)]
impl Store {
    fn new() -> Store {
        Store
    }
    fn numbers(&self) -> impl Iterator<Item = u8> {
        0..3
    }
    fn each(&self, closure: impl FnMut(u8)) {}
}

struct Other;

#[bridge(threads = 0)]
impl Other {
    fn new() -> Other {
        Other
    }
    #[bridge(threads = 2)]
    fn get(&self) {}
}

fn main() {}
