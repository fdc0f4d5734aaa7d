//! Each system call of a child's start, output and stop fails, by each way of starting; and children that are killed at
//! each of theirs.

use std::cell::RefCell;
use std::time::Duration;

use common_ipc::process::{
    Child, ChildError, JoinError, Launch, LaunchOptions, ProcessGroup, Signal, StartError, Zygote, init,
};
use common_ipc::testing::Scope;

use crate::Outcome::{self, Passed};
use crate::injected::{Life, Operation, injected};
use crate::processes::children::sleep_for_long;
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
    injected_each_call_of_a_zygote_and_its_child,
    injected_each_call_of_a_template_and_its_child,
    injected_a_child_killed_at_each_of_its_calls,
    injected_a_zygote_or_its_child_killed_at_each_of_their_calls,
    injected_a_template_or_its_child_killed_at_each_of_their_calls,
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
        // Of a start that has heard the output already.
        Err(error) if is_lost(&error) => {}
        other => panic!("{other:?}"),
    }
}

/// For good, and it says so.
fn is_lost(error: &JoinError) -> bool {
    match error {
        JoinError::Unreceived(_) => true,
        // Whether memory is sealed is asked by a call that fails like this only if it isn't.
        JoinError::Garbled(why) => why.ends_with("isn't sealed"),
        _ => false,
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
            Err(error) if is_lost(&error) => {}
            // Else it can be asked again.
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

/// From the start of what it is started by to its output, which comes whole or not at all.
fn whole_life(
    start: fn() -> Result<Child, StartError>,
    sweep: impl FnOnce(&mut Life<'_, Vec<u64>, Failed>),
) -> Outcome {
    sweep(&mut Operation {
        prepare: &mut || (),
        run: &mut |()| Ok(start()?.output_timeout(PATIENCE)?.expect("in time")),
        finish: &mut |(), outcome| {
            if let Ok(output) = outcome {
                assert_eq!(output, large());
            }
        },
    });
    Passed
}

fn fails_at_each(start: fn() -> Result<Child, StartError>) -> Outcome {
    let injector = injected!();
    whole_life(start, |life| life.fails_well(&injector, Scope::Children))
}

fn killed_at_each(start: fn() -> Result<Child, StartError>) -> Outcome {
    let injector = injected!();
    whole_life(start, |life| life.is_killed_well(&injector, &[Signal::KILL, Signal::SEGV]))
}

fn by_fork() -> Result<Child, StartError> {
    Launch::new(&LaunchOptions::new().cwd("/").process_group(ProcessGroup::NewSession)).start(large)
}

fn by_a_zygote() -> Result<Child, StartError> {
    init()?;
    let zygote = Zygote::with_preload(|()| (), &())?;
    Launch::new(&LaunchOptions::new().cwd("/")).start_in(&zygote, |()| large(), &())
}

fn by_a_template() -> Result<Child, StartError> {
    Launch::new(&LaunchOptions::new().cwd("/")).template(large)?.start()
}

fn injected_each_call_of_a_child() -> Outcome {
    fails_at_each(by_fork)
}

fn injected_each_call_of_a_zygote_and_its_child() -> Outcome {
    fails_at_each(by_a_zygote)
}

fn injected_each_call_of_a_template_and_its_child() -> Outcome {
    fails_at_each(by_a_template)
}

fn injected_a_child_killed_at_each_of_its_calls() -> Outcome {
    killed_at_each(by_fork)
}

fn injected_a_zygote_or_its_child_killed_at_each_of_their_calls() -> Outcome {
    killed_at_each(by_a_zygote)
}

fn injected_a_template_or_its_child_killed_at_each_of_their_calls() -> Outcome {
    killed_at_each(by_a_template)
}
