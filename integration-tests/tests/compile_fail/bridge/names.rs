#![allow(unused)]

use cross_process_bridge::bridge;

#[derive(Debug)]
struct Machine {
    speed: u32,
    load: u32,
}

#[bridge(traits(Debug), fields(speed: u32, load: u32, process: u32))]
impl Machine {
    fn start() -> Machine {
        Machine { speed: 0, load: 0 }
    }
    fn process(&self) {}
    fn scope(&self) {}
    fn clone(&self) {}
    fn set_speed(&mut self, speed: u32) {
        self.speed = speed;
    }
    #[bridge(rename = "halt")]
    fn brake(&mut self) {}
    fn halt(&mut self) {}
    fn to_debug_string(&self) {}
}

fn main() {}
