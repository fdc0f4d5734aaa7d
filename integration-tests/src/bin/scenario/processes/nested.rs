//! Children that are parents themselves.

use std::sync::atomic::{AtomicU32, Ordering};

use common_ipc::link::pipe;
use common_ipc::process::{Child, ChildError, JoinError, Launch, LaunchOptions, PanicReport, StartError};
use integration_tests::{proc, raw, stress_factor};
use offspring::Subprocess;

use crate::Outcome::{self, Passed};
use crate::processes::children::start;

scenarios!(
    grandchildren_are_children_of_the_child,
    a_panic_at_any_depth_is_told_where_it_happened,
    the_panic_hook_of_the_program_is_as_it_was,
    a_grandchild_cannot_speak_for_its_parent,
    an_end_of_the_parents_is_no_stream_for_a_grandchild,
    a_task_is_not_its_own_handle,
    what_a_child_opens_is_not_taken_for_the_librarys,
    a_process_forked_by_others_can_use_the_library,
);

fn panic_of(child: &Child) -> PanicReport {
    match child.output::<()>() {
        Err(JoinError::Panicked(report)) => (*report).clone(),
        other => panic!("{other:?}"),
    }
}

fn grandchildren_are_children_of_the_child() -> Outcome {
    let child = start(|| {
        let inner = start(|| start(std::process::id).output::<u32>().unwrap());
        (std::process::id(), inner.id(), inner.output::<u32>().unwrap())
    });
    let (one, two, three) = child.output::<(u32, u32, u32)>().unwrap();
    assert_eq!(one, child.id());
    assert!(one != two && two != three);
    Passed
}

fn a_panic_at_any_depth_is_told_where_it_happened() -> Outcome {
    let child = start::<()>(|| {
        let inner = start::<()>(|| {
            let innermost = panic_of(&start::<()>(|| panic!("at depth three")));
            assert_eq!(innermost.message, "at depth three");
            assert!(innermost.location.contains("nested.rs"));
            panic!("at depth two");
        });
        let inner = panic_of(&inner);
        assert_eq!(inner.message, "at depth two");
        assert!(inner.location.contains("nested.rs"));
        panic!("at depth one");
    });
    let report = panic_of(&child);
    assert_eq!(report.message, "at depth one");
    assert!(report.location.contains("nested.rs"));
    Passed
}

fn the_panic_hook_of_the_program_is_as_it_was() -> Outcome {
    static PASSED_ON: AtomicU32 = AtomicU32::new(0);
    std::panic::set_hook(Box::new(|_| {
        PASSED_ON.fetch_add(1, Ordering::Relaxed);
    }));
    // In the child the hook is called as well: once for each of its own panics.
    let child = start(|| {
        for round in 1..=2 {
            panic_of(&start::<()>(|| panic!("not this process's")));
            assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
            assert_eq!(PASSED_ON.load(Ordering::Relaxed), round);
        }
        // A hook of the child's own is passed on to in the grandchild, and stays in the child.
        std::panic::set_hook(Box::new(|_| {
            PASSED_ON.fetch_add(100, Ordering::Relaxed);
        }));
        let seen = start(|| {
            assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
            PASSED_ON.load(Ordering::Relaxed)
        });
        assert_eq!(seen.output::<u32>().unwrap(), 102);
        assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
        assert_eq!(PASSED_ON.load(Ordering::Relaxed), 102);
    });
    child.output::<()>().unwrap();
    assert_eq!(PASSED_ON.load(Ordering::Relaxed), 0);
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    assert_eq!(PASSED_ON.load(Ordering::Relaxed), 1);
    Passed
}

fn a_grandchild_cannot_speak_for_its_parent() -> Outcome {
    let child = start(|| {
        let own = proc::descriptors(std::process::id() as i32);
        let inner = start(|| proc::descriptors(std::process::id() as i32));
        (own, inner.output::<Vec<(i32, std::path::PathBuf)>>().unwrap())
    });
    type Open = Vec<(i32, std::path::PathBuf)>;
    let (own, inner) = child.output::<(Open, Open)>().unwrap();
    let sockets = |open: &Open| {
        let names = open.iter().map(|fd| fd.1.clone());
        names.filter(|name| name.to_string_lossy().starts_with("socket:")).collect::<Vec<_>>()
    };
    // Each has a link of its own; what they share was there before, and harms nobody.
    let here = sockets(&proc::descriptors(std::process::id() as i32));
    let shared: Vec<_> = sockets(&inner).into_iter().filter(|name| sockets(&own).contains(name)).collect();
    assert!(sockets(&own).iter().any(|name| !here.contains(name)), "{own:?}");
    assert!(shared.iter().all(|name| here.contains(name)), "{own:?} {inner:?}");
    Passed
}

fn an_end_of_the_parents_is_no_stream_for_a_grandchild() -> Outcome {
    let (_reader, writer) = pipe().unwrap();
    let child = start(|| {
        let error = Launch::new(&LaunchOptions::new().stdout(&writer)).start(|| ()).unwrap_err();
        assert!(matches!(error, StartError::GivenTwice(_)), "{error:?}");
    });
    child.output::<()>().unwrap();
    Passed
}

fn a_task_is_not_its_own_handle() -> Outcome {
    struct SelfMade;
    static HANDLE: std::sync::OnceLock<offspring::Handle<(), SelfMade>> = std::sync::OnceLock::new();
    impl Subprocess for SelfMade {
        type Output = ();
        const EXPLICIT_START: bool = true;
        fn run(&mut self) {
            let handle = HANDLE.get().unwrap();
            assert!(matches!(handle.start(), Err(StartError::WrongProcess(_))));
            assert!(matches!(handle.wait(), Err(JoinError::Wait(ChildError::WrongProcess(_)))));
            assert!(matches!(handle.kill(), Err(ChildError::WrongProcess(_))));
        }
    }
    let handle = HANDLE.get_or_init(|| SelfMade.spawn().unwrap());
    handle.start().unwrap();
    handle.wait().unwrap();
    Passed
}

fn what_a_child_opens_is_not_taken_for_the_librarys() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-secret-{}", std::process::id()));
    std::fs::write(&path, "secret").unwrap();
    let child = start(|| {
        raw::close_from(3);
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open(&path).unwrap()).collect();
        let inner = start(|| std::io::read_to_string(std::io::stdin()).unwrap());
        let read = inner.output::<String>().unwrap();
        drop(files);
        std::fs::write(&path, if read.is_empty() { "kept" } else { "told" }).unwrap();
    });
    child.wait().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text, "kept");
    Passed
}

fn a_process_forked_by_others_can_use_the_library() -> Outcome {
    for _ in 0..100 * stress_factor() {
        // The reaper is at work.
        for _ in 0..3 {
            drop(start(|| ()));
        }
        let stranger = raw::fork(|| i32::from(start(|| 5).output::<i32>().unwrap() != 5));
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stranger), None).unwrap();
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    }
    Passed
}
