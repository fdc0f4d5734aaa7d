//! What a zygote does before its first child: loads, fails, and leaves traces.

use std::process::id;

use common_ipc::process::{ExitStatus, Launch, LaunchOptions, Refusal, Signal, StartError, Zygote};
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome::{self, Passed};
use crate::processes::children;
use crate::servers::faults::assert_unharmed;
use crate::servers::{start_in, zygote};

scenarios!(
    a_hook_after_a_fork_is_not_for_servers,
    a_preload_with_threads_is_refused_before_it_is_undone,
    fault_12_a_zygote_without_descriptors_is_a_typed_error,
    fault_26_a_preload_that_ends_is_an_error_of_the_start,
    a_long_report_of_a_preload_arrives,
    a_preload_changes_nothing_of_its_childrens_state,
    a_preload_may_start_children,
    a_preload_that_leaves_threads_is_refused,
    what_a_preload_loads_its_children_have,
);

fn fault_12_a_zygote_without_descriptors_is_a_typed_error() -> Outcome {
    zygote();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let full = Zygote::with_preload(
        |()| std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).for_each(std::mem::forget),
        &(),
    );
    let full = full.unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let event = Event::new().unwrap();
    for _ in 0..3 {
        let error = Launch::new(&LaunchOptions::new())
            .start_in(&full, |event: Event| event.set(), &event)
            .unwrap_err();
        let StartError::Os { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{error}");
    }
    assert!(!event.is_set() && full.id().is_some());
    assert_unharmed(None);
    Passed
}

fn fault_26_a_preload_that_ends_is_an_error_of_the_start() -> Outcome {
    zygote();
    let error = Zygote::with_preload(|code: i32| std::process::exit(code), &3).unwrap_err();
    assert!(matches!(error, StartError::EndedEarly { status: ExitStatus::Exited(3) }), "{error:?}");
    let die = |()| nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    let error = Zygote::with_preload(die, &()).unwrap_err();
    let StartError::EndedEarly { status } = &error else { panic!("{error:?}") };
    assert_eq!(status.signal(), Some(Signal::KILL));
    assert_unharmed(None);
    Passed
}

fn a_preload_changes_nothing_of_its_childrens_state() -> Outcome {
    use nix::sys::signal::{SigSet, Signal};
    type Seen = (std::path::PathBuf, Vec<(String, String)>, [String; 4]);
    fn seen(_: ()) -> Seen {
        let mut all: Vec<_> = std::env::vars().collect();
        all.sort();
        let fields = ["Umask", "SigBlk", "SigIgn", "SigCgt"];
        let status = fields.map(|field| proc::status_field(id() as i32, field));
        (std::env::current_dir().unwrap(), all, status)
    }
    extern "C" fn nothing(_: i32) {}
    let by_global: Seen = start_in(seen, &()).output().unwrap();
    let messy = Zygote::with_preload(
        |()| {
            std::env::set_current_dir("/").unwrap();
            raw::set_env("PATH", None::<&str>);
            raw::set_env("OF_THE_PRELOAD", Some("x"));
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
            raw::ignore_signal(Signal::SIGUSR1, true);
            raw::handle_signal(Signal::SIGTERM, nothing);
            SigSet::all().thread_block().unwrap();
            let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
            setrlimit(Resource::RLIMIT_CORE, 0, hard).unwrap();
        },
        &(),
    );
    let child = Launch::new(&LaunchOptions::new()).start_in(&messy.unwrap(), seen, &()).unwrap();
    assert_ne!(by_global.0, std::path::PathBuf::from("/"));
    assert_eq!(child.output::<Seen>().unwrap(), by_global);
    if nix::unistd::geteuid().is_root() {
        let drop = |()| nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
        let error = Zygote::with_preload(drop, &()).unwrap_err();
        assert!(matches!(error, StartError::Argument { .. }), "{error:?}");
        assert!(error.to_string().contains("user ids"), "{error}");
    }
    Passed
}

fn a_preload_that_leaves_threads_is_refused() -> Outcome {
    zygote();
    let error = Zygote::with_preload(
        |count: u32| (0..count).for_each(|_| drop(std::thread::spawn(children::sleep_for_long))),
        &2,
    );
    let error = error.unwrap_err();
    assert!(matches!(error, StartError::Refused(Refusal::ThreadsOfPreload { count: 2 })), "{error:?}");
    // Those that it has joined are no matter.
    let joined = |()| (0..4).for_each(|_| std::thread::spawn(|| ()).join().unwrap());
    for _ in 0..20 {
        Zygote::with_preload(joined, &()).unwrap();
    }
    Passed
}

