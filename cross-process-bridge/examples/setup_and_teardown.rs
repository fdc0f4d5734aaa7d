//! A class with a `start` and a `stop` of its own, which the bridge calls through, in a working directory of its own.
//!
//! `cargo run -p cross-process-bridge --example setup_and_teardown`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cross_process_bridge::{RemoteError, bridge};

/// Lists directories by entering them, which a whole process does, and all of its threads with it.
struct Lister {
    begun: PathBuf,
    seen: BTreeSet<PathBuf>,
}

#[bridge]
impl Lister {
    fn new() -> Lister {
        Lister { begun: PathBuf::new(), seen: BTreeSet::new() }
    }

    /// Called by `start`, once the process is there.
    fn start(&mut self) -> Result<(), RemoteError> {
        self.begun = std::env::current_dir()?;
        Ok(())
    }

    /// How many entries a directory has.
    fn count(&mut self, directory: &Path) -> Result<usize, RemoteError> {
        std::env::set_current_dir(directory)?;
        self.seen.insert(directory.to_owned());
        Ok(std::fs::read_dir(".")?.count())
    }

    /// Called by `stop`, before the process ends.
    fn stop(&mut self) -> Vec<PathBuf> {
        // Of no consequence to anybody else, but tidy.
        let _ = std::env::set_current_dir(&self.begun);
        std::mem::take(&mut self.seen).into_iter().collect()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = std::env::current_dir()?;
    let lister = ListerBridge::new();
    lister.start()??; // the bridge's own error, then the class's
    for directory in ["/", "/proc/self", "/nowhere"] {
        match lister.count(Path::new(directory))? {
            Ok(count) => println!("{directory}: {count} entries"),
            Err(error) => println!("{directory}: {error}"),
        }
    }
    println!("seen: {:?}", lister.stop()?);
    assert_eq!(std::env::current_dir()?, here);
    Ok(())
}
