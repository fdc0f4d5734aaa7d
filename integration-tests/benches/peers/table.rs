//! What comes out: a table to read, and lines of JSON.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::case::{Bound, Case, Contender, Role};
use crate::rounds::{Column, Measured};

impl Column {
    fn of_role(&self, role: Role) -> Option<f64> {
        let found = self.results.iter().find(|measured| measured.contender.role == role);
        found.map(|measured| measured.median)
    }

    fn of(&self, contender: &Contender) -> Option<&Measured> {
        self.of_name(contender.name)
    }

    fn of_name(&self, name: &str) -> Option<&Measured> {
        self.results.iter().find(|measured| measured.contender.name == name)
    }

    /// What a promise is about.
    fn promised(&self, bound: &Bound) -> Option<f64> {
        if bound.at.is_some_and(|place| place != self.place) {
            return None;
        }
        let of = self.of_name(bound.of)?.median;
        match bound.to {
            Some(to) => Some(of / self.of_name(to)?.median),
            None => Some(of),
        }
    }
}

/// A case: a line for each contender, and for each place its figure and the ratio to the limit.
pub(crate) fn print(case: &Case, columns: &[Column]) {
    println!("\n{}: {} ({}, {} is better)", case.name, case.task, case.unit, case.better.name());
    print!("{:48}", "");
    columns.iter().for_each(|column| print!("{:>20}", column.place.name()));
    println!();
    for contender in case.contenders {
        if !columns.iter().any(|column| column.of(contender).is_some()) {
            continue;
        }
        let label = match contender.role {
            Role::Ours => format!("OURS: {}", contender.name),
            Role::Limit => format!("limit: {}", contender.name),
            Role::Peer => contender.name.to_owned(),
        };
        print!("  {label:46}");
        columns.iter().for_each(|column| print!("{:>20}", cell(column, contender)));
        println!();
    }
    for bound in case.bounds {
        let label = match bound.to {
            Some(to) => format!("{} / {to}", bound.of),
            None => bound.of.to_owned(),
        };
        let promised = columns.iter().map(|column| match column.promised(bound) {
            Some(figure) => {
                format!(
                    "{} {}",
                    significant(figure),
                    if bound.is.is_kept(figure) { "kept" } else { "MISSED" }
                )
            }
            None => "-".into(),
        });
        println!("  promise {}: {label}: {}", bound.is, promised.collect::<Vec<_>>().join(", "));
    }
}

/// What a mark in the table means.
pub(crate) const LEGEND: &str = "~ rounds that differ by more than a factor of two: see them in the lines";

fn cell(column: &Column, contender: &Contender) -> String {
    let Some(measured) = column.of(contender) else { return "-".into() };
    let mark = if measured.is_unsteady() { "~" } else { "" };
    let ratio = match column.of_role(Role::Limit) {
        Some(limit) if limit != 0.0 => format!("{} x", significant(measured.median / limit)),
        _ => String::new(),
    };
    format!("{mark}{}{ratio:>10}", significant(measured.median))
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
        let mut peers = serde_json::Map::new();
        let mut rounds = serde_json::Map::new();
        for Measured { contender, rounds: figures, median } in &column.results {
            rounds.insert(contender.name.to_owned(), json!(figures));
            if contender.role == Role::Peer {
                peers.insert(contender.name.to_owned(), json!(median));
            }
        }
        let line = json!({
            "case": case.name,
            "place": column.place.name(),
            "unit": case.unit,
            "better": case.better.name(),
            "ours": column.of_role(Role::Ours),
            "limit": column.of_role(Role::Limit),
            "peers": peers,
            "promises": case.bounds.iter().map(|bound| json!({
                "of": bound.of,
                "to": bound.to,
                "is": bound.is.to_string(),
                "figure": column.promised(bound),
                "kept": column.promised(bound).map(|figure| bound.is.is_kept(figure)),
            })).collect::<Vec<_>>(),
            "rounds": rounds,
        });
        writeln!(self.file, "{line}").unwrap();
    }
}
