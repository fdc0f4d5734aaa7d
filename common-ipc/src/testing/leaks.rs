//! The leak police: nothing may be left when a test is over.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};

use crate::testing::proc;

/// Descriptors that the library opens once in a process. (The epoll is the reaper's, the last one the
/// [`FaultInjector`](crate::testing::FaultInjector)'s.)
const ONCE: [&str; 5] = ["/dev/null", "socket without another end", EPOLL, "/status", "seccomp notify"];
const EPOLL: &str = "anon_inode:[eventpoll]";
/// The thread that hands over log records, where they are relayed. It has an epoll of its own.
const RELAY: &str = "log-relay";

/// Fork servers of the library, which sleep until the program's end, at most one of each. With each come a
/// pidfd, the link on which it reports, and the socket on which it is asked.
const SERVERS: [&str; 2] = ["mp-keeper", "mp-zygote"];

const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The **leak police**: what this process has when a test begins, and what it has more when that is over.
///
/// It looks for children - zombies too, and those of other libraries -, descriptors and entries of `/dev/shm`. What
/// the library makes once in a process and keeps is no leak: its reaper's and relay's descriptors, a keeper and a zygote.
///
/// ```
/// use std::time::Duration;
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::testing::LeakPolice;
///
/// let police = LeakPolice::new();
/// let child = Launch::new(&LaunchOptions::new()).start(|| std::thread::sleep(Duration::from_secs(60)))?;
/// let leaks = police.check(Duration::ZERO).expect_err("a child, and what it takes to wait for it");
/// assert!(leaks.to_string().contains("a child: "), "{leaks}");
/// child.stop(Duration::from_secs(1))?;
/// drop(child);
/// police.check(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LeakPolice {
    descriptors: Vec<(i32, PathBuf)>,
    shared_memory: BTreeSet<PathBuf>,
}

/// What was left over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Leaks(Vec<String>);

/// One in each line.
impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Leaks {
    /// Each of them, in words.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for LeakPolice {
    fn default() -> LeakPolice {
        LeakPolice::new()
    }
}

impl LeakPolice {
    /// Looks at what there is. Whatever is there by now is no leak; children are.
    #[must_use]
    pub fn new() -> LeakPolice {
        LeakPolice { descriptors: proc::descriptors(me()), shared_memory: shared_memory() }
    }

    /// Looks again, for as long as something is left and `patience` lasts: children end in the background.
    ///
    /// # Errors
    ///
    /// What is left.
    pub fn check(&self, patience: Duration) -> Result<(), Leaks> {
        let begin = Instant::now();
        loop {
            let found = self.look();
            if found.is_empty() {
                return Ok(());
            }
            if begin.elapsed() >= patience {
                return Err(Leaks(found));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn look(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut expected = SERVERS.to_vec();
        let mut pidfds = Vec::new();
        for child in proc::children(me()) {
            let name = proc::name(child.pid);
            match expected.iter().position(|server| *server == name && child.state == 'S') {
                Some(server) => {
                    expected.remove(server);
                    pidfds.push(child.pid);
                }
                None => found.push(format!("a child: {name} {child:?}")),
            }
        }
        let mut sockets = 2 * pidfds.len();
        let mut once = ONCE.to_vec();
        once.extend(proc::thread_names().iter().filter(|name| *name == RELAY).map(|_| EPOLL));
        for (number, target) in proc::descriptors(me()) {
            if self.descriptors.contains(&(number, target.clone())) {
                continue;
            }
            let mut text = target.to_string_lossy();
            if text.starts_with("socket:") && has_hung_up(number) {
                text = "socket without another end".into();
            } else if text.starts_with("socket:") && sockets > 0 {
                sockets -= 1;
                continue;
            }
            let server =
                proc::behind_pidfd(number).and_then(|pid| pidfds.iter().position(|known| *known == pid));
            if let Some(server) = server {
                pidfds.remove(server);
                continue;
            }
            match once.iter().position(|end| text.ends_with(end)) {
                Some(allowed) => drop(once.remove(allowed)),
                None => found.push(format!("a descriptor: {number} -> {text}")),
            }
        }
        let new = shared_memory().difference(&self.shared_memory).cloned().collect::<Vec<_>>();
        found.extend(new.into_iter().map(|path| format!("shared memory: {}", path.display())));
        found
    }
}

fn has_hung_up(socket: i32) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket, &mut [0], flags) == Ok(0)
}

fn shared_memory() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn me() -> i32 {
    std::process::id() as i32
}
