#![allow(unused)]

use std::fmt;

use cross_process_bridge::bridge;

#[bridge]
struct Counter(u8);

#[bridge]
trait Counting {
    fn count(&self) -> u8;
}

#[bridge]
fn free() {}

impl Counter {
    #[bridge(skip)]
    fn method(&self) {}
}

#[bridge(implement)]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
}

#[bridge]
impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[bridge(traits(Other))]
impl Counting for Counter {
    fn count(&self) -> u8 {
        self.0
    }
}

struct Borrowing<'a>(&'a str);

#[bridge]
impl<'a> Borrowing<'a> {
    fn new(text: &'a str) -> Self {
        Borrowing(text)
    }
}

unsafe trait Promise {}

#[bridge]
unsafe impl Promise for Counter {}

#[bridge]
impl Counting for [u8] {
    fn count(&self) -> u8 {
        0
    }
}

fn main() {}
