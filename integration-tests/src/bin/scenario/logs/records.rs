//! Log records of children, by every way of starting, and whatever becomes of the child.

use std::process;

use common_ipc::link::Connection;
use common_ipc::logging::{self, InstallError};
use common_ipc::process::{
    Child, ExitStatus, Launch, LaunchOptions, ParentDeath, Signal, Template, Zygote, init,
};
use integration_tests::{proc, raw, stress_factor};
use log::{Level, LevelFilter};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::logs::collector::{Collects, install, log_numbers, messages, numbers, seen, so_far};
use crate::processes::children::start;
use crate::servers::{start_in, zygote};

scenarios!(
    fault_59_what_was_logged_before_a_death_arrives,
    fault_59_a_logger_that_came_after_the_servers_is_theirs,
    fault_59_records_of_grandchildren_arrive,
    fault_59_each_of_many_records_arrives_in_order,
    fault_59_a_preloads_records_arrive,
    a_record_arrives_as_it_was_made,
    a_level_is_that_of_the_program,
    without_the_relay_nothing_changes,
    a_copy_of_the_program_logs_for_itself,
    a_program_has_one_logger,
);

/// What becomes of a child.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum End {
    Return,
    Panic,
    Abort,
    Kill,
    Exit,
    ExitAtOnce,
}

const ENDS: [End; 6] = [End::Return, End::Panic, End::Abort, End::Kill, End::Exit, End::ExitAtOnce];
const COUNT: u32 = 50;

fn log_and_end(end: End) {
    log_numbers(COUNT);
    match end {
        End::Return => {}
        End::Panic => panic!("on purpose"),
        End::Abort => process::abort(),
        End::Kill => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
        End::Exit => process::exit(7),
        End::ExitAtOnce => raw::exit_at_once(),
    }
}

/// All of its records are there, as those of a process of this name.
fn assert_all_there(child: &Child, name: &str, end: End) {
    let status = child.wait().unwrap();
    match end {
        End::Return | End::ExitAtOnce => assert_eq!(status, ExitStatus::Exited(0)),
        End::Exit => assert_eq!(status, ExitStatus::Exited(7)),
        End::Panic => assert!(matches!(status, ExitStatus::Panicked(_)), "{status}"),
        End::Abort => assert!(matches!(status, ExitStatus::Signaled { .. }), "{status}"),
        End::Kill => assert!(matches!(status, ExitStatus::Signaled { signal: Signal::KILL, .. }), "{status}"),
    }
    let seen = seen();
    assert_eq!(messages(&seen, child.id()), numbers(COUNT), "{end:?} of {name}");
    let processes =
        seen.iter().filter(|seen| seen.pid == Some(child.id())).map(|seen| seen.process.as_deref());
    processes.for_each(|process| assert_eq!(process, Some(name)));
}

fn every_end_by_servers(zygote: &Zygote, template: &Template<End>) {
    for end in ENDS {
        let options = LaunchOptions::new().name("one with a name that ps can't show");
        let child = Launch::new(&options).start_in(zygote, log_and_end, &end).unwrap();
        assert_all_there(&child, "one with a name that ps can't show", end);
        assert_all_there(&template.start_with(&end).unwrap(), "template's", end);
    }
}

fn template() -> Template<End> {
    let options = LaunchOptions::new().name("template's");
    Launch::new(&options).template_with(log_and_end).unwrap()
}

fn fault_59_what_was_logged_before_a_death_arrives() -> Outcome {
    install();
    for end in ENDS {
        let options = LaunchOptions::new().name("forked");
        let child = Launch::new(&options).start(move || log_and_end(end)).unwrap();
        assert_all_there(&child, "forked", end);
    }
    every_end_by_servers(&zygote(), &template());
    Passed
}

fn fault_59_a_logger_that_came_after_the_servers_is_theirs() -> Outcome {
    let (zygote, template) = (zygote(), template());
    start_in(|()| (), &()).wait().unwrap();
    install();
    every_end_by_servers(&zygote, &template);
    Passed
}

