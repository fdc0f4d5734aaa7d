//! Children that are parents themselves.

use std::sync::atomic::{AtomicU32, Ordering};

use common_ipc::process::{Child, JoinError, Launch, LaunchOptions, PanicReport};

use crate::Outcome::{self, Passed};

scenarios!(
    grandchildren_are_children_of_the_child,
    a_panic_at_any_depth_is_told_where_it_happened,
    the_panic_hook_of_the_program_is_as_it_was,
);

fn start<O: serde::Serialize + serde::de::DeserializeOwned>(body: impl FnOnce() -> O) -> Child {
    Launch::new(&LaunchOptions::new()).start(body).unwrap()
}

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
