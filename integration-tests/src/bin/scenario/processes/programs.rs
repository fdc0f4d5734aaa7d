//! Programs whose ends are looked at from outside: by their output, or by killing them.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{self, AtExit, Launch, LaunchOptions, ParentDeath, ProcessGroup};
use common_ipc::testing::LeakPolice;
use integration_tests::{raw, watchdog};
use nix::sys::signal::Signal as NixSignal;
use offspring::{LoopStep, Subprocess, SubprocessLoop};

use crate::processes::children::{sleep_for_long, start};

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "program_with_spinning_children" => spinning_children(),
        "program_with_loops" => loops(&arguments[0]),
        "program_with_a_survivor" => {
            survivor();
            spin();
        }
        "program_that_exits_with_a_survivor" => survivor(),
        "program_that_clears_the_environment" => clears_the_environment(),
        "program_that_exits_at_once" => exits_at_once(),
        "program_with_pending_output" => pending_output(),
        "program_with_exit_handlers" => exit_handlers(&arguments[0]),
        "program_that_exits_with_children" => exits_with_children(&arguments[0]),
        "program_that_panics_with_a_child" => panics_with_a_child(),
        "program_that_exits_in_a_callback" => exits_in_a_callback(),
        "program_that_restarts_to_the_end" => restarts_to_the_end(),
        "program_that_exits_with_a_supervisor" => exits_with_a_supervisor(&arguments[0]),
        "program_that_does_not_wait" => does_not_wait(),
        "program_with_crossed_streams" => crossed_streams(),
        "program_that_leaks" => leaks(&arguments[0]),
        _ => return false,
    }
    true
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// Prints five process ids and spins.
fn spinning_children() {
    raw::allow_forks();
    let of_main = start(spin);
    let of_thread = std::thread::spawn(|| start(spin)).join().unwrap();
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let with_child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        there.send(&start(spin).id()).unwrap();
        spin();
    });
    let bare = start::<()>(|| {
        raw::close_from(3);
        spin();
    });
    let apart = Launch::new(&LaunchOptions::new().process_group(ProcessGroup::NewSession)).start(spin);
    for pid in [of_main.id(), of_thread.id(), here.recv().unwrap(), bare.id(), apart.unwrap().id()] {
        println!("{pid}");
    }
    drop(with_child);
    spin();
}

/// A loop that takes its time over its end, and one that never gets there; prints their process ids
/// and spins.
fn loops(path: &str) {
    // What a shell has started in the background ignores it, and so do those whom that starts.
    raw::ignore_signal(NixSignal::SIGINT, false);
    struct Slow<'a>(&'a str);
    impl SubprocessLoop for Slow<'_> {
        fn step(&mut self) -> LoopStep {
            LoopStep::Again
        }
        fn end(&mut self) {
            std::thread::sleep(Duration::from_millis(100));
            std::fs::write(self.0, "ended").unwrap();
        }
    }
    struct Stuck;
    impl SubprocessLoop for Stuck {
        fn step(&mut self) -> LoopStep {
            spin();
            LoopStep::Stop
        }
    }
    let (slow, stuck) = (Slow(path).spawn().unwrap(), Stuck.spawn().unwrap());
    println!("{}\n{}", slow.process().unwrap().id(), stuck.process().unwrap().id());
    spin();
}

/// Prints the process id of a child that is meant to go on.
fn survivor() {
    let options = LaunchOptions::new().on_parent_death(ParentDeath::Survive);
    println!("{}", Launch::new(&options).wait_until_ready(true).start(spin).unwrap().id());
}

/// Ends with code 0 if a child finds nothing in its environment.
fn clears_the_environment() {
    let child = Launch::new(&LaunchOptions::new().env_clear()).start(|| {
        std::fs::read("/proc/self/environ").unwrap().is_empty() || std::env::vars_os().count() == 0
    });
    assert!(child.unwrap().output::<bool>().unwrap());
}

