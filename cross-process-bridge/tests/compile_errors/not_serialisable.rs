#![allow(unused)]

use cross_process_bridge::bridge;

struct Job {
    number: u8,
}

struct Worker;

#[bridge]
impl Worker {
    fn new() -> Worker {
        Worker
    }
    fn next(&self) -> Job {
        Job { number: 7 }
    }
    fn read(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

fn main() {}
