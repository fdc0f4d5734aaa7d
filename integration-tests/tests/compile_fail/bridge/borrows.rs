#![allow(unused)]

use std::collections::HashMap;
use std::path::Path;

use cross_process_bridge::bridge;

struct Store {
    names: Vec<String>,
}

struct Guard<'a>(&'a str);

#[bridge]
impl Store {
    fn new() -> Store {
        Store { names: Vec::new() }
    }
    fn first(&self) -> &str {
        &self.names[0]
    }
    fn all(&self) -> &[String] {
        &self.names
    }
    fn found(&self) -> Option<&String> {
        self.names.first()
    }
    fn title(&self) -> &'static str {
        "title"
    }
    fn guard(&self) -> Guard<'_> {
        Guard(&self.names[0])
    }
    fn add_all(&mut self, names: &[&str]) {
        self.names.extend(names.iter().map(ToString::to_string));
    }
    fn add_some(&mut self, names: Vec<&Path>, more: HashMap<&str, u8>) {}
    fn keep(&mut self, name: &'static str) {}
    fn guarded(&self, guard: Guard<'_>) {}
    fn change(&self, text: &mut str, maybe: Option<&mut String>) {}
    fn raw(&self, pointer: *const u8) {}
    fn count(&self, counter: &std::sync::atomic::AtomicU64, cell: &std::cell::Cell<u8>) {}
}

fn main() {}
