#![allow(unused)]

use cross_process_bridge::bridge;

trait Walk {
    fn walk(&self) -> Result<Box<dyn Iterator<Item = u8> + '_>, String>;
}

struct Tree(Vec<String>);

#[bridge(traits(Walk))]
impl Tree {
    fn new(with: impl Fn() -> String) -> Tree {
        Tree(vec![with()])
    }
    fn keep(&mut self, closure: impl FnMut(u8) + 'static) {}
    fn keep_boxed(&mut self, closure: Box<dyn FnMut(u8)>) {}
    fn spread(&self, closure: impl Fn(u8) + Send + Sync) {}
    fn once(&self, closure: impl FnOnce(u8)) {}
    fn asynchronous(&self, closure: impl AsyncFnMut(u8)) {}
    fn borrow(&self, closure: impl FnMut(&mut Vec<u8>)) {}
    fn lend<'a>(&'a self, closure: impl FnMut(Option<&'a str>, Vec<&'a str>)) {}
    fn give(&self, closure: &mut dyn FnMut() -> &'static str) {}
    fn finish(self, closure: impl FnMut(u8)) {}
    fn filtered(&self, keeps: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        self.0.clone().into_iter()
    }
    #[bridge(one_way)]
    fn note(&self, closure: impl Fn()) {}

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
    fn drain(self) -> impl Iterator<Item = String> {
        self.0.into_iter()
    }
    fn fill(&self, list: &mut Vec<u8>) -> impl Iterator<Item = String> {
        self.0.clone().into_iter()
    }
    #[bridge(one_way)]
    fn forget(&mut self) -> impl Iterator<Item = String> {
        self.0.drain(..)
    }
    fn nested(&self) -> Option<impl Iterator<Item = String>> {
        Some(self.0.clone().into_iter())
    }
}

#[bridge(implement)]
impl Walk for Tree {
    fn walk(&self) -> Result<Box<dyn Iterator<Item = u8> + '_>, String> {
        Ok(Box::new(0..3))
    }
}

fn main() {}