fn what_a_preload_loads_its_children_have() -> Outcome {
    use std::io::Read;
    use std::sync::{Mutex, OnceLock};
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    static FILE: Mutex<Option<std::fs::File>> = Mutex::new(None);
    zygote();
    let words: Vec<String> = (0..50_000).map(|number| format!("word {number}")).collect();
    let loaded = Zygote::with_preload(
        |words: Vec<String>| {
            WORDS.set(words).unwrap();
            *FILE.lock().unwrap() = std::fs::File::open("/proc/version").ok();
        },
        &words,
    );
    let loaded = loaded.unwrap();
    let run = |place: usize| {
        let mut text = String::new();
        FILE.lock().unwrap().take().unwrap().read_to_string(&mut text).unwrap();
        (WORDS.get().unwrap()[place].clone(), text)
    };
    let (word, text): (String, String) =
        Launch::new(&LaunchOptions::new()).start_in(&loaded, run, &49_999).unwrap().output().unwrap();
    assert_eq!(word, "word 49999");
    assert!(text.contains("Linux"), "{text}");
    assert!(WORDS.get().is_none(), "not here");
    assert!(start_in(|()| WORDS.get().is_none(), &()).output::<bool>().unwrap());
    let pid = loaded.id().unwrap() as i32;
    let also = loaded.clone();
    drop(loaded);
    assert!(proc::runs(pid));
    drop(also);
    assert!(proc::eventually(|| !proc::runs(pid)));
    Passed
}

fn a_preload_may_start_children() -> Outcome {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MADE_BY: AtomicU32 = AtomicU32::new(0);
    static SLEEPER: AtomicU32 = AtomicU32::new(0);
    zygote();
    let made = Zygote::with_preload(
        |()| {
            assert_eq!(children::start(|| 5).output::<i32>().unwrap(), 5);
            MADE_BY.store(id(), Ordering::Relaxed);
            // This one is left running; the drop of its handle would start the thread that looks after it.
            let sleeper = children::start(children::sleep_for_long);
            SLEEPER.store(sleeper.id(), Ordering::Relaxed);
            std::mem::forget(sleeper);
        },
        &(),
    );
    let made = made.unwrap();
    let run = |()| {
        let own = children::start(id);
        let listed: Vec<u32> =
            common_ipc::process::active_children().iter().map(|child| child.id()).collect();
        assert!(listed.iter().all(|listed| *listed == own.id()), "the zygote's children aren't its own");
        own.output::<u32>().unwrap();
        (MADE_BY.load(Ordering::Relaxed), SLEEPER.load(Ordering::Relaxed))
    };
    for _ in 0..5 {
        let child = Launch::new(&LaunchOptions::new()).start_in(&made, run, &()).unwrap();
        let (by, sleeper): (u32, u32) = child.output().unwrap();
        assert_eq!(Some(by), made.id());
        assert!(proc::runs(sleeper as i32), "it is no business of its siblings'");
        assert_eq!(proc::stat(sleeper as i32).unwrap().parent, by as i32);
    }
    let sleeper: u32 = Launch::new(&LaunchOptions::new())
        .start_in(&made, |()| SLEEPER.load(Ordering::Relaxed), &())
        .unwrap()
        .output()
        .unwrap();
    drop(made);
    assert!(proc::eventually(|| !proc::runs(sleeper as i32)), "it dies with its parent");
    Passed
}

fn a_long_report_of_a_preload_arrives() -> Outcome {
    zygote();
    // Or a short one, with a backtrace.
    let error = Zygote::with_preload(|()| panic!("{}", "a long story ".repeat(1000)), &()).unwrap_err();
    let StartError::EndedEarly { status: ExitStatus::Panicked(report) } = &error else { panic!("{error:?}") };
    assert!(report.message.starts_with("a long story"), "{report:?}");
    Passed
}

fn a_preload_with_threads_is_refused_before_it_is_undone() -> Outcome {
    zygote();
    for _ in 0..10 {
        // What would be undone is what the threads are reading.
        let preload = |()| {
            for n in 0..300 {
                raw::set_variable(&format!("PRELOADED_{n}"), "x");
            }
            for _ in 0..2 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::black_box(std::env::vars_os().count());
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let error = Zygote::with_preload(preload, &()).unwrap_err();
        assert!(matches!(error, StartError::Refused(Refusal::ThreadsOfPreload { .. })), "{error:?}");
    }
    Passed
}

fn a_hook_after_a_fork_is_not_for_servers() -> Outcome {
    static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    common_ipc::process::after_fork(|| {
        // In a server it would begin again, and its threads would be none of the children's.
        RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let runs = |()| RUNS.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(crate::servers::start_in(runs, &()).output::<u32>().unwrap(), 1);
    let template = crate::servers::template(move || runs(()));
    assert_eq!(template.start().unwrap().output::<u32>().unwrap(), 1);
    Passed
}
