//! What /proc says of a process: what the kit for tests has, and what only the tests here ask.

use std::fs;
use std::time::{Duration, Instant};

pub use common_ipc::testing::proc::*;

/// The resident memory of this process, in KiB.
#[must_use]
pub fn resident_kib() -> u64 {
    resident_kib_of(std::process::id() as i32)
}

/// The resident memory of a process, in KiB; 0 if there is none.
#[must_use]
pub fn resident_kib_of(pid: i32) -> u64 {
    status_field(pid, "VmRSS").split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The memory that a process has for itself alone and has written to, in KiB.
#[must_use]
pub fn private_dirty_kib(pid: i32) -> Option<u64> {
    kib_in(&format!("/proc/{pid}/smaps_rollup"), "Private_Dirty:")
}

/// The memory that new work can have without swapping, in KiB.
#[must_use]
pub fn available_kib() -> Option<u64> {
    kib_in("/proc/meminfo", "MemAvailable:")
}

fn kib_in(file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The child of a process that is called this, as far as the kernel keeps a name (15 bytes).
#[must_use]
pub fn child_called(of: i32, name: &str) -> Option<i32> {
    let is_called =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|is| is.trim_end() == name);
    children(of).into_iter().map(|stat| stat.pid).find(|pid| is_called(*pid))
}

/// Looks again and again until `condition` holds; false if it doesn't for 10 s.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    condition()
}

/// The lowest number that is free for a descriptor of this process.
#[must_use]
pub fn lowest_free_descriptor() -> u64 {
    let open = descriptors(std::process::id() as i32);
    let gap = (0..).zip(&open).find(|(number, (taken, _))| number != taken);
    gap.map_or(open.len() as u64, |(free, _)| free as u64)
}
