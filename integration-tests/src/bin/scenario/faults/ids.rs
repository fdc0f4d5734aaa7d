//! Row 18, where the library doesn't know yet: a child that somebody else has collected, and whose id is a stranger's.

use std::process::Command;
use std::time::Duration;

use common_ipc::process::{Child, Signal};
use cross_process_bridge::BridgeProcess;
use integration_tests::{proc, raw};
use nix::sys::signal::Signal as NixSignal;
use valkka_multiprocess::MessageProcess;

use crate::Outcome::{self, Passed, Skipped};
use crate::faults::kinds::{Servant, SpeakerBridge, WAYS};
use crate::processes::children::{sleep_for_long, start};
use crate::servers::{kill, start_in, template};

scenarios!(
    fault_18_a_stolen_childs_id_is_somebody_elses,
    fault_18_a_stolen_objects_id_is_somebody_elses,
    fault_18_a_stolen_back_ends_id_is_somebody_elses,
);

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Why an id can't be given to somebody else here.
fn hindrance() -> Option<&'static str> {
    // What it is by now: anybody may open it, and is refused then.
    let set = std::fs::read(LAST_PID).and_then(|last| std::fs::write(LAST_PID, last));
    set.is_err().then_some("setting the next process id needs root and a kernel with ns_last_pid")
}

/// Kills it and takes its status, without the library being told.
fn steal(pid: u32) {
    kill(pid as i32, NixSignal::SIGKILL);
    // The children of a zygote are told of to those alone who ask for all.
    assert_eq!(
        raw::collect_any(libc::__WALL),
        Ok(pid as i32),
        "somebody else collected it: the test proves nothing"
    );
}

/// Starts one that is stolen, gives its id to a stranger, and has the handle do its worst.
fn is_spared<H>(start: impl Fn() -> (u32, H), worst: impl Fn(&H)) -> bool {
    for _ in 0..200 {
        let (pid, handle) = start();
        steal(pid);
        std::fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
        let mut stranger = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let same = stranger.id() == pid;
        if same {
            worst(&handle);
            drop(handle);
            std::thread::sleep(Duration::from_millis(20));
            assert!(stranger.try_wait().unwrap().is_none(), "the stranger was hit");
            let stat = proc::stat(pid as i32).unwrap();
            assert_ne!(stat.state, 'T', "the stranger was stopped");
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        if same {
            return true;
        }
    }
    false
}

fn verdict(were_spared: impl IntoIterator<Item = bool>) -> Outcome {
    match were_spared.into_iter().all(|was| was) {
        true => Passed,
        false => Skipped("other processes took the id each time"),
    }
}

fn fault_18_a_stolen_childs_id_is_somebody_elses() -> Outcome {
    if let Some(why) = hindrance() {
        return Skipped(why);
    }
    let (template, _) = (template(sleep_for_long), start_in(|()| (), &()).wait().unwrap());
    let worst = |child: &Child| {
        // None of these finds anybody, which isn't an error.
        for signal in [Signal::STOP, Signal::TERM, Signal::KILL] {
            child.signal(signal).unwrap();
        }
        child.terminate().unwrap();
        child.kill().unwrap();
        let stopped = child.stop(Duration::ZERO).unwrap();
        assert!(!stopped.status.success(), "{stopped:?}");
    };
    let and_id = |child: Child| (child.id(), child);
    verdict([
        is_spared(|| and_id(start(sleep_for_long)), worst),
        is_spared(|| and_id(template.start().unwrap()), worst),
        is_spared(|| and_id(start_in(|()| sleep_for_long(), &())), worst),
    ])
}

fn fault_18_a_stolen_objects_id_is_somebody_elses() -> Outcome {
    if let Some(why) = hindrance() {
        return Skipped(why);
    }
    start_in(|()| (), &()).wait().unwrap();
    let all = WAYS.map(|way| {
        let object = SpeakerBridge::new();
        way.of_bridge(object.process()).unwrap();
        let started = || {
            object.start().unwrap();
            (object.process().pid().unwrap(), object.process())
        };
        is_spared(started, |process: &&BridgeProcess| {
            process.kill().unwrap();
            // It was found dead.
            let _ = process.stop_timeout(Duration::ZERO);
        })
    });
    verdict(all)
}

fn fault_18_a_stolen_back_ends_id_is_somebody_elses() -> Outcome {
    if let Some(why) = hindrance() {
        return Skipped(why);
    }
    start_in(|()| (), &()).wait().unwrap();
    let all = WAYS.map(|way| {
        let process = way.of_back_end(MessageProcess::new("servant", Servant)).unwrap();
        let started = || {
            process.start().unwrap();
            (process.pid().unwrap(), ())
        };
        is_spared(started, |()| {
            process.child().unwrap().kill().unwrap();
            let _ = process.stop_timeout(Duration::ZERO);
        })
    });
    verdict(all)
}
