//! Objects that have a `start` and a `stop` of their own.

use cross_process_bridge::{BridgeError, LaunchOptions, bridge};

use crate::Outcome::{self, Passed};

scenarios![
    an_objects_own_start_and_stop_are_called_through,
    an_objects_own_stop_may_take_it,
    a_scope_goes_around_a_start_and_a_stop_without_results,
];

/// It has a life of its own.
struct Service {
    state: Vec<String>,
}

#[bridge]
impl Service {
    fn new() -> Service {
        Service { state: Vec::new() }
    }

    fn start(&mut self, with: &str, told: &mut Vec<String>) -> usize {
        self.state.push(with.to_owned());
        told.push(format!("started {with}"));
        self.state.len()
    }

    fn stop(&mut self, told: &mut Vec<String>) -> Result<Vec<String>, String> {
        told.push("stopped".to_owned());
        if self.state.len() > 1 { Err("twice".to_owned()) } else { Ok(self.state.clone()) }
    }

    fn crash(&self) {
        std::process::abort();
    }
}

fn an_objects_own_start_and_stop_are_called_through() -> Outcome {
    let service = ServiceBridge::new();
    let mut told = Vec::new();
    assert_eq!(service.start("a", &mut told).unwrap(), 1);
    assert!(service.process().is_alive());
    assert_eq!(service.stop(&mut told).unwrap().unwrap(), ["a"]);
    assert_eq!(told, ["started a", "stopped"]);
    assert!(!service.process().is_alive());

    service.start("b", &mut told).unwrap();
    assert_eq!(service.start("c", &mut told).unwrap(), 2);
    assert_eq!(service.stop(&mut told).unwrap(), Err("twice".to_owned()));

    // If the call fails the process is stopped all the same.
    service.process().launch_with(LaunchOptions::new().limit(cross_process_bridge::Resource::Core, 0, 0));
    service.start("d", &mut told).unwrap();
    service.crash().unwrap_err();
    let before = told.len();
    assert!(matches!(
        service.stop(&mut told).unwrap_err(),
        BridgeError::PeerDied { method: "Service::stop", .. }
    ));
    assert!(matches!(service.crash().unwrap_err(), BridgeError::NotStarted { .. }));
    assert_eq!(told.len(), before);
    Passed
}

/// It is stopped by being taken.
struct Log(String);

#[bridge]
impl Log {
    fn new() -> Log {
        Log(String::new())
    }

    fn start(&mut self) {
        self.0.push_str("started ");
    }

    fn add(&mut self, line: &str) {
        self.0.push_str(line);
    }

    fn stop(self) -> String {
        self.0
    }
}

fn an_objects_own_stop_may_take_it() -> Outcome {
    let log = LogBridge::new();
    log.start().unwrap();
    log.add("line").unwrap();
    assert_eq!(log.stop().unwrap(), "started line");
    assert!(!log.process().is_alive());
    // What its `stop` returns would be lost in a scope of the bridge's.
    trait Scope {
        fn scope(&self) -> &str {
            "another one"
        }
    }
    impl Scope for LogBridge {}
    assert_eq!(log.scope(), "another one");
    Passed
}

/// It has nothing to say of its start, nor of its end.
struct Quiet {
    calls: Vec<u8>,
}

#[bridge]
impl Quiet {
    fn new() -> Quiet {
        Quiet { calls: Vec::new() }
    }

    fn start(&mut self) {
        self.calls.push(1);
    }

    fn calls(&self) -> Vec<u8> {
        self.calls.clone()
    }

    #[cfg(not(any()))]
    fn stop(self) {}

    #[cfg_attr(all(), cfg(any()))]
    fn stop(&self) -> u8 {
        0
    }
}

fn a_scope_goes_around_a_start_and_a_stop_without_results() -> Outcome {
    let quiet = QuietBridge::new();
    assert_eq!(quiet.clone().scope(|quiet| quiet.calls().unwrap()).unwrap(), [1]);
    assert!(!quiet.process().is_alive());
    Passed
}
