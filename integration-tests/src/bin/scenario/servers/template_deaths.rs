//! Rows 17, 20, 29: how templates and their children end.

use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{
    ExitStatus, ForkServer, JoinError, Launch, LaunchOptions, Signal, StartError, Template, active_children,
};
use integration_tests::{proc, stress_factor};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::servers::{kill, template};

scenarios!(
    fault_17_a_dropped_template_is_gone_and_its_children_go_on,
    fault_20_ends_of_a_templates_children_are_told_apart,
    fault_29_a_dead_template_is_one_error_each_time,
    fault_29_a_template_that_is_killed_under_load_hangs_nobody,
    fault_29_a_template_that_is_stopped_is_killed,
);

fn fault_17_a_dropped_template_is_gone_and_its_children_go_on() -> Outcome {
    let template = template(sleep_for_long);
    let child = template.start().unwrap();
    let pid = template.id() as i32;
    assert!(proc::runs(pid) && template.is_alive() && template.id() != child.id());
    drop(template);
    assert!(proc::eventually(|| proc::stat(pid).is_none()), "{:?}", proc::stat(pid));
    assert!(child.is_alive().unwrap());
    assert_eq!(child.stop(Duration::from_secs(20)).unwrap().status.signal(), Some(Signal::TERM));
    Passed
}

fn fault_20_ends_of_a_templates_children_are_told_apart() -> Outcome {
    let queue = Queue::<i32>::new().unwrap();
    let options = LaunchOptions::new().give(&queue).core_limit(0);
    let jobs = queue.clone();
    let template = Launch::new(&options).template(move || match jobs.recv().unwrap() {
        code @ 0.. => std::process::exit(code),
        -100 => panic!("told on purpose"),
        signal => {
            nix::sys::signal::raise(NixSignal::try_from(-signal).unwrap()).unwrap();
        }
    });
    let template = template.unwrap();
    let ends = |job: i32| {
        let child = template.start().unwrap();
        queue.send(&job).unwrap();
        (child.wait().unwrap(), child)
    };
    for code in [0, 1, 7, 255] {
        assert_eq!(ends(code).0, ExitStatus::Exited(code));
    }
    for signal in [Signal::TERM, Signal::KILL, Signal::USR1, Signal::SEGV, Signal::HUP] {
        assert_eq!(ends(-signal.as_raw()).0, ExitStatus::Signaled { signal, core_dumped: false });
    }
    let error = ends(-100).1.output::<()>().unwrap_err();
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.message, "told on purpose");
    assert!(report.location.contains("template_deaths.rs"), "{report:?}");
    Passed
}

fn fault_29_a_dead_template_is_one_error_each_time() -> Outcome {
    let template = template(|| 1);
    assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
    for signal in [NixSignal::SIGTERM, NixSignal::SIGINT, NixSignal::SIGHUP] {
        kill(template.id() as i32, signal);
    }
    assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
    kill(template.id() as i32, NixSignal::SIGKILL);
    assert!(proc::eventually(|| !template.is_alive()));
    for _ in 0..5 {
        let error = template.start().unwrap_err();
        let StartError::ServerDied { server: ForkServer::Template, status } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(status.signal(), Some(Signal::KILL));
        assert!(error.to_string().contains("make the object anew"), "{error}");
    }
    Passed
}

fn fault_29_a_template_that_is_killed_under_load_hangs_nobody() -> Outcome {
    let rounds = 30 * stress_factor();
    let templates: Vec<Template> = (0..rounds).map(|_| template(|| 1)).collect();
    let mut died = 0;
    for (number, template) in templates.iter().enumerate() {
        std::thread::scope(|scope| {
            let starters: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        // Until the template is dead.
                        loop {
                            match template.start() {
                                Ok(child) => assert_eq!(child.output::<i32>().unwrap(), 1),
                                Err(StartError::ServerDied { server: ForkServer::Template, .. }) => return 1,
                                Err(other) => panic!("{other:?}"),
                            }
                        }
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_micros(number as u64 % 30 * 100));
            kill(template.id() as i32, NixSignal::SIGKILL);
            died += starters.into_iter().map(|starter| starter.join().unwrap()).sum::<u32>();
        });
    }
    assert_eq!(died, 4 * rounds);
    assert!(active_children().is_empty());
    Passed
}

fn fault_29_a_template_that_is_stopped_is_killed() -> Outcome {
    let timeout = Duration::from_millis(300);
    let options = LaunchOptions::new().ready_timeout(timeout);
    let template = Launch::new(&options).template(|| 1).unwrap();
    assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 1);
    kill(template.id() as i32, NixSignal::SIGSTOP);
    let error = template.start().unwrap_err();
    assert!(
        matches!(error, StartError::ServerStuck { server: ForkServer::Template, timeout: had } if had == timeout),
        "{error:?}"
    );
    let error = template.start().unwrap_err();
    assert!(matches!(error, StartError::ServerDied { server: ForkServer::Template, .. }), "{error:?}");
    assert!(!template.is_alive());
    Passed
}
