//! The house itself: who depends on whom, where unsafe code is, what the umbrella re-exports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{faults, watchdog};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// (package, package of this workspace that it depends on outside of tests)
fn arrows() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    let mut arrows = BTreeSet::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if names.contains(name) && dependency["kind"].is_null() {
                arrows.insert((package["name"].as_str().unwrap().to_owned(), name.to_owned()));
            }
        }
    }
    arrows
}

#[test]
fn arrows_point_down() {
    let siblings = ["offspring", "pkit", "cross-process-bridge", "valkka-multiprocess"];
    for (from, to) in arrows() {
        let allowed = match from.as_str() {
            "common-ipc" | "cross-process-bridge-macros" => false,
            "multiprocess" => to == "common-ipc" || siblings.contains(&to.as_str()),
            "cross-process-bridge" => to == "common-ipc" || to == "cross-process-bridge-macros",
            "integration-tests" => true,
            sibling if siblings.contains(&sibling) => to == "common-ipc",
            other => panic!("a package that this test doesn't know: {other}"),
        };
        assert!(allowed, "{from} must not depend on {to}");
        assert_ne!(to, "integration-tests");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target" && name != ".git") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_has_one_home() {
    // The compiler denies it everywhere; this finds who was let off.
    let mut found = Vec::new();
    sources(&root(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    let lint = ["unsafe", "code"].join("_");
    let exempt: Vec<String> = found
        .iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.contains(&format!("expect({lint}")) || text.contains(&format!("allow({lint}"))
        })
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    let mut exempt: Vec<_> = exempt.iter().map(String::as_str).collect();
    exempt.sort_unstable();
    // The library's home of it, and the foreign code that tests and benchmarks play.
    assert_eq!(exempt, ["common-ipc/src/sys/mod.rs", "integration-tests/src/raw/mod.rs"]);
}

#[test]
fn the_rooms_of_the_base_point_down() {
    let floors =
        ["sys", "error", "ownership", "link", "memory", "logging", "process", "sync", "testing", "fuzzing"];
    let base = root().join("common-ipc/src");
    let mut files = Vec::new();
    sources(&base, &mut files);
    let mut seen = 0;
    for file in files {
        let place = file.strip_prefix(&base).unwrap();
        // Its upward arrows: changing the rule is unsafe, as is a place in a program's start-up code, and what is
        // unsafe is there.
        let upward = ["lib.rs", "sys/fork_rule.rs", "sys/before_main.rs"];
        if upward.map(Path::new).contains(&place) {
            continue;
        }
        let room = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let floor = floors.iter().position(|known| *known == room);
        let floor = floor.unwrap_or_else(|| panic!("a room that this test doesn't know: {room}"));
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for name in code.flat_map(|line| line.split("crate::").skip(1)) {
            let target = name.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let Some(target_floor) = floors.iter().position(|known| *known == target) else { continue };
            assert!(target_floor <= floor, "{} uses crate::{name}", place.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_fault_table_counts_what_is_tested() {
    let scenario = Path::new(env!("CARGO_BIN_EXE_scenario"));
    let mut names: BTreeSet<String> =
        watchdog::run(scenario, &["--list"]).stdout.lines().map(str::to_owned).collect();
    assert!(names.len() > 900, "{}", names.len());
    let programs =
        std::fs::read_to_string(root().join("integration-tests/tests/faults/programs.rs")).unwrap();
    names.extend(
        programs.lines().filter_map(|line| Some(line.strip_prefix("fn ")?.split_once('(')?.0.to_owned())),
    );
    let tested: BTreeSet<u32> = names.iter().filter_map(|name| faults::row_of(name)).collect();
    let rows = faults::rows();
    assert_eq!(rows.len(), 59);
    let held = rows.iter().filter(|(_, cells)| cells.last() == Some(&"yes"));
    assert_eq!(held.map(|(row, _)| *row).collect::<BTreeSet<u32>>(), tested);
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("**{} of 59 rows**", tested.len())));
}

/// The sources of the tests of each row, with what they use of the scenarios' common parts.
fn sources_of_rows() -> BTreeMap<u32, String> {
    let mut files = Vec::new();
    sources(&root().join("integration-tests/src/bin/scenario"), &mut files);
    sources(&root().join("integration-tests/tests/faults"), &mut files);
    // By the ends of their paths, as they are written after `crate::`.
    let read = |path: &PathBuf| {
        let module = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path }.with_extension("");
        let names: Vec<_> = module.iter().map(|name| name.to_str().unwrap()).collect();
        (names[names.len() - 3..].join("::"), std::fs::read_to_string(path).unwrap())
    };
    let files: BTreeMap<String, String> = files.iter().map(read).collect();
    let mut of_rows = BTreeMap::<u32, String>::new();
    for text in files.values() {
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
        let rows: BTreeSet<u32> = names.filter_map(faults::row_of).collect();
        let used = text.lines().filter_map(|line| line.strip_prefix("use crate::"));
        let part = |used: &str| {
            let (folder, rest) = used.split_once("::")?;
            let file = rest.trim_end_matches(';').split("::").next()?;
            files
                .get(&format!("scenario::{folder}::{file}"))
                .or(files.get(&format!("bin::scenario::{folder}")))
        };
        let parts: String = used.filter_map(part).map(String::as_str).collect();
        for row in rows {
            of_rows.entry(row).or_default().extend([text.as_str(), &parts]);
        }
    }
    of_rows
}

#[test]
fn the_fault_table_says_where_rows_are_tested() {
    let crates = [
        ("base", "common_ipc::"),
        ("offspring", "offspring::"),
        ("pkit", "pkit::"),
        ("bridge", "cross_process_bridge::"),
        ("valkka", "valkka_multiprocess::"),
    ];
    let ways = [("fork", "start"), ("template", "template"), ("zygote", "zygote")];
    let sources = sources_of_rows();
    for (row, cells) in faults::rows() {
        for (cell, known) in [(cells[3], &crates[..]), (cells[4], &ways)] {
            let named: Vec<&str> = match cell {
                "all" => known.iter().map(|(name, _)| *name).collect(),
                some => some.split(", ").collect(),
            };
            for name in named {
                let word = known.iter().find(|(known, _)| *known == name);
                let (_, word) = word.unwrap_or_else(|| panic!("row {row}: {name}"));
                assert!(sources[&row].contains(word), "row {row}: {name}");
            }
        }
    }
}
