//! Bridges within bridges, in callbacks, and in the midst of a call.

use std::sync::mpsc;
use std::time::Duration;

use cross_process_bridge::{BridgeError, Execution, bridge};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;

scenarios![
    bridges_nest_and_end_together,
    a_callback_of_the_process_uses_the_bridge,
    an_argument_that_calls_the_bridge_while_it_is_written,
    a_start_without_descriptors_is_an_error_and_calls_go_on,
    an_object_that_panics_or_dawdles_when_it_is_dropped,
];

struct Shell {
    inner: Option<ShellBridge>,
    dawdles: u64,
}

impl Drop for Shell {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(self.dawdles));
        assert_ne!(self.dawdles, 1, "on purpose");
    }
}

thread_local! {
    static CALLED: std::cell::RefCell<Option<ShellBridge>> = const { std::cell::RefCell::new(None) };
}

/// Calls a bridge when it is written.
#[derive(Debug, PartialEq)]
struct Caller(u64);

impl Serialize for Caller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = CALLED.with_borrow(|bridge| bridge.as_ref().map(|bridge| bridge.double(self.0)));
        let number = depth.transpose().map_err(serde::ser::Error::custom)?.unwrap_or(self.0);
        serializer.serialize_u64(number)
    }
}

impl<'de> Deserialize<'de> for Caller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Caller, D::Error> {
        u64::deserialize(deserializer).map(Caller)
    }
}

#[bridge]
impl Shell {
    fn new(dawdles: u64) -> Shell {
        Shell { inner: None, dawdles }
    }

    /// Another one within, and so on.
    fn nest(&mut self, depth: u64) -> Result<u64, String> {
        if depth == 0 {
            return Ok(0);
        }
        let inner = ShellBridge::new(0);
        inner.start().map_err(|error| error.to_string())?;
        let below = inner.nest(depth - 1).map_err(|error| error.to_string())??;
        self.inner = Some(inner);
        Ok(below + 1)
    }

    fn kill_the_innermost(&self) -> Result<String, String> {
        match &self.inner {
            None => {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
                Ok(String::new())
            }
            Some(inner) => match inner.kill_the_innermost() {
                Ok(said) => said,
                Err(error) => Ok(error.to_string()),
            },
        }
    }

    fn double(&self, number: u64) -> u64 {
        number * 2
    }

    fn take(&self, caller: Caller, text: String) -> (u64, String) {
        (caller.0, text)
    }
}

fn bridges_nest_and_end_together() -> Outcome {
    let shell = ShellBridge::new(0);
    for round in 0..2 {
        shell.start().unwrap();
        assert_eq!(shell.nest(3).unwrap(), Ok(3));
        if round == 0 {
            // Each tells the one above it.
            let told = shell.kill_the_innermost().unwrap().unwrap();
            assert!(told.contains("SIGKILL"), "{told}");
            shell.stop().unwrap();
        } else {
            // Those within see their connections end.
            shell.process().kill().unwrap();
        }
    }
    Passed
}

fn a_callback_of_the_process_uses_the_bridge() -> Outcome {
    let shell = ShellBridge::new(0);
    shell.process().launch_in(&zygote());
    shell.start().unwrap();
    let (send, said) = mpsc::channel();
    let mine = shell.clone();
    let child = shell.process().child().unwrap();
    child
        .on_exit(move |_| {
            let lost = mine.double(1).is_err();
            let again = mine.start();
            let called = mine.double(4);
            send.send((lost, again, called)).unwrap();
            drop(mine);
        })
        .unwrap();
    // The callback has the last handle.
    drop(shell);
    child.kill().unwrap();
    let (lost, again, called) = said.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(lost);
    again.unwrap();
    assert_eq!(called.unwrap(), 8);
    assert!(common_ipc::process::join_callbacks(Some(Duration::from_secs(20))));
    Passed
}

fn an_argument_that_calls_the_bridge_while_it_is_written() -> Outcome {
    let shell = ShellBridge::new(0);
    shell.process().launch_in(&zygote());
    shell.start().unwrap();
    CALLED.set(Some(shell.clone()));
    for length in [10, 100_000, 3_000_000] {
        let text = "x".repeat(length);
        assert_eq!(shell.take(Caller(21), text.clone()).unwrap(), (42, text));
    }
    shell.process().kill().unwrap();
    let error = shell.take(Caller(21), String::new()).unwrap_err();
    assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
    CALLED.set(None);
    Passed
}

fn a_start_without_descriptors_is_an_error_and_calls_go_on() -> Outcome {
    let shell = ShellBridge::new(0);
    shell.process().launch_in(&zygote());
    shell.start().unwrap();
    let mut hoard: Vec<std::fs::File> = Vec::new();
    let limits = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 64, limits.1).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let other = ShellBridge::new(0);
    other.process().launch_in(&zygote());
    let mut failed = 0;
    loop {
        assert_eq!(shell.double(3).unwrap(), 6);
        match other.start() {
            Ok(()) => {
                assert_eq!(other.double(3).unwrap(), 6);
                break;
            }
            Err(error) => {
                failed += 1;
                assert!(error.to_string().contains("Too many open files"), "{error}");
            }
        }
        if hoard.pop().is_none() {
            break;
        }
    }
    assert!(failed > 0);
    other.stop().unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limits.0, limits.1).unwrap();
    shell.stop().unwrap();
    Passed
}

fn an_object_that_panics_or_dawdles_when_it_is_dropped() -> Outcome {
    for dawdles in [1, 50] {
        let shell = ShellBridge::new(dawdles);
        shell.process().launch_in(&zygote());
        shell.start().unwrap();
        std::thread::scope(|scope| {
            let stop = scope.spawn(|| shell.stop());
            let calls: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100_000).find_map(|number| shell.double(number).err())))
                .collect();
            let stopped = stop.join().unwrap();
            if dawdles == 1 {
                let error = stopped.unwrap_err();
                assert!(error.to_string().contains("on purpose"), "{error}");
                assert_eq!(error.execution(), Execution::Ran);
            } else {
                stopped.unwrap();
            }
            for call in calls {
                let error = call.join().unwrap().unwrap();
                assert_eq!(error.execution(), Execution::NotRun, "{error}");
            }
        });
    }
    Passed
}
