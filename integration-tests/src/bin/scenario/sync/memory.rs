//! Rows 51 to 53: memory that processes share.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::memory::{FrozenArray, MemoryError, MemoryLimit, SharedArray, SharedMemory};
use common_ipc::process::{Launch, LaunchOptions, Resource};
use common_ipc::sync::{Event, Mutex, Semaphore};
use integration_tests::{proc, raw};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_51_nothing_is_ever_in_dev_shm,
    fault_52_more_than_there_is_is_an_error,
    fault_52_a_limit_on_file_sizes_is_an_error,
    fault_52_a_control_group_that_is_full_is_an_error,
    fault_52_a_peer_that_takes_memory_away_makes_bad_data_only,
    fault_52_signals_do_not_keep_memory_from_being_made,
    fault_53_a_slice_outlives_every_other_handle,
    fault_53_frozen_memory_cannot_be_written_by_anybody,
    fault_53_guards_and_permits_keep_what_they_are_of,
    memory_is_shared_by_capturing_it,
    freezing_beside_a_child_is_a_snapshot,
    a_child_freezes_what_it_captured,
);

fn shared_memory_files() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// This process's descriptor of a memfd of that name, opened anew.
pub(crate) fn behind(name: &str) -> io::Result<File> {
    let open = proc::descriptors(std::process::id() as i32);
    let (number, _) = open
        .iter()
        .find(|(_, target)| target.to_string_lossy().starts_with(&format!("/memfd:{name}")))
        .ok_or(io::ErrorKind::NotFound)?;
    OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{number}"))
}

/// What of a process is in /dev/shm: mapped, or open.
fn in_dev_shm(pid: i32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapped = maps.lines().map(ToOwned::to_owned);
    let open = proc::descriptors(pid).into_iter().map(|(_, target)| target.to_string_lossy().into_owned());
    mapped.chain(open).filter(|text| text.contains("/dev/shm")).collect()
}

