//! What /proc tells of a thread's state, and nobody else does.

use std::fs::File;
use std::io::{self, Read};

use nix::sys::uio::pread;
use nix::unistd::{getpid, gettid};

use crate::process::state;
use crate::sys::credentials::Capabilities;

/// What /proc says of a thread: proc_pid_status(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) umask: u32,
    /// Real, effective, saved, and for files.
    pub(super) uids: [u32; 4],
    pub(super) gids: [u32; 4],
    pub(super) groups: Vec<u32>,
    /// Of SIGPIPE and SIGHUP.
    pub(super) ignored: u64,
    pub(super) capabilities: Capabilities,
    pub(super) no_new_privs: bool,
    pub(super) seccomp: [u64; 2],
}

/// Those that a child leaves ignored where its parent does.
pub(super) const TWO_SIGNALS: [i32; 2] = [libc::SIGPIPE, libc::SIGHUP];

impl Status {
    /// Of the calling thread.
    pub(super) fn read() -> io::Result<Status> {
        let mut text = [0; 4096];
        let is_main = gettid() == getpid();
        let length = match is_main.then(|| {
            let mut process = state::lock();
            process.open_status_file();
            process.status_file().and_then(|file| pread(file, &mut text, 0).ok())
        }) {
            Some(Some(length)) => length,
            _ => File::open("/proc/thread-self/status")?.read(&mut text)?,
        };
        if length == text.len() {
            // Of a process with hundreds of groups.
            return Status::parse(&std::fs::read("/proc/thread-self/status")?).ok_or_else(other_status);
        }
        Status::parse(&text[..length]).ok_or_else(other_status)
    }

    fn parse(text: &[u8]) -> Option<Status> {
        let mut status = Status::default();
        let mut seen = 0;
        for line in text.split(|byte| *byte == b'\n') {
            // Most lines are none of those below.
            if !matches!(line.first(), Some(b'U' | b'G' | b'S' | b'C' | b'N')) {
                continue;
            }
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((label, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let hexadecimal = || u64::from_str_radix(value, 16).ok();
            let ids = || -> Option<[u32; 4]> {
                let mut ids = value.split_ascii_whitespace().map_while(|id| id.parse().ok());
                Some([ids.next()?, ids.next()?, ids.next()?, ids.next()?])
            };
            let capabilities = &mut status.capabilities;
            match label {
                "Umask" => status.umask = u32::from_str_radix(value, 8).ok()?,
                "Uid" => status.uids = ids()?,
                "Gid" => status.gids = ids()?,
                "Groups" => {
                    status.groups = value.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
                }
                "SigIgn" => {
                    let two = TWO_SIGNALS.iter().fold(0, |bits, signal| bits | 1 << (signal - 1));
                    status.ignored = hexadecimal()? & two;
                }
                "CapInh" => capabilities.inheritable = hexadecimal()?,
                "CapPrm" => capabilities.permitted = hexadecimal()?,
                "CapEff" => capabilities.effective = hexadecimal()?,
                "CapBnd" => capabilities.bounding = hexadecimal()?,
                "CapAmb" => capabilities.ambient = hexadecimal()?,
                "NoNewPrivs" => status.no_new_privs = value == "1",
                // Without support for it these aren't there.
                "Seccomp" => status.seccomp[0] = value.parse().ok()?,
                "Seccomp_filters" => status.seccomp[1] = value.parse().ok()?,
                _ => continue,
            }
            seen += u32::from(!label.starts_with("Seccomp"));
        }
        (seen == 11).then_some(status)
    }
}

fn other_status() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/status isn't as it should be")
}
