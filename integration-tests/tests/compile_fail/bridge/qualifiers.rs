#![allow(unused)]

use std::rc::Rc;

use cross_process_bridge::bridge;

struct Reader;

#[bridge]
impl Reader {
    fn new() -> Reader {
        Reader
    }
    async fn read(&self) {}
    unsafe fn read_raw(&self) {}
    extern "C" fn read_for_c(&self) {}
    fn shared(self: Rc<Self>) {}
    fn boxed(self: Box<Self>) {}
    fn conditional(&self, #[cfg(all())] number: u8) {}
    fn for_ever(&self) -> ! {
        loop {}
    }
}

fn main() {}
