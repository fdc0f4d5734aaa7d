//! Which files there are, and what is in them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use multiprocess::memory::{FrozenArray, SharedArray};

use super::reason::Reason;

/// All files below a folder but the hidden ones and the sheet itself, in the order of their names; and those folders that
/// couldn't be read. None: it was interrupted.
pub(crate) fn below(
    folder: &Path,
    sheet: &Path,
    interrupted: &AtomicBool,
) -> io::Result<Option<Vec<PathBuf>>> {
    let sheet = fs::canonicalize(sheet).ok();
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = match fs::read_dir(&next) {
            Err(error) if next == folder => return Err(error),
            // It has a tile, which says why.
            Err(_) => {
                files.push(next);
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if sheet.is_none() || fs::canonicalize(&path).ok() != sheet {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(Some(files))
}

/// What is in a file, for a worker to look at: this process doesn't.
pub(crate) fn read(path: &Path, most: u64) -> Result<FrozenArray<u8>, Reason> {
    let unread = |error: io::Error| Reason::Unreadable(error.to_string());
    // Whoever opens a pipe to which nobody writes doesn't wait.
    let file =
        OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(unread)?;
    let its = file.metadata().map_err(unread)?;
    if !its.is_file() {
        return Err(Reason::NoPicture("not a file, but a folder, pipe, socket or device".to_owned()));
    }
    if its.len() > most {
        return Err(Reason::TooLarge(format!("{} MB long", its.len() / 1_000_000)));
    }
    let mut bytes = Vec::with_capacity(its.len() as usize);
    file.take(most).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.is_empty() {
        return Err(Reason::NoPicture("it is empty".to_owned()));
    }
    let frozen = SharedArray::from_slice(&bytes).and_then(SharedArray::freeze);
    frozen.map_err(|error| Reason::Unreadable(error.to_string()))
}
