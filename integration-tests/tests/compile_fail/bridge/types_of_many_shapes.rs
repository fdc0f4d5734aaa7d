#![allow(unused)]

use std::any::Any;
use std::error::Error;

use cross_process_bridge::bridge;

struct Runner;

#[bridge]
impl Runner {
    fn new() -> Runner {
        Runner
    }
    fn run(&self, step: fn(u8) -> u8) {}
    fn run_each(&self, steps: Vec<Box<dyn FnMut()>>) {}
    fn run_plain(&self, step: fn(u8) -> u8) {}
    fn run_lent(&self, step: &mut Box<dyn FnMut()>) {}
    fn show(&self, shape: &dyn Any) {}
    fn hold(&self, shape: Box<dyn Any>) {}
    fn write(&self, to: impl std::io::Write) {}
    fn write_lent(&self, to: &mut impl std::io::Write) {}
    fn write_all(&self, to: Vec<impl std::io::Write>) {}
    fn numbers(&self) -> impl Clone {
        0..7
    }
    fn parse(&self, text: &str) -> Result<u8, Box<dyn Error>> {
        Ok(text.parse()?)
    }
}

fn main() {}
