//! The fault table, and whether what its tests have seen holds it.
//!
//! `fault_NN_...` is the name of a test of row NN.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::suite::{Outcome, Outcomes};

/// The table's text.
pub const TABLE: &str = include_str!("../FAULTS.md");

/// A row: its cells, the first of which is its number.
#[must_use]
pub fn rows() -> BTreeMap<u32, Vec<&'static str>> {
    let cells = TABLE
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter_map(|cells| Some((cells[0].parse().ok()?, cells))).collect()
}

/// The row that a test is about, if it is about one.
#[must_use]
pub fn row_of(name: &str) -> Option<u32> {
    name.strip_prefix("fault_")?.get(..2)?.parse().ok()
}

/// The tests of rows that are with the crates, by their names: `cargo test` of a crate runs them.
#[must_use]
pub fn of_the_crates() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for package in ["common-ipc", "offspring", "pkit", "cross-process-bridge", "valkka-multiprocess"] {
        for folder in ["src", "tests"] {
            in_files(&root.join(package).join(folder), &mut found);
        }
    }
    found
}

fn in_files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            in_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
            found.extend(names.filter(|name| row_of(name).is_some()).map(str::to_owned));
        }
    }
}

/// What tests have said of rows.
#[derive(Debug)]
pub struct Verdict {
    /// How many rows hold; then each that doesn't, and why.
    pub text: String,
    /// No row fails, and none is without a test. (One may have been skipped.)
    pub holds: bool,
}

/// Looks at what became of tests of these rows. Unless all tests were run, rows without any aren't looked at.
#[must_use]
pub fn verdict(rows: &BTreeSet<u32>, outcomes: &Outcomes, is_complete: bool) -> Verdict {
    let mut of_rows: BTreeMap<u32, Vec<(&String, &Outcome)>> = BTreeMap::new();
    for (name, outcome) in outcomes {
        of_rows.entry(row_of(name).unwrap_or_default()).or_default().push((name, outcome));
    }
    let strangers = of_rows.iter().filter(|(row, _)| !rows.contains(row)).flat_map(|(_, tests)| tests);
    let mut lines: Vec<String> =
        strangers.map(|(name, _)| format!("{name}: there is no such row in the table")).collect();
    let mut holds = lines.is_empty();
    let asked: Vec<u32> =
        rows.iter().copied().filter(|row| is_complete || of_rows.contains_key(row)).collect();
    let mut held = 0;
    for row in &asked {
        let tests = of_rows.get(row).map_or(&[][..], Vec::as_slice);
        let failed: Vec<&str> = tests
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
            .map(|(name, _)| name.as_str())
            .collect();
        let reasons: BTreeSet<&str> = tests
            .iter()
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Skipped(why) => Some(why.as_str()),
                _ => None,
            })
            .collect();
        if tests.is_empty() {
            holds = false;
            lines.push(format!("row {row}: there is no test"));
        } else if !failed.is_empty() {
            holds = false;
            lines.push(format!("row {row}: failed: {}", failed.join(", ")));
        } else if tests.iter().any(|(_, outcome)| **outcome == Outcome::Passed) {
            held += 1;
        } else {
            lines.push(format!("row {row}: skipped here: {}", Vec::from_iter(reasons).join("; ")));
        }
    }
    let count = |wanted: fn(&Outcome) -> bool| outcomes.values().filter(|outcome| wanted(outcome)).count();
    let failed = match count(|outcome| matches!(outcome, Outcome::Failed(_))) {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let first = format!(
        "{held} of {} rows {}hold: {} tests, {} passed, {} skipped{failed}",
        asked.len(),
        if is_complete { "" } else { "that were asked for " },
        outcomes.len(),
        count(|outcome| *outcome == Outcome::Passed),
        count(|outcome| matches!(outcome, Outcome::Skipped(_))),
    );
    lines.insert(0, first);
    Verdict { text: lines.join("\n"), holds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(of: &[(&str, Outcome)]) -> Outcomes {
        of.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone())).collect()
    }

    fn skipped() -> Outcome {
        Outcome::Skipped("it needs root".to_owned())
    }

    #[test]
    fn rows_with_a_test_that_passed_hold() {
        let outcomes = outcomes(&[
            ("fault_01_a", Outcome::Passed),
            ("fault_01_b", skipped()),
            ("fault_02_a", Outcome::Passed),
        ]);
        let verdict = verdict(&BTreeSet::from([1, 2]), &outcomes, true);
        assert!(verdict.holds);
        assert_eq!(verdict.text, "2 of 2 rows hold: 3 tests, 2 passed, 1 skipped");
    }

    #[test]
    fn a_row_that_was_skipped_does_not_hold_and_does_not_fail() {
        let outcomes = outcomes(&[("fault_01_a", Outcome::Passed), ("fault_02_a", skipped())]);
        let verdict = verdict(&BTreeSet::from([1, 2]), &outcomes, true);
        assert!(verdict.holds);
        assert_eq!(
            verdict.text,
            "1 of 2 rows hold: 2 tests, 1 passed, 1 skipped\nrow 2: skipped here: it needs root"
        );
    }

    #[test]
    fn a_row_with_a_test_that_failed_fails() {
        let failed = Outcome::Failed("something".to_owned());
        let outcomes = outcomes(&[("fault_01_a", Outcome::Passed), ("fault_01_b", failed)]);
        let verdict = verdict(&BTreeSet::from([1]), &outcomes, true);
        assert!(!verdict.holds);
        assert!(
            verdict.text.starts_with("0 of 1 rows hold: 2 tests, 1 passed, 0 skipped, 1 failed\nrow 1: ")
        );
    }

    #[test]
    fn a_row_without_a_test_fails_if_all_were_to_be_run() {
        let outcomes = outcomes(&[("fault_01_a", Outcome::Passed)]);
        let rows = BTreeSet::from([1, 2]);
        assert!(!verdict(&rows, &outcomes, true).holds);
        let of_some = verdict(&rows, &outcomes, false);
        assert!(of_some.holds);
        assert_eq!(of_some.text, "1 of 1 rows that were asked for hold: 1 tests, 1 passed, 0 skipped");
    }

    #[test]
    fn a_test_of_no_row_fails() {
        let outcomes = outcomes(&[("fault_60_a", Outcome::Passed), ("fault_01_a", Outcome::Passed)]);
        assert!(!verdict(&BTreeSet::from([1]), &outcomes, true).holds);
    }

    #[test]
    fn the_table_has_59_rows() {
        assert!(rows().into_keys().eq(1..=59));
    }

    #[test]
    fn tests_of_rows_that_are_with_the_crates_are_found() {
        let found = of_the_crates();
        assert!(found.len() > 5 && found.contains("fault_43_depth"), "{found:?}");
    }
}
