//! Programs with fork servers that are looked at from outside: each prints process ids and goes on until it is
//! killed.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::process::{self, AtExit, Launch, LaunchOptions, ParentDeath, ProcessGroup, Signal, Zygote};
use integration_tests::{proc, raw};

use crate::servers::{server, start_in, zygote};

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "program_with_servers" => servers(),
        "program_with_zygotes_in_zygotes" => generation(3),
        "program_with_tied_children" => tied_children(&arguments[0]),
        "program_with_servers_and_pending_output" => pending_output(),
        "program_that_exits_with_servers" => exits(&arguments[0]),
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

/// By zygote and template each: one that survives, one that appends to a file when it gets SIGTERM, and one that
/// has a moment for its end and doesn't take it.
fn tied_children(path: &str) {
    static PATH: OnceLock<String> = OnceLock::new();
    static TOLD: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: i32) {
        TOLD.store(true, Ordering::Relaxed);
    }
    PATH.set(path.to_owned()).unwrap();
    let handles: fn(()) = |()| {
        raw::handle_signal(nix::sys::signal::Signal::SIGTERM, note);
        println!("ready");
        while !TOLD.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(PATH.get().unwrap());
        file.unwrap().write_all(b"ended").unwrap();
    };
    let ignores: fn(()) = |()| {
        raw::ignore_signal(nix::sys::signal::Signal::SIGTERM, true);
        println!("ready");
        spin(());
    };
    let grace = Duration::from_millis(200);
    let (reader, writer) = common_ipc::link::pipe().unwrap();
    let kinds = [
        (ParentDeath::Survive, ignores),
        (ParentDeath::Signal(Signal::TERM), handles),
        (ParentDeath::Stop { grace }, ignores),
    ];
    let options = kinds.map(|(tie, run)| (LaunchOptions::new().on_parent_death(tie).stdout(&writer), run));
    // The statics of this moment are those of the zygote.
    let zygote = zygote();
    let templates = options.each_ref().map(|(options, run)| {
        let run = *run;
        Launch::new(options).template(move || run(())).unwrap()
    });
    let started = options.each_ref().map(|(options, run)| Launch::new(options).start_in(&zygote, *run, &()));
    let ids = started.map(|child| child.unwrap().id());
    let also = templates.each_ref().map(|template| template.start().unwrap().id());
    // They are in the midst of their work.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
    (0..6).for_each(|_| assert_eq!(lines.next().unwrap().unwrap(), "ready"));
    ids.into_iter().zip(also).for_each(|(one, other)| [one, other].into_iter().for_each(print));
    spin(());
}

/// Prints words without an end of line around the making of servers and children, which do so as well, and has an
/// exit handler.
fn pending_output() {
    raw::at_exit(|| println!("handler"));
    print!("rust-early ");
    raw::c_print(c"c-early ");
    process::init().unwrap();
    print!("rust-initialised ");
    raw::c_print(c"c-initialised ");
    let loaded = Zygote::with_preload(
        |()| {
            print!("rust-preload ");
            raw::c_print(c"c-preload ");
        },
        &(),
    );
    let template = Launch::new(&LaunchOptions::new()).template(|| {
        print!("rust-template ");
        raw::c_print(c"c-template ");
    });
    print!("rust-parent ");
    raw::c_print(c"c-parent ");
    let run = |()| {
        print!("rust-child ");
        raw::c_print(c"c-child ");
    };
    Launch::new(&LaunchOptions::new()).start_in(&loaded.unwrap(), run, &()).unwrap().output::<()>().unwrap();
    template.unwrap().start().unwrap().output::<()>().unwrap();
    let exits = |code: i32| {
        print!("rust-exit ");
        raw::c_print(c"c-exit ");
        std::process::exit(code)
    };
    assert_eq!(start_in::<_, ()>(exits, &7).wait().unwrap().code(), Some(7));
    print!("rust-end ");
}

/// Ends with servers and children of theirs; the way of the end is the argument. Prints their ids.
fn exits(how: &str) {
    let zygote = zygote();
    let template = Launch::new(&LaunchOptions::new()).template(|| spin(())).unwrap();
    let finishes = |()| {
        std::thread::sleep(Duration::from_millis(300));
        println!("finished");
    };
    let finishing = Launch::new(&LaunchOptions::new()).at_exit(AtExit::Wait).start_in(&zygote, finishes, &());
    let children = [start_in(spin, &()), template.start().unwrap(), finishing.unwrap()];
    print(keeper());
    print(zygote.id().unwrap());
    print(template.id());
    for child in &children {
        print(child.id());
    }
    match how {
        "return" => drop(children),
        "exit" => {
            std::mem::forget((template, children));
            std::process::exit(3);
        }
        "panic" => panic!("on purpose"),
        other => panic!("unknown way {other}"),
    }
}
