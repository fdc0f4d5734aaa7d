//! Children as most scenarios need them.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions};
use integration_tests::proc;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A child without any options.
pub(crate) fn start<O: Serialize + DeserializeOwned>(body: impl FnOnce() -> O) -> Child {
    Launch::new(&LaunchOptions::new()).start(body).unwrap()
}

/// A body for children that are ended from outside.
pub(crate) fn sleep_for_long() {
    std::thread::sleep(Duration::from_secs(600));
}

/// In a child: the number of its link to its parent, its youngest socket.
pub(crate) fn link() -> i32 {
    let open = proc::descriptors(std::process::id() as i32);
    // The highest number: it was made last.
    open.iter().rfind(|(_, target)| target.to_string_lossy().starts_with("socket:")).unwrap().0
}
