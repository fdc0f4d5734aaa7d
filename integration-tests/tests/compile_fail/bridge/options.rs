#![allow(unused)]

use cross_process_bridge::bridge;

struct Counter(u8);

#[bridge(nmae = Remote)]
impl Counter {
    fn new() -> Counter {
        Counter(0)
    }
}

struct Other(u8);

#[bridge]
impl Other {
    #[bridge(remote_error)]
    fn new() -> Result<Other, String> {
        Ok(Other(0))
    }
    #[bridge(one_way)]
    fn made() -> Other {
        Other(1)
    }
    fn with(list: &mut Vec<u8>) -> Other {
        Other(list.remove(0))
    }
    #[bridge(one_way)]
    fn count(&self) -> u8 {
        self.0
    }
    #[bridge(one_way)]
    fn fill(&self, list: &mut Vec<u8>) {}
    #[bridge(one_way)]
    fn finish(self) {}
    #[bridge(remote_error)]
    fn nothing(&self) {}
    #[bridge(remote_error)]
    fn fmt(&self) -> std::fmt::Result {
        Ok(())
    }
    #[bridge(vis = pub)]
    fn visible(&self) {}
    #[bridge(oneway)]
    fn mistyped(&self) {}
    #[bridge(skip, skip)]
    fn twice(&self) {}
    #[cfg_attr(all(), bridge(skip))]
    fn conditional(&self) {}
}

fn main() {}
