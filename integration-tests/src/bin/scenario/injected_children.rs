//! Each system call of a child's start, output and stop fails, by each way of starting; and children that are killed at
//! each of theirs.

use std::cell::RefCell;
use std::time::Duration;

use common_ipc::process::{
    Child, ChildError, JoinError, Launch, LaunchOptions, ProcessGroup, Signal, StartError,
};
use common_ipc::testing::Scope;

use crate::Outcome::{self, Passed};
use crate::children::sleep_for_long;
use crate::injected::{Operation, injected};
use crate::servers::template;

scenarios![
    injected_each_call_of_a_forked_start,
    injected_each_call_of_a_zygotes_start,
    injected_each_call_of_a_templates_start,
    injected_no_forked_child_is_left_of_a_failed_start,
    injected_no_zygotes_child_is_left_of_a_failed_start,
    injected_no_templates_child_is_left_of_a_failed_start,
    injected_each_call_of_a_collected_output,
    injected_each_call_of_a_stop,
    injected_each_call_of_a_child,
    injected_a_child_killed_at_each_of_its_calls,
];

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a child has failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Output(#[from] JoinError),
}

fn large() -> Vec<u64> {
    (0..3_000).collect()
}

/// However it ended, it is known.
fn collect(child: &Child, may_be_killed: bool) {
    match child.output_timeout::<Vec<u64>>(PATIENCE) {
        Ok(Some(output)) => assert_eq!(output, large()),
        Err(JoinError::Died(_)) if may_be_killed => {}
        other => panic!("{other:?}"),
    }
}

/// A start that says that it failed has left no child.
fn refused_starts(scope: Scope, mut start: impl FnMut() -> Result<Child, StartError>) -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (),
        run: &mut |()| start(),
        finish: &mut |(), outcome| {
            if let Ok(child) = outcome {
                child.kill().unwrap();
                assert!(child.wait_timeout(PATIENCE).unwrap().is_some());
            }
        },
    }
    .fails_well(&injector, scope);
    Passed
}

fn injected_no_forked_child_is_left_of_a_failed_start() -> Outcome {
    refused_starts(Scope::Here, || Launch::new(&LaunchOptions::new().cwd("/")).start(sleep_for_long))
}

fn injected_no_zygotes_child_is_left_of_a_failed_start() -> Outcome {
    let zygote = RefCell::new(None);
    refused_starts(Scope::Here, || {
        let zygote = zygote.borrow_mut().get_or_insert_with(crate::servers::zygote).clone();
        Launch::new(&LaunchOptions::new().cwd("/")).start_in(&zygote, |()| sleep_for_long(), &())
    })
}

fn injected_no_templates_child_is_left_of_a_failed_start() -> Outcome {
    let made = RefCell::new(None);
    refused_starts(Scope::Here, || made.borrow_mut().get_or_insert_with(|| template(sleep_for_long)).start())
}

fn starts(scope: Scope, mut start: impl FnMut() -> Result<Child, StartError>) -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (),
        run: &mut |()| start(),
        finish: &mut |(), outcome| {
            if let Ok(child) = outcome {
                collect(&child, scope == Scope::Children);
            }
        },
    }
    .fails_well(&injector, scope);
    Passed
}

fn injected_each_call_of_a_forked_start() -> Outcome {
    starts(Scope::Here, || Launch::new(&LaunchOptions::new()).start(large))
}

fn injected_each_call_of_a_zygotes_start() -> Outcome {
    let zygote = RefCell::new(None);
    starts(Scope::Here, || {
        let zygote = zygote.borrow_mut().get_or_insert_with(crate::servers::zygote).clone();
        Launch::new(&LaunchOptions::new()).start_in(&zygote, |()| large(), &())
    })
}

fn injected_each_call_of_a_templates_start() -> Outcome {
    let made = RefCell::new(None);
    starts(Scope::Here, || made.borrow_mut().get_or_insert_with(|| template(large)).start())
}

fn injected_each_call_of_a_collected_output() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || Launch::new(&LaunchOptions::new()).start(large).unwrap(),
        run: &mut |child| child.output_timeout::<Vec<u64>>(PATIENCE),
        finish: &mut |child, outcome| match outcome {
            Ok(output) => assert_eq!(output.unwrap(), large()),
            // For good, and it says so; else it can be asked again.
            Err(JoinError::Garbled(why)) => assert!(why.starts_with("the child's report"), "{why}"),
            Err(_) => collect(&child, false),
        },
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_each_call_of_a_stop() -> Outcome {
    let injector = injected!();
    Operation::<_, _, ChildError> {
        prepare: &mut || Launch::new(&LaunchOptions::new()).start(sleep_for_long).unwrap(),
        run: &mut |child| child.stop(Duration::from_millis(500)),
        finish: &mut |child, outcome| {
            if outcome.is_err() {
                child.stop(Duration::ZERO).unwrap();
            }
            assert!(!child.is_alive().unwrap());
        },
    }
    .fails_well(&injector, Scope::Here);
    Passed
}

fn injected_each_call_of_a_child() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (),
        run: &mut |()| -> Result<Vec<u64>, Failed> {
            let child = Launch::new(&LaunchOptions::new().cwd("/").process_group(ProcessGroup::NewSession))
                .start(large)?;
            Ok(child.output_timeout(PATIENCE)?.expect("in time"))
        },
        finish: &mut |(), outcome| {
            if let Ok(output) = outcome {
                assert_eq!(output, large());
            }
        },
    }
    .fails_well(&injector, Scope::Children);
    Passed
}

fn injected_a_child_killed_at_each_of_its_calls() -> Outcome {
    let injector = injected!();
    Operation {
        prepare: &mut || (),
        run: &mut |()| -> Result<Vec<u64>, Failed> {
            let child = Launch::new(&LaunchOptions::new().cwd("/")).start(large)?;
            Ok(child.output_timeout(PATIENCE)?.expect("in time"))
        },
        finish: &mut |(), outcome| {
            if let Ok(output) = outcome {
                assert_eq!(output, large());
            }
        },
    }
    .is_killed_well(&injector, &[Signal::KILL, Signal::SEGV]);
    Passed
}
