//! Children of a zygote: like forked ones in every respect, and beside threads.

use std::path::PathBuf;
use std::process::id;
use std::time::Duration;

use common_ipc::process::{
    self, Child, ExitStatus, JoinError, Launch, LaunchOptions, Signal, StartError, StopStep, WrongProcess,
    Zygote, active_children,
};
use integration_tests::{proc, raw, stress_factor};

use crate::Outcome::{self, Passed};
use crate::processes::children::{self, sleep_for_long};
use crate::servers::{Both, server, start_in, template, zygote};

scenarios!(
    a_zygotes_child_has_none_of_its_servers_memory,
    fault_03_a_zygotes_child_has_only_what_it_was_sent,
    fault_04_a_zygotes_child_has_default_signals,
    fault_07_a_zygote_is_wrong_process_in_a_forked_child,
    fault_08_a_panic_of_a_zygotes_child_is_told,
    fault_10_a_zygotes_child_is_as_small_as_ever,
    fault_12_starts_leave_the_servers_as_they_were,
    fault_17_dropped_handles_of_a_zygotes_children_leave_no_zombies,
    fault_20_codes_and_signals_of_a_zygotes_children_are_told_apart,
    fault_22_each_callback_for_a_zygotes_child_is_called_once,
    a_zygotes_child_can_fork_and_have_a_zygote,
    a_zygotes_child_is_stopped_in_every_way,
    a_zygotes_child_is_the_programs_own,
    threads_start_from_one_zygote_at_once,
);

fn me() -> i32 {
    id() as i32
}

type Open = Vec<(i32, PathBuf)>;

fn fault_03_a_zygotes_child_has_only_what_it_was_sent() -> Outcome {
    // As careless code opens them: without close-on-exec, below and above what the library has.
    let careless = || {
        let file = std::fs::File::open("/etc/passwd").unwrap();
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        file
    };
    let before: Vec<_> = (0..50).map(|_| careless()).collect();
    zygote();
    let after: Vec<_> = (0..50).map(|_| careless()).collect();
    let event = common_ipc::sync::Event::new().unwrap();
    let look = |_: Option<common_ipc::sync::Event>| proc::descriptors(me());
    for sent in [None, Some(event)] {
        let open: Open = start_in(look, &sent).output().unwrap();
        let others: Vec<_> =
            open.iter().filter(|fd| fd.0 > 2).map(|fd| fd.1.to_string_lossy().into_owned()).collect();
        let count = |start: &str| others.iter().filter(|target| target.starts_with(start)).count();
        // Its link, and the library's socket that is always ready.
        assert_eq!((count("socket:"), count("/dev/null")), (2, 1), "{open:?}");
        assert_eq!(count("/memfd:"), usize::from(sent.is_some()), "{open:?}");
        assert_eq!(others.len(), 3 + usize::from(sent.is_some()), "{open:?}");
    }
    assert!(proc::descriptors(me()).len() > before.len() + after.len());
    Passed
}

extern "C" fn nothing(_: i32) {}

fn fault_04_a_zygotes_child_has_default_signals() -> Outcome {
    use nix::sys::signal::{SigSet, Signal};
    fn signals(_: ()) -> [String; 3] {
        ["SigBlk", "SigIgn", "SigCgt"].map(|field| proc::status_field(me(), field))
    }
    // Rust's runtime handles SIGSEGV and SIGBUS, and ignores SIGPIPE, as in any process of this program.
    let fresh: [String; 3] = start_in(signals, &()).output().unwrap();
    assert_eq!(fresh[0], "0000000000000000");
    raw::handle_signal(Signal::SIGUSR1, nothing);
    raw::handle_signal(Signal::SIGTERM, nothing);
    raw::ignore_signal(Signal::SIGUSR2, true);
    SigSet::all().thread_block().unwrap();
    let own = signals(());
    assert!(own.iter().zip(&fresh).all(|(own, fresh)| own != fresh), "{own:?}");
    assert_eq!(start_in(signals, &()).output::<[String; 3]>().unwrap(), fresh);
    SigSet::all().thread_unblock().unwrap();
    Passed
}

fn fault_07_a_zygote_is_wrong_process_in_a_forked_child() -> Outcome {
    let zygote = zygote();
    start_in(|()| (), &()).output::<()>().unwrap();
    let child = children::start(|| {
        let error = Launch::new(&LaunchOptions::new()).start_in(&zygote, |()| (), &()).unwrap_err();
        assert!(matches!(error, StartError::WrongProcess(WrongProcess)), "{error:?}");
        // Its own it would have to make possible itself.
        let error = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| (), &()).unwrap_err();
        assert!(matches!(error, StartError::NotInitialised), "{error:?}");
        assert_eq!(zygote.id(), None);
    });
    child.output::<()>().unwrap();
    // As daemons are made, by a fork that the library knows nothing of: it can have a keeper of its own.
    let stranger = raw::fork(|| {
        let start = || Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| 1, &());
        let refused = matches!(start(), Err(StartError::NotInitialised));
        process::init().unwrap();
        i32::from(!(refused && start().unwrap().output::<i32>().unwrap() == 1))
    });
    let stranger = nix::unistd::Pid::from_raw(stranger);
    let status = nix::sys::wait::waitpid(stranger, None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(stranger, 0));
    // The copy's end was of no consequence to what it is a copy of.
    assert_eq!(start_in(|()| 1, &()).output::<i32>().unwrap(), 1);
    Passed
}