fn fault_51_nothing_is_ever_in_dev_shm() -> Outcome {
    let before = shared_memory_files();
    let mut new = BTreeSet::new();
    for point in 0..20 {
        let reached = Event::new().unwrap();
        let in_child = reached.clone();
        let child = start(move || {
            let mut step = 0;
            let mut next = || {
                step += 1;
                if step > point {
                    in_child.set();
                    sleep_for_long();
                }
            };
            for _ in 0..3 {
                next();
                let array = SharedArray::<u64>::new(100_000).unwrap();
                next();
                let semaphore = Semaphore::new(2).unwrap();
                let _permit = semaphore.acquire().unwrap();
                next();
                let mutex = Mutex::new(1u8).unwrap();
                let _guard = mutex.lock().unwrap();
                next();
                let clone = array.clone();
                let frozen = array.freeze().unwrap();
                next();
                drop((frozen, clone));
                next();
            }
            for _ in 0..3 {
                next();
            }
        });
        // The last points come when it has ended.
        let waits = reached.wait_or_death(&child, Some(Duration::from_secs(60))).unwrap();
        assert!(waits || child.try_wait().unwrap().is_some());
        if waits {
            assert_eq!(in_dev_shm(child.id() as i32), Vec::<String>::new(), "at point {point}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        new.extend(shared_memory_files().difference(&before).cloned());
    }
    // Other programs of this machine may have had some for a while; what is left behind stays.
    assert!(proc::eventually(|| shared_memory_files().is_disjoint(&new)), "{new:?}");
    Passed
}

fn fault_52_more_than_there_is_is_an_error() -> Outcome {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total = line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024;
    for len in [total, total * 2, 1 << 50, isize::MAX as usize] {
        let error = SharedMemory::new(len).unwrap_err();
        let MemoryError::NotEnough { asked, available, .. } = error else { panic!("{error}") };
        assert!(asked == len as u64 && available < asked, "{error}");
        let error = io::Error::from(SharedArray::<u64>::new(len / 8 + 1).unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
    }
    assert!(matches!(SharedMemory::new(usize::MAX), Err(MemoryError::TooLarge)));
    SharedMemory::new(1 << 20).unwrap().write_from(0, &[1; 1 << 20]).unwrap();
    Passed
}

fn fault_52_a_limit_on_file_sizes_is_an_error() -> Outcome {
    let made_here = SharedMemory::new(1 << 20).unwrap();
    let in_child = made_here.clone();
    let options = LaunchOptions::new().limit(Resource::FileSize, 4096, 4096);
    let child = Launch::new(&options).start(move || {
        let error = SharedMemory::new(4097).unwrap_err();
        assert!(matches!(error, MemoryError::FileSizeLimit { asked: 4097 }), "{error}");
        let error = in_child.clone().freeze().unwrap_err();
        assert!(matches!(error, MemoryError::FileSizeLimit { .. }), "{error}");
        SharedMemory::new(4096).unwrap();
        // Made before the limit, it can be used to its end.
        in_child.write_from((1 << 20) - 1, &[7]).unwrap();
    });
    child.unwrap().output::<()>().unwrap();
    assert_eq!(made_here.to_vec().last(), Some(&7));
    Passed
}

/// A memory control group of its own, removed when dropped.
struct Group {
    folder: PathBuf,
}

impl Group {
    fn new(limit: u64) -> Option<Group> {
        let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (top, name) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return None,
            };
            // Beside its own group, for one that has members can't have groups below it in version 2.
            let own = Path::new(top).join(path.trim_start_matches('/'));
            let above = if own == Path::new(top) { &*own } else { own.parent()? };
            let folder = above.join(format!("multiprocess-{}", std::process::id()));
            std::fs::create_dir(&folder).ok()?;
            let group = Group { folder };
            std::fs::write(group.folder.join(name), limit.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn fault_52_a_control_group_that_is_full_is_an_error() -> Outcome {
    let Some(group) = Group::new(64 << 20) else {
        return Skipped("a memory control group needs root and a file system of them that is writable");
    };
    let members = group.folder.join("cgroup.procs");
    let child = start(move || {
        std::fs::write(&members, std::process::id().to_string()).unwrap();
        let error = SharedMemory::new(256 << 20).unwrap_err();
        let MemoryError::NotEnough { available, limit, .. } = &error else { panic!("{error}") };
        assert!(*available <= 64 << 20 && *limit == MemoryLimit::Cgroup, "{error}");
        let fits = SharedMemory::new(32 << 20).unwrap();
        for at in (0..32 << 20).step_by(1 << 20) {
            fits.write_from(at, &[1; 1 << 20]).unwrap();
        }
        // It counts.
        assert!(matches!(SharedMemory::new(40 << 20), Err(MemoryError::NotEnough { .. })));
    });
    child.output::<()>().unwrap();
    drop(group);
    Passed
}

fn fault_52_a_peer_that_takes_memory_away_makes_bad_data_only() -> Outcome {
    let array = SharedArray::from_slice(&[7u64; 10_000]).unwrap();
    let frozen = SharedArray::from_slice(&[9u8; 10_000]).unwrap().freeze().unwrap();
    let options = LaunchOptions::new().give(&array).give(&frozen);
    let hostile = Launch::new(&options).start(|| {
        let _captured = (&array, &frozen);
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let memory = behind("shared memory").unwrap();
        // Which of the two comes first is the kernel's to say.
        let first = fallocate(&memory, punch, 0, 40_960).is_ok();
        let shrinks = memory.set_len(0).is_ok();
        let grows = memory.set_len(1 << 20).is_ok();
        (first, shrinks, grows)
    });
    let (_, shrinks, grows) = hostile.unwrap().output::<(bool, bool, bool)>().unwrap();
    assert!(!shrinks && !grows);
    let elements = array.to_vec();
    assert!(elements.iter().all(|element| [0, 7].contains(element)));
    array.set(0, 8).unwrap();
    assert_eq!(array.get(0).unwrap(), 8);
    assert!(frozen.iter().all(|byte| *byte == 9));
    assert!(array.freeze().unwrap().len() == 10_000);
    Passed
}

static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn interrupt(_: i32) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

fn fault_52_signals_do_not_keep_memory_from_being_made() -> Outcome {
    raw::handle_signal(NixSignal::SIGALRM, interrupt);
    raw::interval_timer(Duration::from_millis(1));
    let memory = SharedMemory::new(128 << 20);
    raw::interval_timer(Duration::ZERO);
    assert!(INTERRUPTED.load(Ordering::Relaxed) > 0, "no interruption proves nothing");
    let memory = memory.unwrap();
    memory.write_from((128 << 20) - 1, &[1]).unwrap();
    Passed
}

fn fault_53_guards_and_permits_keep_what_they_are_of() -> Outcome {
    let (mutex, semaphore) = (Mutex::new(5u8).unwrap(), Semaphore::new(1).unwrap());
    let (guard, permit) = (mutex.lock().unwrap(), semaphore.acquire().unwrap());
    drop((mutex, semaphore));
    // They are the last that have the memory.
    assert!(behind("mutex").is_ok() && *guard == 5 && !permit.previous_owner_died());
    drop((guard, permit));
    assert!(behind("mutex").is_err());
    Passed
}

fn fault_53_a_slice_outlives_every_other_handle() -> Outcome {
    let array = SharedArray::from_slice(&(0..100_000u32).collect::<Vec<_>>()).unwrap();
    let frozen = array.freeze().unwrap();
    let last = frozen.clone();
    let slice = &last[..];
    let in_child = frozen.clone();
    let child = start(move || {
        let slice = &in_child[50_000..];
        drop(frozen);
        slice.iter().map(|element| u64::from(*element)).sum::<u64>()
    });
    // The body, and with it this process's other two handles, is gone.
    assert_eq!(child.output::<u64>().unwrap(), (50_000..100_000).sum::<u64>());
    assert_eq!(slice.iter().map(|element| u64::from(*element)).sum::<u64>(), (0..100_000).sum::<u64>());
    Passed
}

fn fault_53_frozen_memory_cannot_be_written_by_anybody() -> Outcome {
    let frozen: FrozenArray<u8> = SharedMemory::new(8192).unwrap().freeze().unwrap();
    let options = LaunchOptions::new().give(&frozen);
    let child = Launch::new(&options).start(|| {
        let _captured = &frozen;
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let memory = behind("shared memory").unwrap();
        let attempts = [
            memory.write_at(b"x", 0).is_ok(),
            memory.set_len(0).is_ok(),
            fallocate(&memory, punch, 0, 4096).is_ok(),
        ];
        (attempts, frozen.iter().all(|byte| *byte == 0))
    });
    assert_eq!(child.unwrap().output::<([bool; 3], bool)>().unwrap(), ([false; 3], true));
    assert!(frozen.iter().all(|byte| *byte == 0));
    Passed
}

fn memory_is_shared_by_capturing_it() -> Outcome {
    let array = SharedArray::<u32>::with_shape(&[4, 1000]).unwrap();
    let children: Vec<_> = (0..4)
        .map(|row| {
            let array = array.clone();
            start(move || {
                for column in 0..1000 {
                    let index = array.index(&[row, column]).unwrap();
                    array.set(index, (row * 1000 + column) as u32).unwrap();
                }
                // Captured but not given: there is no descriptor of it here.
                behind("shared memory").is_err()
            })
        })
        .collect();
    for child in children {
        assert!(child.output::<bool>().unwrap());
    }
    assert_eq!(array.to_vec(), (0..4000).collect::<Vec<u32>>());
    Passed
}

fn freezing_beside_a_child_is_a_snapshot() -> Outcome {
    let (array, go, done) =
        (SharedArray::from_slice(&[1u8; 4096]).unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let in_child = array.clone();
    let child = start(|| {
        go.wait().unwrap();
        in_child.write_from(0, &[2; 4096]).unwrap();
        done.set();
        sleep_for_long();
    });
    let frozen = array.freeze().unwrap();
    go.set();
    assert!(done.wait_or_death(&child, None).unwrap());
    assert!(frozen.iter().all(|byte| *byte == 1));
    child.kill().unwrap();
    child.wait().unwrap();
    Passed
}

fn a_child_freezes_what_it_captured() -> Outcome {
    for given in [false, true] {
        let array = SharedArray::from_slice(&[3u16; 1000]).unwrap();
        let options = if given { LaunchOptions::new().give(&array) } else { LaunchOptions::new() };
        let in_child = array.clone();
        let child = Launch::new(&options).start(move || {
            let frozen = in_child.freeze().unwrap();
            frozen.iter().map(|element| u32::from(*element)).sum::<u32>()
        });
        assert_eq!(child.unwrap().output::<u32>().unwrap(), 3000);
        // It took nothing from this process.
        array.set(0, 4).unwrap();
    }
    Passed
}