/// Starts three children and logs; they log as well. Their ids.
fn family(_: ()) -> [u32; 3] {
    let options = LaunchOptions::new().name("a forked one with a long name");
    let forked = Launch::new(&options).start(|| log_numbers(COUNT)).unwrap();
    let options = LaunchOptions::new().name("a template's");
    let template = Launch::new(&options).template(|| log_numbers(COUNT)).unwrap();
    let of_template = template.start().unwrap();
    init().unwrap();
    let options = LaunchOptions::new().name("a zygote's one with a long name");
    let launch = Launch::new(&options);
    let of_zygote = launch.start_in(&Zygote::global(), |()| log_numbers(COUNT), &()).unwrap();
    log_numbers(COUNT);
    [&forked, &of_template, &of_zygote].map(|child| {
        child.wait().unwrap();
        child.id()
    })
}

fn fault_59_records_of_grandchildren_arrive() -> Outcome {
    init().unwrap();
    install();
    let options = LaunchOptions::new().name("child");
    let launch = Launch::new(&options);
    let children = [
        launch.start(|| family(())).unwrap(),
        launch.template(|| family(())).unwrap().start().unwrap(),
        launch.start_in(&Zygote::global(), family, &()).unwrap(),
    ];
    for child in children {
        let grandchildren = child.output::<[u32; 3]>().unwrap();
        let seen = seen();
        let names = ["a forked one with a long name", "a template's", "a zygote's one with a long name"];
        for (pid, name) in grandchildren.into_iter().zip(names).chain([(child.id(), "child")]) {
            assert_eq!(messages(&seen, pid), numbers(COUNT), "{name}");
            let mut of_it = seen.iter().filter(|seen| seen.pid == Some(pid));
            assert!(of_it.all(|seen| seen.process.as_deref() == Some(name)), "{name}");
        }
    }
    // One that outlives its parent goes on to log.
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        let survives = LaunchOptions::new().on_parent_death(ParentDeath::Survive).give(&there);
        let orphan = Launch::new(&survives).wait_until_ready(true).start(move || {
            there.recv().unwrap();
            log_numbers(COUNT);
            there.send(&process::id()).unwrap();
        });
        drop(orphan.unwrap());
    });
    child.unwrap().wait().unwrap();
    here.send(&()).unwrap();
    let orphan = here.recv().unwrap();
    assert_eq!(messages(&seen(), orphan), numbers(COUNT));
    assert!(proc::eventually(|| !proc::runs(orphan as i32)));
    Passed
}

fn fault_59_each_of_many_records_arrives_in_order() -> Outcome {
    install();
    let count = 10_000 * stress_factor();
    let children: Vec<_> = (0..8).map(|_| start(move || log_numbers(count))).collect();
    children.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    // A flush waits for some seconds only, which on a busy machine isn't enough for so many.
    proc::eventually(|| seen().len() as u32 >= 8 * count);
    let seen = so_far();
    assert_eq!(seen.len() as u32, 8 * count);
    for child in children {
        assert_eq!(messages(&seen, child.id()), numbers(count));
    }
    Passed
}

fn fault_59_a_preloads_records_arrive() -> Outcome {
    init().unwrap();
    install();
    let zygote = Zygote::with_preload(|()| log_numbers(COUNT), &()).unwrap();
    let child = Launch::new(&LaunchOptions::new()).start_in(&zygote, |()| log_numbers(COUNT), &()).unwrap();
    child.wait().unwrap();
    let seen = seen();
    assert_eq!(messages(&seen, child.id()), numbers(COUNT));
    assert_eq!(messages(&seen, zygote.id().unwrap()), numbers(COUNT));
    assert_eq!(seen[0].process.as_deref(), Some("mp-zygote"));
    Passed
}

fn a_record_arrives_as_it_was_made() -> Outcome {
    install();
    log::set_max_level(LevelFilter::Trace);
    let make = || {
        let line = line!() + 1;
        log::error!(target: "mine", text = "t", count = 3u8, half = 0.5, pid = 1, process = "init"; "all {}", 1);
        log::trace!("{}", "\u{e4}".repeat(50_000));
        line
    };
    let line = start(make).output::<u32>().unwrap();
    let seen = seen();
    let [all, long] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((all.level, long.level), (Level::Error, Level::Trace));
    assert_eq!((all.target.as_str(), all.message.as_str()), ("mine", "all 1"));
    assert_eq!(all.values, ["text=\"t\"", "count=3", "half=0.5"]);
    assert_eq!(all.place, (Some(module_path!().to_owned()), Some(file!().to_owned()), Some(line)));
    assert_eq!(long.target, module_path!());
    assert_eq!(long.message.matches('\u{e4}').count(), 24 * 1024);
    assert!(long.message.ends_with(&format!(" [cut: {} bytes]", 2 * (50_000 - 24 * 1024))));
    Passed
}

