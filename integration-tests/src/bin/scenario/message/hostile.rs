//! Back ends, and types of messages, that do what they shouldn't.

use std::time::Duration;

use common_ipc::process::Signal;
use valkka_multiprocess::{
    Backend, Context, Execution, Incoming, MainLoop, MessageProcess, Polled, ProcessError, RemoteError,
};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::Death;
use crate::message::ways::{Command, HANDLED, Made, started};

scenarios![
    a_back_end_that_closes_its_links_is_ended_for_a_loop_too,
    an_end_says_nothing_of_the_commands_before_it,
];

fn an_end_says_nothing_of_the_commands_before_it() -> Outcome {
    let watched = started(Made::Well);
    watched.process.send(&Command::Die(Death::Kill)).unwrap();
    let error = watched.process.recv().unwrap_err();
    assert!(error.ended().is_some(), "{error}");
    // The command that it died of was handled.
    assert_eq!((watched.count(HANDLED), error.execution()), (1, Execution::Unknown));
    Passed
}

/// Lives on without its links.
struct Mute;

impl Backend for Mute {
    type Command = ();
    type Event = ();

    fn handle(&mut self, _: &mut Context<Self>, (): ()) -> Result<(), RemoteError> {
        integration_tests::raw::close_from(3);
        std::thread::sleep(Duration::from_secs(600));
        Ok(())
    }
}

fn a_back_end_that_closes_its_links_is_ended_for_a_loop_too() -> Outcome {
    let process = MessageProcess::new("mute", Mute);
    process.start().unwrap();
    process.send(&()).unwrap();
    let error = process.recv().unwrap_err();
    assert!(
        matches!(&error, ProcessError::Ended { ended, .. } if ended.status.signal().is_some()),
        "{error}"
    );
    let mut main_loop = MainLoop::new().unwrap();
    for _ in 0..2 {
        process.start().unwrap();
        main_loop.watch(&process, |incoming| incoming).unwrap();
        process.send(&()).unwrap();
        let event = main_loop.next_timeout(Duration::from_secs(20)).unwrap();
        let Polled::Event(Incoming::Ended(ended)) = event else { panic!("{event:?}") };
        assert_eq!(ended.status.signal(), Some(Signal::KILL));
        // Nothing of that watch is left.
        assert!(main_loop.next_timeout(Duration::ZERO).is_ok());
        assert!(matches!(main_loop.next(), Err(valkka_multiprocess::LoopError::NothingWatched)));
    }
    Passed
}