/// Starts a task that is waited for, and ends.
fn exits_at_once() {
    struct Prints;
    impl Subprocess for Prints {
        type Output = ();
        const WAIT_FOR_CHILD: bool = true;
        fn run(&mut self) {
            std::thread::sleep(Duration::from_millis(20));
            println!("This will always print");
        }
    }
    Prints.spawn().unwrap();
}

/// Prints words without an end of line around the starts of children that do the same.
fn pending_output() {
    print!("rust-parent ");
    eprint!("rust-error ");
    raw::c_print(c"c-parent ");
    start::<()>(|| {
        print!("rust-child ");
        raw::c_print(c"c-child ");
    })
    .output::<()>()
    .unwrap();
    start::<()>(|| {
        print!("rust-exit ");
        raw::c_print(c"c-exit ");
        std::process::exit(7)
    })
    .wait()
    .unwrap();
    print!("rust-end ");
}

/// Has a handler append the process id to a file; ends with the handler's process as its parent has it.
fn exit_handlers(path: &str) {
    static PATH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PATH.set(path.to_owned()).unwrap();
    fn append(word: &str) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(PATH.get().unwrap());
        writeln!(file.unwrap(), "{word} {}", std::process::id()).unwrap();
    }
    raw::at_exit(|| append("handler"));
    println!("{}", std::process::id());
    start::<()>(|| ()).output::<()>().unwrap();
    for exit in [|| std::process::exit(7), || raw::c_exit(7)] {
        let exits: fn() -> ! = exit;
        assert_eq!(start::<()>(move || exits()).wait().unwrap().code(), Some(7));
    }
    start::<()>(|| panic!("on purpose")).wait().unwrap();
    // A child's own handler does run when it calls exit.
    let own = start::<()>(|| {
        raw::at_exit(|| append("own"));
        std::process::exit(0)
    });
    own.wait().unwrap();
    println!("{}", own.id());
}

/// Ends with children of all kinds; the way of the end is the argument. Prints their ids.
fn exits_with_children(how: &str) {
    let polite = start::<()>(|| std::thread::sleep(Duration::from_secs(600)));
    let stubborn = Launch::new(&LaunchOptions::new())
        .at_exit(AtExit::Stop { grace: Duration::from_millis(50) })
        .wait_until_ready(true)
        .start(|| {
            raw::ignore_signal(NixSignal::SIGTERM, true);
            std::thread::sleep(Duration::from_secs(600));
        })
        .unwrap();
    let frozen = start::<()>(|| std::thread::sleep(Duration::from_secs(600)));
    frozen.signal(common_ipc::process::Signal::STOP).unwrap();
    let finishing = Launch::new(&LaunchOptions::new()).at_exit(AtExit::Wait).start(|| {
        std::thread::sleep(Duration::from_millis(300));
        println!("finished");
    });
    for child in [&polite, &stubborn, &frozen, finishing.as_ref().unwrap()] {
        println!("{}", child.id());
    }
    // Handles that are kept, dropped and leaked all come to the same.
    drop(polite);
    std::mem::forget(stubborn);
    match how {
        "return" => {}
        "exit" => std::process::exit(3),
        "nested" => {
            // All this once more in a child, whose end is the library's.
            start::<()>(|| exits_with_children("return")).wait().unwrap();
        }
        other => panic!("unknown way {other}"),
    }
}

fn panics_with_a_child() {
    println!("{}", start::<()>(|| std::thread::sleep(Duration::from_secs(600))).id());
    panic!("on purpose");
}

/// The program's end comes while a callback hangs.
fn exits_in_a_callback() {
    let (began, begun) = std::sync::mpsc::channel();
    start::<()>(|| ())
        .on_exit(move |_| {
            began.send(()).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        })
        .unwrap();
    begun.recv().unwrap();
    println!("ended");
}

