//! Rows 34 and 41 for what siblings stop, and for what is cut by a death: by a fork, from a template and from a zygote.

use std::time::Duration;

use common_ipc::link::{Bytes, Connection, LinkError};
use common_ipc::process::{Launch, LaunchOptions, Signal, StopStep};
use cross_process_bridge::BridgeError;
use cross_process_bridge::manager::Manager;
use integration_tests::proc;
use valkka_multiprocess::{MessageProcess, ProcessError};

use crate::Outcome::{self, Passed};
use crate::faults::kinds::{Act, Say, Servant, SpeakerBridge, WAYS};
use crate::servers::{start_in, zygote};

scenarios!(
    fault_34_a_back_end_that_does_not_end_is_stopped_in_steps,
    fault_34_a_manager_whose_object_hangs_is_stopped,
    fault_34_an_object_that_does_not_end_is_stopped_in_steps,
    fault_41_a_message_that_is_cut_by_a_death_is_told,
);

const SHORT: Duration = Duration::from_millis(50);

/// Waits until what it is at has taken effect: it has ignored the signal and sleeps, was stopped, or runs.
fn is_at(act: Act, pid: u32) -> bool {
    let pid = pid as i32;
    let state = || proc::stat(pid).map(|stat| stat.state);
    match act {
        Act::Deaf => {
            let ignored = || u64::from_str_radix(&proc::status_field(pid, "SigIgn"), 16).unwrap_or(0);
            proc::eventually(|| ignored() & 1 << (libc::SIGTERM - 1) != 0)
        }
        Act::Stop => proc::eventually(|| state() == Some('T')),
        _ => proc::eventually(|| state() == Some('R')),
    }
}

fn fault_34_an_object_that_does_not_end_is_stopped_in_steps() -> Outcome {
    for way in WAYS {
        let object = SpeakerBridge::new();
        way.of_bridge(object.process()).unwrap();
        for (act, by, signal) in [
            (Act::Deaf, StopStep::Killed, Signal::KILL),
            (Act::Stop, StopStep::Terminated, Signal::TERM),
            (Act::Spin, StopStep::Terminated, Signal::TERM),
        ] {
            object.start().unwrap();
            let pid = object.process().pid().unwrap();
            let error = object.with_timeout(SHORT).say(act).unwrap_err();
            assert!(matches!(error, BridgeError::Timeout { killed: false, .. }), "{error}");
            assert!(is_at(act, pid), "{act:?}");
            let stopped = object.process().stop_timeout(SHORT).unwrap();
            assert_eq!((stopped.by, stopped.status.signal()), (by, Some(signal)), "{way:?} {act:?}");
            assert!(proc::stat(pid as i32).is_none());
        }
        object.start().unwrap();
        assert_eq!(object.say(Act::Nothing).unwrap(), "");
        object.stop().unwrap();
    }
    Passed
}

fn fault_34_a_back_end_that_does_not_end_is_stopped_in_steps() -> Outcome {
    for way in WAYS {
        let process = way.of_back_end(MessageProcess::new("servant", Servant)).unwrap();
        // It takes SIGTERM for a request, which nobody hears who is at something.
        for act in [Act::Deaf, Act::Spin, Act::Stop] {
            process.start().unwrap();
            let pid = process.pid().unwrap();
            let error = process.request_timeout(SHORT, |reply| Say { act, reply }).unwrap_err();
            assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
            assert!(is_at(act, pid), "{act:?}");
            let stopped = process.stop_timeout(SHORT).unwrap();
            let expected = match act {
                // Continued, it comes to its end.
                Act::Stop => (StopStep::Terminated, None),
                _ => (StopStep::Killed, Some(Signal::KILL)),
            };
            assert_eq!((stopped.by, stopped.status.signal()), expected, "{way:?} {act:?}");
            assert!(proc::stat(pid as i32).is_none());
        }
        process.start().unwrap();
        assert_eq!(process.request(|reply| Say { act: Act::Nothing, reply }).unwrap(), "");
        process.stop().unwrap();
    }
    Passed
}

fn fault_34_a_manager_whose_object_hangs_is_stopped() -> Outcome {
    let zygote = zygote();
    let builder = Manager::builder();
    let template = builder.template().unwrap();
    let managers = [builder.start(), builder.start_from(&template), builder.start_in(&zygote)];
    // Side by side, since each takes five seconds.
    std::thread::scope(|scope| {
        for manager in managers.map(Result::unwrap) {
            scope.spawn(move || {
                let pid = manager.child().id();
                let object = manager.share(&SpeakerBridge::new()).unwrap();
                let error = object.with_timeout(SHORT).say(Act::Deaf).unwrap_err();
                assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
                assert!(is_at(Act::Deaf, pid));
                // That it comes to an end is the promise; it may say that it had to be killed.
                let _ = manager.stop();
                assert!(proc::stat(pid as i32).is_none());
                assert!(object.say(Act::Nothing).is_err());
            });
        }
    });
    Passed
}

fn fault_41_a_message_that_is_cut_by_a_death_is_told() -> Outcome {
    type Link = Connection<Bytes, Bytes>;
    fn send_much(link: Link) {
        link.send(&Bytes::from(vec![1; 100])).unwrap();
        // More than the memory between the two has room for.
        link.send(&Bytes::from(vec![2; 32 << 20])).unwrap();
    }
    for way in WAYS {
        let (here, there) = Link::pair().unwrap();
        let giving = LaunchOptions::new().give(&there);
        let launch = Launch::new(&giving);
        let child = match way {
            crate::faults::kinds::Way::Fork => launch.start(|| send_much(there)).unwrap(),
            crate::faults::kinds::Way::Template => {
                let template = launch.template(move || send_much(there)).unwrap();
                template.start().unwrap()
            }
            crate::faults::kinds::Way::Zygote => start_in(send_much, &there),
        };
        assert_eq!(here.recv().unwrap().len(), 100);
        let sleeps = || proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'S');
        // Until it waits for room, and for some time.
        std::thread::sleep(SHORT);
        assert!(proc::eventually(sleeps));
        child.kill().unwrap();
        child.wait().unwrap();
        let error = here.recv().unwrap_err();
        assert!(matches!(error, LinkError::Truncated), "{way:?}: {error}");
        let error = here.recv().unwrap_err();
        assert!(matches!(error, LinkError::Broken(_)), "{way:?}: {error}");
    }
    Passed
}
