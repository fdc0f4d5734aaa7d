//! What comes out: a table to read, and lines of JSON.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::case::{Case, Role};
use crate::rounds::Column;

impl Column {
    fn of(&self, role: Role) -> Option<f64> {
        let found = self.figures.iter().find(|(contender, _)| contender.role == role);
        found.map(|(_, figure)| *figure)
    }
}

/// A case: a line for each contender, and for each place its figure and the ratio to the limit.
pub(crate) fn print(case: &Case, columns: &[Column]) {
    println!("\n{}: {} ({}, {} is better)", case.name, case.task, case.unit, case.better.name());
    print!("{:48}", "");
    columns.iter().for_each(|column| print!("{:>20}", column.place.name()));
    println!();
    for contender in case.contenders {
        if !columns.iter().any(|column| column.figures.iter().any(|(known, _)| known.name == contender.name))
        {
            continue;
        }
        let label = match contender.role {
            Role::Ours => format!("OURS: {}", contender.name),
            Role::Limit => format!("limit: {}", contender.name),
            Role::Peer => contender.name.to_owned(),
        };
        print!("  {label:46}");
        for column in columns {
            let found = column.figures.iter().find(|(known, _)| known.name == contender.name);
            let figure = found.map_or("-".into(), |(_, figure)| significant(*figure));
            let ratio = found.zip(column.of(Role::Limit)).filter(|(_, limit)| *limit != 0.0);
            let ratio = ratio
                .map_or(String::new(), |((_, figure), limit)| format!("{} x", significant(figure / limit)));
            print!("{figure:>10}{ratio:>10}");
        }
        println!();
    }
    println!();
}

/// Three digits, or all that are before the point.
fn significant(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        0.1.. => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

/// The file of JSON lines.
pub(crate) struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Begins it anew, in the target folder.
    pub(crate) fn create() -> Lines {
        // Cargo's folder for temporary files of benchmarks is in the target folder, wherever that is.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers.jsonl");
        let file = File::create(&path);
        let file = file.unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
        Lines { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, case: &Case, column: &Column) {
        let peers = column.figures.iter().filter(|(contender, _)| contender.role == Role::Peer);
        let peers: serde_json::Map<_, _> =
            peers.map(|(contender, figure)| (contender.name.to_owned(), json!(figure))).collect();
        let line = json!({
            "case": case.name,
            "place": column.place.name(),
            "unit": case.unit,
            "better": case.better.name(),
            "ours": column.of(Role::Ours),
            "limit": column.of(Role::Limit),
            "peers": peers,
        });
        writeln!(self.file, "{line}").unwrap();
    }
}
