//! Programs with fork servers that are looked at from outside: each prints process ids and goes on until it is
//! killed.

use std::io::Write;

use common_ipc::process::{Launch, LaunchOptions, ProcessGroup, Zygote};
use integration_tests::proc;

use crate::servers::{server, start_in, zygote};

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str) -> bool {
    match name {
        "program_with_servers" => servers(),
        "program_with_zygotes_in_zygotes" => generation(3),
        _ => return false,
    }
    true
}

fn spin(_: ()) {
    loop {
        std::hint::spin_loop();
    }
}

fn print(pid: u32) {
    // A child's standard output is no terminal's, and its end would come before the flush.
    println!("{pid}");
    std::io::stdout().flush().unwrap();
}

/// The keeper takes its name in its own time.
fn keeper() -> u32 {
    assert!(proc::eventually(|| server("mp-keeper").is_some()));
    server("mp-keeper").unwrap() as u32
}

fn servers() {
    let zygote = zygote();
    let template = Launch::new(&LaunchOptions::new()).template(|| spin(())).unwrap();
    let apart = LaunchOptions::new().process_group(ProcessGroup::NewSession);
    let children = [
        start_in(spin, &()),
        template.start().unwrap(),
        Launch::new(&apart).start_in(&zygote, spin, &()).unwrap(),
        std::thread::spawn(|| start_in(spin, &())).join().unwrap(),
    ];
    print(keeper());
    print(zygote.id().unwrap());
    print(template.id());
    for child in &children {
        print(child.id());
    }
    spin(());
}

/// Each generation's child is the next one; of the last one it spins.
fn generation(left: u32) {
    if left > 0 {
        let child = start_in(generation, &(left - 1));
        print(keeper());
        print(Zygote::global().id().unwrap());
        print(child.id());
    }
    spin(());
}
