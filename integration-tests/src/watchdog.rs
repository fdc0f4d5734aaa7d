//! Runs a scenario in a process of its own and kills it if it hangs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub use common_ipc::testing::Ran;
use common_ipc::testing::run_within;

/// The exit code of a scenario that can't be played here.
pub const SKIPPED: i32 = 77;

/// So long nothing here takes; whatever does, hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// So long the background may take to clear up after a scenario.
pub const CLEARING_UP: Duration = Duration::from_secs(10);

/// Runs `scenario name`, with more arguments if there are any, and waits for it.
///
/// # Panics
///
/// If it can't be started, or hangs; it is killed then.
#[must_use]
pub fn run(program: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    // A panic with a backtrace takes its process a tenth of a second, for symbols; those about backtraces ask for them.
    command.env("RUST_BACKTRACE", "0").args(arguments);
    run_within(&mut command, PATIENCE)
        .unwrap_or_else(|error| panic!("{} {arguments:?}: {error:?}", program.display()))
}
