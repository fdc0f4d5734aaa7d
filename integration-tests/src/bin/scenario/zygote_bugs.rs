//! What zygotes and templates don't do yet as they promise. Not listed: each of these fails.

use std::process::id;

use common_ipc::link::Connection;
use common_ipc::process::{ExitStatus, Launch, LaunchOptions, StartError, Zygote};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios!(bug_a_long_report_of_a_preload_arrives, bug_an_end_stays_here_when_its_reading_fails);

fn bug_a_long_report_of_a_preload_arrives() -> Outcome {
    zygote();
    // Or a short one, with a backtrace.
    let error = Zygote::with_preload(|()| panic!("{}", "a long story ".repeat(1000)), &()).unwrap_err();
    let StartError::EndedEarly { status: ExitStatus::Panicked(report) } = &error else { panic!("{error:?}") };
    assert!(report.message.starts_with("a long story"), "{report:?}");
    Passed
}

struct ErrsElsewhere;

impl Serialize for ErrsElsewhere {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        id().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ErrsElsewhere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrsElsewhere, D::Error> {
        match u32::deserialize(deserializer)? == id() {
            true => Ok(ErrsElsewhere),
            false => Err(serde::de::Error::custom("not today")),
        }
    }
}

fn bug_an_end_stays_here_when_its_reading_fails() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let argument = (there, ErrsElsewhere);
    let run = |_: (Connection<u8, u8>, ErrsElsewhere)| ();
    let error = Launch::new(&LaunchOptions::new()).start_in(&zygote(), run, &argument).unwrap_err();
    assert!(matches!(error, StartError::Argument { .. }), "{error:?}");
    argument.0.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    Passed
}
