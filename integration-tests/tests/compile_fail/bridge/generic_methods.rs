#![allow(unused)]

use std::fmt::Display;

use cross_process_bridge::bridge;

struct Log<T>(Vec<T>);

#[bridge]
impl<T> Log<T> {
    fn new() -> Self {
        Log(Vec::new())
    }
    fn add<D: Display>(&mut self, line: D) {}
    fn rows<const N: usize>(&self) -> [u8; N] {
        [0; N]
    }
    fn sorted(&mut self)
    where
        T: Ord,
    {
        self.0.sort();
    }
}

fn main() {}
