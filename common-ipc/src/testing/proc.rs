//! What /proc says of a process.

use std::fs;
use std::path::PathBuf;

/// A process as its `stat` file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// `R`, `S`, `D`, `T`, `Z` or another letter of proc_pid_stat(5).
    pub state: char,
    /// Its process group.
    pub group: i32,
}

/// The stat of a process, if there is such a process.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name is in parentheses and may hold anything, a closing parenthesis included.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(Stat {
        pid,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// The children of a process, zombies included.
#[must_use]
pub fn children(of: i32) -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).filter(|stat| stat.parent == of).collect()
}

/// The processes that one has started, and those that they have, the oldest first.
#[must_use]
pub fn descendants(of: i32) -> Vec<i32> {
    let mut found: Vec<i32> = children(of).iter().map(|child| child.pid).collect();
    let mut place = 0;
    while place < found.len() {
        found.extend(children(found[place]).iter().map(|child| child.pid));
        place += 1;
    }
    found
}

/// The name of a process, as `ps -o comm` shows it; empty if there is none.
#[must_use]
pub fn name(pid: i32) -> String {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned()
}

/// What the threads of this process are called.
#[must_use]
pub fn thread_names() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// The process behind a pidfd of this process, if that is what this descriptor is.
#[must_use]
pub fn behind_pidfd(number: i32) -> Option<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// The values of a field of a process's `status` file, e.g. the four of `Uid`; empty if it isn't there.
#[must_use]
pub fn status_field(pid: i32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a process runs: a zombie doesn't.
#[must_use]
pub fn runs(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// The descriptors of a process: number and what is behind it.
#[must_use]
pub fn descriptors(pid: i32) -> Vec<(i32, PathBuf)> {
    let listing = format!("/proc/{pid}/fd");
    let Ok(entries) = fs::read_dir(&listing) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
        })
        // The listing itself takes one while it lasts.
        .filter(|(_, target): &(i32, PathBuf)| !target.starts_with(&listing))
        .collect();
    found.sort();
    found
}