/// Ends with a process that is started again whenever it ends, and one that the exit waits for meanwhile.
fn restarts_to_the_end() {
    let process = pkit::Process::builder()
        .on_exit(|exit: &pkit::ProcessExit<()>| match exit.start_again() {
            Ok(_) => println!("again"),
            Err(error) => println!("{error}"),
        })
        .build_template(|| std::thread::sleep(Duration::from_secs(600)))
        .unwrap();
    process.start_wait().unwrap();
    process.kill().unwrap();
    assert!(process.wait_until(|process| process.generation() == 2, Duration::from_secs(20)).unwrap());
    assert!(process::join_callbacks(None));
    let slow = pkit::Process::builder()
        .at_exit(AtExit::Wait)
        .build(|| std::thread::sleep(Duration::from_millis(500)));
    slow.start_wait().unwrap();
}

/// Ends while supervisors of each strategy are at work. Prints the children's process ids, and what is told of them from
/// the exit on.
fn exits_with_a_supervisor(how: &str) {
    use pkit::supervisor::{ChildSpec, Strategy, Supervisor};
    let zygote = crate::servers::zygote();
    let deaf = || {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        pkit::ready();
        sleep_for_long();
    };
    let mut supervisors = Vec::new();
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut builder = Supervisor::builder().strategy(strategy);
        for number in 0..4 {
            let spec = ChildSpec::in_zygote(format!("zygote's {number}"), &zygote, |()| sleep_for_long(), ());
            builder = builder
                .child(crate::pkit::supervisor::child(&format!("template's {number}"), sleep_for_long));
            builder = builder.child(spec.backoff(crate::pkit::supervisor::at_once()));
        }
        // So long everybody has time to be started again.
        let spec = crate::pkit::supervisor::child("deaf", deaf).ready_by_target();
        supervisors.push(builder.child(spec.grace(Duration::from_millis(500))));
    }
    let supervisors: Vec<_> = supervisors.into_iter().map(|builder| builder.start().unwrap()).collect();
    for supervisor in supervisors {
        for child in supervisor.children().unwrap() {
            println!("{}", child.pid.unwrap());
        }
        let events = supervisor.events().unwrap();
        std::thread::spawn(move || events.iter().for_each(|event| println!("{event}")));
        // Its drop would stop them before.
        std::mem::forget(supervisor);
    }
    match how {
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        _ => {}
    }
}

/// The documents' example of TERMINATE_ON_SHUTDOWN: nobody waits for the task.
fn does_not_wait() {
    struct MyTask;
    impl Subprocess for MyTask {
        type Output = ();
        const TERMINATE_ON_SHUTDOWN: bool = false;
        fn run(&mut self) {
            std::thread::sleep(Duration::from_millis(200));
            println!("This will always print");
        }
    }
    MyTask.spawn().unwrap();
}

/// Swaps standard output and error in a child.
fn crossed_streams() {
    let fd = |number: i32| {
        std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}")).unwrap()
    };
    let options = LaunchOptions::new().stdout(fd(2)).stderr(fd(1));
    let child = Launch::new(&options).start(|| {
        println!("to the error");
        eprintln!("to the output");
        Command::new("/bin/cat").status().unwrap().success()
    });
    assert!(child.unwrap().output::<bool>().unwrap(), "an empty standard input ends cat");
}

/// Leaves something behind, and asks the police.
fn leaks(what: &str) {
    let before = LeakPolice::new();
    let mut path = None;
    match what {
        "child" => {
            Command::new("/bin/true").spawn().unwrap();
        }
        "descriptor" => std::mem::forget(std::fs::File::open("/").unwrap()),
        // Only the program's zygote may stay, which another one's name doesn't make it.
        "zygote" => {
            crate::servers::start_in(|()| (), &()).wait().unwrap();
            std::mem::forget(process::Zygote::with_preload(|()| (), &()).unwrap());
        }
        "template" => std::mem::forget(Launch::new(&LaunchOptions::new()).template(|| ()).unwrap()),
        "shm" => {
            let name = format!("/dev/shm/multiprocess-{}", std::process::id());
            std::fs::write(&name, "").unwrap();
            path = Some(name);
        }
        other => panic!("unknown leak {other}"),
    }
    let found = before.check(watchdog::CLEARING_UP);
    path.map(std::fs::remove_file).transpose().unwrap();
    if let Err(leaks) = &found {
        eprintln!("{leaks}");
    }
    std::process::exit(i32::from(found.is_err()));
}
