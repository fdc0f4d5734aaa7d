//! How much memory there is for more.
//!
//! Asked before much of it is taken: past the end the kernel doesn't refuse, it kills - this process, or
//! another one. It is an estimate of one moment, and others may take the same memory in the next one.

use std::fs;
use std::path::Path;

use crate::memory::errors::{MemoryError, MemoryLimit};

/// Less than this isn't worth the question, which costs some tens of microseconds.
const ASKED_FROM: usize = 1 << 20;

/// Checks that so many bytes can be had.
pub(crate) fn check(len: usize) -> Result<(), MemoryError> {
    if len < ASKED_FROM {
        return Ok(());
    }
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = of_cgroups(&membership, Path::new("/sys/fs/cgroup"));
    let limits = [(machine, MemoryLimit::Machine), (group, MemoryLimit::Cgroup)];
    // What can't be read is no limit: the kernel still has the last word.
    for (available, limit) in limits {
        match available {
            Some(available) if (len as u64) > available => {
                return Err(MemoryError::NotEnough { asked: len as u64, available, limit });
            }
            _ => {}
        }
    }
    Ok(())
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// The names of one version of control groups.
struct Version {
    /// Where it is mounted, below the mount point of all.
    mounts: [&'static str; 2],
    limit: &'static str,
    used: &'static str,
    /// Of memory.stat: what is used as long as nobody else needs it.
    reclaimable: [&'static str; 2],
}

const V1: Version = Version {
    mounts: ["memory", "memory,cpu"],
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

const V2: Version = Version {
    // By itself, or beside version 1.
    mounts: ["", "unified"],
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["inactive_file", "active_file"],
};

impl Version {
    /// What this group leaves. `None`: it has no limit, or doesn't say.
    fn room(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limit, used) = (number(self.limit)?, number(self.used)?);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let mut room = limit.saturating_sub(used);
        for line in stat.lines() {
            if let Some((name, bytes)) = line.split_once(' ') {
                if self.reclaimable.contains(&name) {
                    room = room.saturating_add(bytes.trim().parse().unwrap_or(0));
                }
            }
        }
        Some(room.min(limit))
    }
}

/// What the groups of this process and all those above them leave: the least counts.
fn of_cgroups(membership: &str, mounted_at: &Path) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in membership.lines() {
        // Number, controllers, path: cgroups(7). Version 2 names no controllers.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let version = match controllers {
            "" => &V2,
            some if some.split(',').any(|controller| controller == "memory") => &V1,
            _ => continue,
        };
        for mount in version.mounts {
            let top = mounted_at.join(mount);
            let group = top.join(path.trim_start_matches('/'));
            // In a container the path may be one of the host's, of which only the top is here.
            let upwards = group.ancestors().take_while(|group| group.starts_with(&top));
            least = upwards.filter_map(|group| version.room(group)).chain(least).min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder with files, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let folder = std::env::temp_dir().join(format!("available-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_least_of_a_group_and_those_above_counts() {
        let folder = Folder::new(
            "v2",
            &[
                ("a/memory.max", "1000\n"),
                ("a/memory.current", "700\n"),
                ("a/memory.stat", "anon 600\ninactive_file 60\nactive_file 40\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/memory.current", "10\n"),
                ("a/b/c/memory.max", "900\n"),
                ("a/b/c/memory.current", "100\n"),
            ],
        );
        assert_eq!(of_cgroups("0::/a/b/c\n", &folder.0), Some(400));
        assert_eq!(of_cgroups("0::/a/b/c\n1:cpu:/\n", &folder.0), Some(400));
        assert_eq!(of_cgroups("0::/\n", &folder.0), None);
        assert_eq!(of_cgroups("garbled", &folder.0), None);
    }

    #[test]
    fn version_one_is_understood() {
        let folder = Folder::new(
            "v1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "5000\n"),
                ("memory/x/memory.limit_in_bytes", "4096\n"),
                ("memory/x/memory.usage_in_bytes", "5000\n"),
            ],
        );
        assert_eq!(of_cgroups("4:memory:/x\n0::/\n", &folder.0), Some(0));
        // A path of the host's, of which nothing is here: the top counts.
        assert_eq!(of_cgroups("4:memory:/of/the/host\n", &folder.0), Some(9_223_372_036_854_766_712));
    }

    #[test]
    fn this_machine_has_some_but_not_that_much() {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(of_machine(&text).unwrap() > 0);
        check(1).unwrap();
        let error = check(usize::MAX).unwrap_err();
        assert!(matches!(error, MemoryError::NotEnough { asked: u64::MAX, .. }), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::OutOfMemory);
    }
}
