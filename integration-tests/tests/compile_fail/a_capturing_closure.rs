use offspring::{LaunchOptions, Zygote, spawn_in};

fn main() {
    let captured = 5;
    let _ = spawn_in(&Zygote::global(), LaunchOptions::new(), |number: u32| number + captured, 1);
}