fn a_level_is_that_of_the_program() -> Outcome {
    init().unwrap();
    install();
    log::set_max_level(LevelFilter::Warn);
    let levels = |()| {
        log::info!("info");
        log::warn!("warning");
        log::error!("error");
        log::log_enabled!(Level::Info)
    };
    let children = [
        start(move || levels(())),
        start_in(levels, &()),
        Launch::new(&LaunchOptions::new()).template(move || levels(())).unwrap().start().unwrap(),
    ];
    for child in &children {
        assert!(!child.output::<bool>().unwrap());
        assert_eq!(messages(&seen(), child.id()), ["warning", "error"]);
    }
    // What the program wants no more it isn't handed.
    let (here, there) = Connection::<(), ()>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        there.recv().unwrap();
        levels(());
    });
    let child = child.unwrap();
    log::set_max_level(LevelFilter::Error);
    here.send(&()).unwrap();
    child.wait().unwrap();
    assert_eq!(messages(&seen(), child.id()), ["error"]);
    Passed
}

fn without_the_relay_nothing_changes() -> Outcome {
    let zygote = zygote();
    log::set_boxed_logger(Box::new(Collects)).unwrap();
    log::set_max_level(LevelFilter::Info);
    let log_and_count = || {
        log_numbers(3);
        so_far().len()
    };
    // A forked one has the copy of the logger, a zygote's none.
    assert_eq!(start(log_and_count).output::<usize>().unwrap(), 3);
    let of_zygote = Launch::new(&LaunchOptions::new()).start_in(&zygote, |()| log::max_level() as usize, &());
    assert_eq!(of_zygote.unwrap().output::<usize>().unwrap(), LevelFilter::Off as usize);
    assert_eq!(seen(), []);
    assert!(matches!(logging::install(Box::new(Collects)), Err(InstallError::AnotherLogger(_))));
    Passed
}

fn a_copy_of_the_program_logs_for_itself() -> Outcome {
    install();
    log::info!("before");
    let (here, there) = Connection::<(), ()>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        log_numbers(COUNT);
        there.recv().unwrap();
        log_numbers(COUNT);
    });
    let child = child.unwrap();
    // With a relay that runs, but not while the logger has locked what the copy needs.
    assert!(proc::eventually(|| seen().len() as u32 == COUNT + 1));
    let copy = raw::fork(|| {
        log::info!("in the copy");
        let own = start(|| log_numbers(COUNT));
        own.wait().unwrap();
        let seen = seen();
        assert_eq!(messages(&seen, own.id()), numbers(COUNT));
        assert!(seen.iter().any(|seen| seen.message == "in the copy" && seen.pid.is_none()));
        raw::c_exit(3)
    });
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
    assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 3)), "{status:?}");
    here.send(&()).unwrap();
    child.wait().unwrap();
    let seen = seen();
    assert_eq!(messages(&seen, child.id()), [numbers(COUNT), numbers(COUNT)].concat());
    assert_eq!(seen.len() as u32, 2 * COUNT + 1);
    // A copy of a child is another process of the same name.
    let child = Launch::new(&LaunchOptions::new().name("copied")).start(|| {
        let copy = raw::fork(|| {
            log_numbers(COUNT);
            0
        });
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
        copy as u32
    });
    let copy = child.unwrap().output::<u32>().unwrap();
    let seen = crate::logs::collector::seen();
    assert_eq!(messages(&seen, copy), numbers(COUNT));
    assert_eq!(seen.last().unwrap().process.as_deref(), Some("copied"));
    Passed
}

fn a_program_has_one_logger() -> Outcome {
    install();
    let again = || matches!(logging::install(Box::new(Collects)), Err(InstallError::Installed));
    assert!(again());
    // Nor has a child another one.
    assert!(start(again).output::<bool>().unwrap());
    assert!(
        start_in(|()| matches!(logging::install(Box::new(Collects)), Err(InstallError::Installed)), &())
            .output::<bool>()
            .unwrap()
    );
    assert_eq!(seen(), []);
    Passed
}
