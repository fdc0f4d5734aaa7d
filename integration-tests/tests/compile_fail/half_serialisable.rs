use offspring::{LaunchOptions, Subprocess, Zygote};

#[derive(serde::Serialize)]
struct Half {
    number: u32,
}

impl Subprocess for Half {
    type Output = u32;

    fn run(&mut self) -> u32 {
        self.number
    }
}

fn main() {
    let _ = Half { number: 1 }.spawn_in(&Zygote::global(), LaunchOptions::new());
}
