//! What a child says while it runs: that it is ready, that it gets on; and what it is called.

use std::ffi::OsString;
use std::time::Duration;

use common_ipc::process::{
    self, Child, ExitStatus, Launch, LaunchOptions, Readiness, Resource, StartError, Zygote,
};
use integration_tests::{proc, raw};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    a_child_says_when_it_is_ready,
    fault_26_whoever_waits_for_readiness_hears_of_the_end,
    readiness_comes_from_templates_and_zygotes,
    a_child_that_is_about_to_run_can_have_said_so,
    progress_is_heard_once,
    progress_leaves_room_for_the_output,
    progress_of_many_threads_leaves_room_for_the_output,
    a_child_that_is_forked_beside_who_asks_for_its_name_begins,
    a_child_knows_its_name,
);

const LONG: Duration = Duration::from_secs(60);

fn a_child_says_when_it_is_ready() -> Outcome {
    let (reader, mut writer) = common_ipc::link::pipe().unwrap();
    let options = LaunchOptions::new().give(&reader);
    let child = Launch::new(&options)
        .start(move || {
            let mut reader = reader;
            let mut byte = [0];
            std::io::Read::read_exact(&mut reader, &mut byte).unwrap();
            process::ready();
            process::ready();
            std::io::Read::read_exact(&mut reader, &mut byte).unwrap();
            vec![7u8; 4000]
        })
        .unwrap();
    assert_eq!(child.wait_ready(Duration::from_millis(20)).unwrap(), Readiness::NotYet);
    assert!(!child.is_ready().unwrap());
    std::io::Write::write_all(&mut writer, b"a").unwrap();
    assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ready);
    assert_eq!(child.wait_ready(Duration::ZERO).unwrap(), Readiness::Ready);
    std::io::Write::write_all(&mut writer, b"a").unwrap();
    // Its output is there for the one who waits for readiness a moment too late, and for all others.
    assert!(proc::eventually(|| proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'Z')));
    assert!(child.is_ready().unwrap());
    assert_eq!(child.output::<Vec<u8>>().unwrap(), [7; 4000]);
    assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ready);
    // In the program itself it is nothing.
    process::ready();
    process::progress();
    Passed
}

fn fault_26_whoever_waits_for_readiness_hears_of_the_end() -> Outcome {
    let bodies: [fn() -> i32; 4] = [
        || 5,
        || panic!("on purpose"),
        || std::process::exit(3),
        || {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
            0
        },
    ];
    for (place, body) in bodies.into_iter().enumerate() {
        let child = start(body);
        assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ended);
        assert!(!child.is_ready().unwrap());
        match place {
            // What the wait for readiness received isn't lost.
            0 => assert_eq!(child.output::<i32>().unwrap(), 5),
            1 => assert!(matches!(child.wait().unwrap(), ExitStatus::Panicked(_))),
            2 => assert_eq!(child.wait().unwrap(), ExitStatus::Exited(3)),
            _ => assert!(child.wait().unwrap().signal().is_some()),
        }
    }
    // A set-up that fails is heard by the start, as ever.
    let failed = Launch::new(&LaunchOptions::new().cwd("/nowhere")).start(process::ready).unwrap_err();
    assert!(matches!(failed, StartError::Setup { .. }), "{failed}");
    Passed
}

fn from_everywhere(options: &LaunchOptions, body: fn(())) -> [Child; 3] {
    launched_from_everywhere(&Launch::new(options), body)
}

fn launched_from_everywhere(launch: &Launch<'_>, body: fn(())) -> [Child; 3] {
    process::init().unwrap();
    let template = launch.template(move || body(())).unwrap();
    [
        launch.start(|| body(())).unwrap(),
        template.start().unwrap(),
        launch.start_in(&Zygote::global(), body, &()).unwrap(),
    ]
}

