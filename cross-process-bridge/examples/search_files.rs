//! A process of its own searches through files, and its findings come one by one: the first one long before the last, and no
//! more of them than are wanted. A file that brings it down costs no more than the findings in it.
//!
//! `cargo run -p cross-process-bridge --example search_files -- bridge cross-process-bridge/src`

use std::fs;
use std::path::{Path, PathBuf};

use cross_process_bridge::{BridgeError, LaunchOptions, Resource, bridge};
use serde::{Deserialize, Serialize};

/// A line with the word in it.
#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    path: PathBuf,
    line: usize,
    text: String,
}

struct Searcher {
    word: String,
}

#[bridge]
impl Searcher {
    fn new(word: String) -> Searcher {
        Searcher { word }
    }

    /// The files below a directory, and then their lines: made only as far as somebody wants them.
    #[bridge(remote_error)]
    fn search(&self, directory: &Path) -> std::io::Result<impl Iterator<Item = Finding> + '_> {
        let mut open = vec![fs::read_dir(directory)?];
        let files = std::iter::from_fn(move || {
            while let Some(entries) = open.last_mut() {
                match entries.next() {
                    Some(Ok(entry)) if entry.path().is_dir() => open.extend(fs::read_dir(entry.path()).ok()),
                    Some(Ok(entry)) => return Some(entry.path()),
                    Some(Err(_)) => {}
                    None => drop(open.pop()),
                }
            }
            None
        });
        Ok(files.flat_map(|path| self.in_file(path)))
    }

    #[bridge(skip)]
    fn in_file(&self, path: PathBuf) -> Vec<Finding> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = (1..).zip(text.lines()).filter(|(_, text)| text.contains(&self.word));
        let finding = |(line, text): (usize, &str)| {
            let text = text.trim().chars().take(60).collect();
            Finding { path: path.clone(), line, text }
        };
        lines.map(finding).collect()
    }
}

fn main() -> Result<(), BridgeError> {
    let mut arguments = std::env::args().skip(1);
    let word = arguments.next().unwrap_or_else(|| "fn main".to_owned());
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());

    let searcher = SearcherBridge::new(word);
    // Whatever is in those files, it can take no more than this.
    let limited = LaunchOptions::new().limit(Resource::AddressSpace, 1 << 30, 1 << 30);
    searcher.process().launch_with(limited);
    searcher.start()?;
    let findings = match searcher.search(Path::new(&directory))? {
        Ok(findings) => findings,
        Err(error) => {
            println!("{directory}: {error}");
            return searcher.stop();
        }
    };
    // Dropped after the tenth: the search ends there, wherever it is.
    for finding in findings.take(10) {
        match finding {
            Ok(Finding { path, line, text }) => println!("{}:{line}: {text}", path.display()),
            Err(error) => println!("the search has come to its end: {error}"),
        }
    }
    searcher.stop()
}
