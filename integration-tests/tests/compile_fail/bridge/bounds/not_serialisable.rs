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
    fn work(&self, hours: f64, job: &Job) -> u8 {
        job.number
    }
    fn read(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

fn main() {}
