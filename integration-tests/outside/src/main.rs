//! A user's program whose panics abort: what it says still arrives. Two of its processes exchange a million
//! messages; then one of them is killed, and the other one tells why.

use offspring::link::{Connection, LinkError};
use multiprocess::{BridgeError, bridge};
use offspring::{ExitStatus, JoinError, LaunchOptions, Signal, spawn, spawn_with};

struct Hasty;

#[bridge]
impl Hasty {
    fn new(panics: bool) -> Hasty {
        assert!(!panics, "told by the start");
        Hasty
    }

    fn panic(&self) {
        panic!("told by the call");
    }
}

/// A method, or a constructor, whose panic ends its process says why all the same.
fn bridges_tell() -> Result<(), BridgeError> {
    let hasty = HastyBridge::new(false);
    hasty.start()?;
    let error = hasty.panic().unwrap_err();
    let BridgeError::PeerDied { status: ExitStatus::Panicked(report), .. } = &error else { panic!("{error}") };
    assert_eq!(report.message, "told by the call");
    let error = HastyBridge::new(true).start().unwrap_err();
    assert!(error.to_string().contains("told by the start"), "{error}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(spawn(|| 6 * 7)?.join()?, 42);
    let task = spawn(|| -> u8 { panic!("told though it aborts") })?;
    let error = task.wait().unwrap_err();
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.message, "told though it aborts");
    assert!(report.location.starts_with("src/main.rs:"), "{report:?}");
    let status = task.process().ok_or("no process")?.wait()?;
    assert_eq!(status.signal(), Some(Signal::ABRT));
    bridges_tell()?;
    let (here, there) = Connection::<u64, u64>::pair()?;
    let echo = spawn_with(LaunchOptions::new().give(&there), move || {
        there.iter().flatten().all(|number| there.send(&number).is_ok())
    })?;
    for number in 0..500_000 {
        here.send(&number)?;
        assert_eq!(here.recv()?, number);
    }
    echo.kill()?;
    let why = loop {
        if let Err(error) = here.send(&0).and_then(|()| here.recv()) {
            break error;
        }
    };
    assert!(matches!(why, LinkError::Closed));
    println!("after a million messages: {why}; {}", echo.join().unwrap_err());
    println!("a crate outside of the workspace works, and its panics are told");
    Ok(())
}
