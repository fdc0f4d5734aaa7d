#![allow(unused)]

use cross_process_bridge::bridge;

struct Request {
    path: String,
    retries: u8,
}

#[bridge]
impl Request {
    fn new() -> Request {
        Request { path: String::new(), retries: 0 }
    }
    fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }
    fn checked(self) -> Result<Request, String> {
        Ok(self)
    }
    fn retries(&mut self, retries: u8) -> &mut Self {
        self.retries = retries;
        self
    }
}

fn main() {}
