//! The leak police: nothing may be left when a scenario is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::socket::{MsgFlags, recv};

use crate::proc;

/// What there was before.
#[derive(Debug)]
pub struct Before {
    descriptors: Vec<(i32, PathBuf)>,
    shared_memory: BTreeSet<PathBuf>,
}

/// Descriptors that the library opens once in a process. (The epoll is the reaper's.)
const ONCE: [&str; 5] = ["/dev/null", "socket without another end", EPOLL, "/status", "seccomp notify"];
const EPOLL: &str = "anon_inode:[eventpoll]";
/// The thread that hands over log records, where they are relayed. It has an epoll of its own.
const RELAY: &str = "log-relay";

/// Fork servers of the library, which sleep until the program's end, at most one of each. With each come a
/// pidfd, the link on which it reports, and the socket on which it is asked.
const SERVERS: [&str; 2] = ["mp-keeper", "mp-zygote"];

/// Looks at what there is.
#[must_use]
pub fn before() -> Before {
    Before { descriptors: proc::descriptors(me()), shared_memory: shared_memory() }
}

/// Looks again, and says what is left over, once the background had time to clear up.
#[must_use]
pub fn left_over(before: &Before) -> Vec<String> {
    let mut found = Vec::new();
    proc::eventually(|| {
        found = look(before);
        found.is_empty()
    });
    found
}

fn look(before: &Before) -> Vec<String> {
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
        if before.descriptors.contains(&(number, target.clone())) {
            continue;
        }
        let mut text = target.to_string_lossy();
        if text.starts_with("socket:") && has_hung_up(number) {
            text = "socket without another end".into();
        } else if text.starts_with("socket:") && sockets > 0 {
            sockets -= 1;
            continue;
        }
        let server = proc::behind_pidfd(number).and_then(|pid| pidfds.iter().position(|known| *known == pid));
        if let Some(server) = server {
            pidfds.remove(server);
            continue;
        }
        match once.iter().position(|end| text.ends_with(end)) {
            Some(allowed) => drop(once.remove(allowed)),
            None => found.push(format!("a descriptor: {number} -> {text}")),
        }
    }
    let new = shared_memory().difference(&before.shared_memory).cloned().collect::<Vec<_>>();
    found.extend(new.into_iter().map(|path| format!("shared memory: {}", path.display())));
    found
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
