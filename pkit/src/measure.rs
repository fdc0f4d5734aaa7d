//! What the kernel says of processes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use common_ipc::process::Child;

/// What a child takes, in bytes; `None` if it has ended, or /proc doesn't say.
pub(crate) fn resident(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    // Only of one that still runs was that its own: a number is given away again.
    if !child.is_alive().ok()? {
        return None;
    }
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// How many processes of this machine the kernel has killed for want of memory, whether all of it or that of a control
/// group was used up. Zero where /proc doesn't say.
pub(crate) fn oom_kills() -> u64 {
    let all = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// From 0 to 1, another one each time.
pub(crate) fn random() -> f64 {
    // 53 bits are what a number of this kind can tell apart.
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