fn readiness_comes_from_templates_and_zygotes() -> Outcome {
    let children = from_everywhere(&LaunchOptions::new(), |()| {
        process::ready();
        sleep_for_long();
    });
    for child in &children {
        assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ready);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn a_child_that_is_about_to_run_can_have_said_so() -> Outcome {
    // With and without a start that waits for the same.
    for options in [LaunchOptions::new(), LaunchOptions::new().nice(1)] {
        for wait in [false, true] {
            let launch = Launch::new(&options).announce_ready(true).wait_until_ready(wait);
            for child in launched_from_everywhere(&launch, |()| sleep_for_long()) {
                assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ready);
                child.kill().unwrap();
                child.wait().unwrap();
            }
            // One that has nothing of the kind to say isn't.
            let launch = Launch::new(&options).wait_until_ready(wait);
            for child in launched_from_everywhere(&launch, |()| sleep_for_long()) {
                assert_eq!(child.wait_ready(Duration::from_millis(5)).unwrap(), Readiness::NotYet);
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }
    // A hook after the fork that ends the child does so before.
    process::after_fork(|| std::process::exit(9));
    let child = Launch::new(&LaunchOptions::new()).announce_ready(true).start(|| ()).unwrap();
    assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ended);
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(9));
    Passed
}

fn progress_is_heard_once() -> Outcome {
    let children = from_everywhere(&LaunchOptions::new(), |()| {
        process::progress();
        process::ready();
        sleep_for_long();
    });
    for child in &children {
        assert_eq!(child.wait_ready(LONG).unwrap(), Readiness::Ready);
        assert!(child.progressed().unwrap());
        assert!(!child.progressed().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let busy = start(|| -> () {
        loop {
            process::progress();
        }
    });
    for _ in 0..20 {
        assert!(proc::eventually(|| busy.progressed().unwrap()));
    }
    busy.kill().unwrap();
    busy.wait().unwrap();
    Passed
}

fn progress_leaves_room_for_the_output() -> Outcome {
    // Nobody listens.
    let child = start(|| {
        for _ in 0..5000 {
            process::progress();
            std::thread::sleep(Duration::from_micros(20));
        }
        process::ready();
        "whole".repeat(1000)
    });
    assert_eq!(child.output::<String>().unwrap(), "whole".repeat(1000));
    assert!(child.progressed().unwrap() && child.is_ready().unwrap());
    Passed
}

fn a_child_knows_its_name() -> Outcome {
    process::init().unwrap();
    for name in ["short", "fifteen--------", "sixteen---------", "much longer than the kernel keeps"] {
        let options = LaunchOptions::new().name(name).limit(Resource::Core, 0, 0);
        let launch = Launch::new(&options);
        let template = launch.template(process::current_name).unwrap();
        let children = [
            launch.start(process::current_name).unwrap(),
            template.start().unwrap(),
            launch.start_in(&Zygote::global(), |()| process::current_name(), &()).unwrap(),
        ];
        for child in children {
            assert_eq!(child.output::<Option<OsString>>().unwrap().unwrap(), *name);
        }
    }
    // A child's child has its own.
    let options = LaunchOptions::new().name("a parent with a long name");
    let names = Launch::new(&options).start(|| {
        let options = LaunchOptions::new().name("a parent");
        let child = Launch::new(&options).start(process::current_name).unwrap();
        child.output::<Option<OsString>>().unwrap().unwrap()
    });
    assert_eq!(names.unwrap().output::<OsString>().unwrap(), "a parent");
    let options = LaunchOptions::new();
    let child = Launch::new(&options).kind("a-kind-with-a-long-name").start(process::current_name).unwrap();
    assert_eq!(child.output::<Option<OsString>>().unwrap().unwrap(), child.name());
    assert_eq!(process::current_name(), None);
    Passed
}

fn progress_of_many_threads_leaves_room_for_the_output() -> Outcome {
    for _ in 0..20 {
        let child = start(|| {
            let begin = std::sync::Barrier::new(100);
            std::thread::scope(|scope| {
                for _ in 0..100 {
                    scope.spawn(|| {
                        begin.wait();
                        process::progress();
                    });
                }
            });
            7
        });
        assert_eq!(child.output::<i32>().unwrap(), 7);
        assert!(child.progressed().unwrap());
    }
    Passed
}

fn a_child_that_is_forked_beside_who_asks_for_its_name_begins() -> Outcome {
    let child = start(|| {
        raw::allow_forks();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::black_box(process::current_name());
                    }
                });
            }
            let options = LaunchOptions::new().name("a name that is longer than ps shows");
            let mut begun = 0;
            for _ in 0..1000 {
                let child = Launch::new(&options).start(process::current_name).unwrap();
                let Some(name) = child.output_timeout::<Option<OsString>>(LONG).unwrap() else {
                    child.kill().unwrap();
                    break;
                };
                assert_eq!(name.unwrap(), "a name that is longer than ps shows");
                begun += 1;
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            begun
        })
    });
    assert_eq!(child.output::<i32>().unwrap(), 1000);
    Passed
}
