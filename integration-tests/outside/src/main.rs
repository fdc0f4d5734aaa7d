//! A user's program whose panics abort: what it says still arrives.

use offspring::{JoinError, Signal, spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(spawn(|| 6 * 7)?.join()?, 42);
    let task = spawn(|| -> u8 { panic!("told though it aborts") })?;
    let error = task.wait().unwrap_err();
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.message, "told though it aborts");
    assert!(report.location.starts_with("src/main.rs:"), "{report:?}");
    let status = task.process().ok_or("no process")?.wait()?;
    assert_eq!(status.signal(), Some(Signal::ABRT));
    println!("a crate outside of the workspace works, and its panics are told");
    Ok(())
}
