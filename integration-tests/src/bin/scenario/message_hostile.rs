//! Back ends, and types of messages, that do what they shouldn't.

use valkka_multiprocess::Execution;

use crate::Outcome::{self, Passed};
use crate::bridge_ways::Death;
use crate::message_ways::{Command, HANDLED, Made, started};

scenarios![an_end_says_nothing_of_the_commands_before_it,];

fn an_end_says_nothing_of_the_commands_before_it() -> Outcome {
    let watched = started(Made::Well);
    watched.process.send(&Command::Die(Death::Kill)).unwrap();
    let error = watched.process.recv().unwrap_err();
    assert!(error.ended().is_some(), "{error}");
    // The command that it died of was handled.
    assert_eq!((watched.count(HANDLED), error.execution()), (1, Execution::Unknown));
    Passed
}