fn fault_08_a_panic_of_a_zygotes_child_is_told() -> Outcome {
    let child = start_in::<_, ()>(|word: String| panic!("told {word}"), &"on purpose".to_owned());
    let error = child.output::<()>().unwrap_err();
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!((report.message.as_str(), report.thread.as_str()), ("told on purpose", "main"));
    assert!(report.location.contains("zygotes.rs:"), "{report:?}");
    assert_eq!(child.wait().unwrap(), ExitStatus::Panicked(report.clone()));
    Passed
}

fn fault_10_a_zygotes_child_is_as_small_as_ever() -> Outcome {
    const MIB: usize = 256;
    fn page_tables(_: ()) -> u64 {
        proc::status_field(me(), "VmPTE").split_whitespace().next().unwrap().parse().unwrap()
    }
    let small: u64 = start_in(page_tables, &()).output().unwrap();
    // A fork copies the page tables of all that: 2 KiB for each MiB.
    let large = raw::memory_in_small_pages(MIB << 20);
    let forked: u64 = children::start(|| page_tables(())).output().unwrap();
    let started: u64 = start_in(page_tables, &()).output().unwrap();
    std::hint::black_box(&large);
    assert!(forked >= small + MIB as u64, "{forked} KiB of page tables: the test proves nothing");
    assert!(started <= small + 16, "{started} KiB of page tables where {small} were enough");
    Passed
}

fn fault_12_starts_leave_the_servers_as_they_were() -> Outcome {
    let both = Both::new(|()| 1u8);
    let missing = LaunchOptions::new().cwd("/does/not/exist");
    let round = || {
        assert_eq!(both.outputs(), [1, 1]);
        let event = common_ipc::sync::Event::new().unwrap();
        let set = |(event, _): (common_ipc::sync::Event, Vec<u8>)| event.set();
        start_in(set, &(event.clone(), vec![1; 5000])).output::<()>().unwrap();
        assert!(event.is_set());
        let failed = Launch::new(&missing).start_in(&zygote(), |()| (), &());
        assert!(matches!(failed, Err(StartError::Setup { .. })), "{failed:?}");
    };
    for _ in 0..200 {
        round();
    }
    let all =
        [me(), both.template().id() as i32, zygote().id().unwrap() as i32, server("mp-keeper").unwrap()];
    let looked_at = || all.map(|pid| (proc::descriptors(pid), proc::resident_kib_of(pid)));
    // A server closes what has come with a request when its child is on its way already.
    std::thread::sleep(Duration::from_millis(100));
    let before = looked_at();
    for _ in 0..1000 * stress_factor() {
        round();
    }
    for (place, (before, after)) in before.into_iter().zip(looked_at()).enumerate() {
        let name = proc::name(all[place]);
        let as_before = || proc::descriptors(all[place]).len() == before.0.len();
        assert!(proc::eventually(as_before), "{name}: {before:?} and {after:?}");
        assert!(after.1 < before.1 + 1024, "{name} grew from {} to {} KiB", before.1, after.1);
    }
    Passed
}

fn fault_17_dropped_handles_of_a_zygotes_children_leave_no_zombies() -> Outcome {
    for round in 0..200 * stress_factor() {
        let child = start_in(
            |late: bool| {
                if late {
                    std::thread::sleep(Duration::from_millis(1));
                }
            },
            &(round % 2 == 0),
        );
        drop(child);
    }
    // Nobody asks the library, which would have it look.
    let servers = ["mp-keeper", "mp-zygote"].map(server);
    let others =
        || proc::children(me()).into_iter().filter(|child| !servers.contains(&Some(child.pid))).count();
    assert!(proc::eventually(|| others() == 0), "{:?}", proc::children(me()));
    assert!(active_children().is_empty());
    Passed
}

fn fault_20_codes_and_signals_of_a_zygotes_children_are_told_apart() -> Outcome {
    for code in [0, 1, 7, 255] {
        let status = start_in::<_, ()>(|code: i32| std::process::exit(code), &code).wait().unwrap();
        assert_eq!(status, ExitStatus::Exited(code));
        assert_eq!((status.code(), status.signal(), status.success()), (Some(code), None, code == 0));
    }
    for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1, libc::SIGHUP, 40] {
        let signal = Signal::from_raw(number).unwrap();
        let child = start_in(|()| sleep_for_long(), &());
        child.signal(signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status, ExitStatus::Signaled { signal, core_dumped: false });
    }
    Passed
}

