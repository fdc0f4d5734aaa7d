use std::rc::Rc;

use offspring::{LaunchOptions, Zygote, spawn_in};

struct Shared(Rc<u32>);

fn main() {
    let _ = spawn_in(&Zygote::global(), LaunchOptions::new(), |shared: Shared| *shared.0, Shared(Rc::new(1)));
}
