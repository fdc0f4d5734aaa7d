//! What the compiler finds in generated code it shows where the user has written it, and once.
#![allow(unused)]

use cross_process_bridge::bridge;
use serde::{Deserialize, Serialize};

/// It is to be kept for a restart, and can't be cloned.
#[derive(Serialize, Deserialize)]
struct Plan {
    steps: u8,
}

/// It says nothing.
struct Mute;

struct Shift;

struct Worker {
    hours: u64,
}

#[bridge(fields(hours: u32, minutes: u8))]
impl Worker {
    fn new(plan: &Plan) -> Worker {
        Worker { hours: plan.steps.into() }
    }
    fn hired() -> Result<Self, Mute> {
        Err(Mute)
    }
    #[bridge(remote_error)]
    fn work(&self) -> Result<u8, Mute> {
        Err(Mute)
    }
    fn apprentice(&self) -> Self {
        Worker { hours: 0 }
    }
    fn sum(&self, rows: &[Shift]) {}
    fn table(&self, table: [[Shift; 40]; 40]) {}
}

fn main() {}
