//! Ends that a start was to move: when it fails, they are here as before.

use std::process::id;

use common_ipc::link::Connection;
use common_ipc::process::{Launch, LaunchOptions, StartError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios!(an_end_stays_here_when_a_templates_start_fails, an_end_stays_here_when_its_reading_fails,);

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

fn an_end_stays_here_when_a_templates_start_fails() -> Outcome {
    let directory = std::env::temp_dir().join(format!("multiprocess-template-{}", id()));
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let options = LaunchOptions::new().give(&there).cwd(&directory);
    // To be made, it needs none of what its children need.
    let template =
        Launch::new(&options).template(move || there.send(&there.recv().unwrap()).unwrap()).unwrap();
    let error = template.start().unwrap_err();
    assert!(matches!(error, StartError::Setup { .. }), "{error:?}");
    std::fs::create_dir(&directory).unwrap();
    let second = template.start();
    std::fs::remove_dir(&directory).unwrap();
    let child = second.unwrap();
    here.send(&7).unwrap();
    assert_eq!(here.recv().unwrap(), 7);
    child.output::<()>().unwrap();
    Passed
}

fn an_end_stays_here_when_its_reading_fails() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let argument = (there, ErrsElsewhere);
    let run = |_: (Connection<u8, u8>, ErrsElsewhere)| ();
    let error = Launch::new(&LaunchOptions::new()).start_in(&zygote(), run, &argument).unwrap_err();
    assert!(matches!(error, StartError::Argument { .. }), "{error:?}");
    argument.0.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    Passed
}