fn fault_22_each_callback_for_a_zygotes_child_is_called_once() -> Outcome {
    let (sender, receiver) = std::sync::mpsc::channel();
    let children: Vec<_> = (0..20)
        .map(|code| {
            let child = start_in::<_, ()>(|code: i32| std::process::exit(code), &code);
            for place in 0..2 {
                let sender = sender.clone();
                let tell =
                    move |exit: &process::Exit| sender.send((code, place, exit.status.code())).unwrap();
                child.on_exit(tell).unwrap();
            }
            child
        })
        .collect();
    assert!(process::join_callbacks(Some(Duration::from_secs(20))));
    drop((children, sender));
    let mut told: Vec<_> = receiver.iter().collect();
    told.sort_unstable();
    let expected: Vec<_> = (0..20).flat_map(|code| [(code, 0, Some(code)), (code, 1, Some(code))]).collect();
    assert_eq!(told, expected);
    Passed
}

fn a_zygotes_child_can_fork_and_have_a_zygote() -> Outcome {
    let outer = start_in(
        |depth: u32| {
            let forked = children::start(nix_parent);
            assert_eq!(forked.output::<u32>().unwrap(), id());
            let error = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |()| (), &());
            assert!(matches!(error, Err(StartError::NotInitialised)), "{error:?}");
            assert!(active_children().is_empty());
            let inner = start_in(|(): ()| nix_parent(), &());
            assert_eq!(inner.output::<u32>().unwrap(), id());
            (depth, Zygote::global().id().unwrap())
        },
        &7,
    );
    let (depth, inner): (u32, u32) = outer.output().unwrap();
    assert_eq!(depth, 7);
    assert_ne!(Some(inner), zygote().id());
    assert!(proc::eventually(|| !proc::runs(inner as i32)), "its zygote is no business of ours, and gone");
    Passed
}

fn nix_parent() -> u32 {
    nix::unistd::getppid().as_raw() as u32
}

fn a_zygotes_child_is_the_programs_own() -> Outcome {
    let child = start_in(|number: u64| (number * 7, id(), nix_parent(), proc::name(me())), &6);
    let (product, pid, parent, name): (u64, u32, u32, String) = child.output().unwrap();
    assert_eq!((product, pid, parent), (42, child.id(), id()));
    assert_eq!(child.name().to_str(), Some(name.as_str()));
    let template = Launch::new(&LaunchOptions::new()).template(sleep_for_long).unwrap();
    let (one, other) = (start_in(|()| sleep_for_long(), &()), template.start().unwrap());
    // Neither the keeper nor the zygote nor the template.
    let listed: Vec<u32> = active_children().iter().map(Child::id).collect();
    assert_eq!(listed, [one.id(), other.id()]);
    assert_eq!(server("mp-zygote"), Some(zygote().id().unwrap() as i32));
    assert!(server("mp-keeper").is_some());
    for child in [one, other] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn a_zygotes_child_is_stopped_in_every_way() -> Outcome {
    let killed = start_in(|()| sleep_for_long(), &());
    assert!(killed.is_alive().unwrap());
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().signal(), Some(Signal::KILL));
    let polite = start_in(|()| sleep_for_long(), &());
    let stopped = polite.stop(Duration::from_secs(20)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));
    let (here, there) = common_ipc::link::Connection::<(), ()>::pair().unwrap();
    let stubborn = start_in(
        |there: common_ipc::link::Connection<(), ()>| {
            raw::ignore_signal(nix::sys::signal::Signal::SIGTERM, true);
            there.send(&()).unwrap();
            sleep_for_long();
        },
        &there,
    );
    here.recv().unwrap();
    assert_eq!(stubborn.stop(Duration::from_millis(20)).unwrap().by, StopStep::Killed);
    let ended = start_in(|()| 1, &());
    ended.wait().unwrap();
    assert_eq!(ended.stop(Duration::ZERO).unwrap().by, StopStep::HadEnded);
    assert_eq!(ended.output::<i32>().unwrap(), 1);
    Passed
}

fn threads_start_from_one_zygote_at_once() -> Outcome {
    zygote();
    let each = 50 * stress_factor();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            scope.spawn(move || {
                for round in 0..each {
                    let argument = (thread, round, "x".repeat(round as usize % 50 * 200));
                    let run = |(thread, round, text): (u32, u32, String)| (thread, round, text.len(), id());
                    let child = start_in(run, &argument);
                    let output: (u32, u32, usize, u32) = child.output().unwrap();
                    assert_eq!(output, (thread, round, argument.2.len(), child.id()));
                }
            });
        }
    });
    assert!(active_children().is_empty());
    Passed
}

fn a_zygotes_child_has_none_of_its_servers_memory() -> Outcome {
    // Where the kernel writes the numbers of children: a child could have the program take another one for it.
    let has = |maps: &str| maps.contains("memfd:births");
    let maps = |()| std::fs::read_to_string("/proc/self/maps").unwrap();
    zygote();
    assert!(has(&maps(())), "the program has it");
    assert!(!has(&start_in(maps, &()).output::<String>().unwrap()));
    let by_template = template(move || maps(()));
    assert!(!has(&by_template.start().unwrap().output::<String>().unwrap()));
    Passed
}
