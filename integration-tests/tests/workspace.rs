//! The house itself: who depends on whom, where unsafe code is, what the umbrella re-exports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let floors = ["sys", "error", "ownership", "link", "memory", "logging", "process", "sync", "testing"];
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
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let places = ["integration-tests/tests/scenarios.rs", "integration-tests/tests/programs.rs"];
    let beside_a_runtime = [
        "cross-process-bridge/tests/beside_tokio.rs",
        "valkka-multiprocess/tests/beside_tokio/commands.rs",
        "valkka-multiprocess/tests/beside_tokio/runtimes.rs",
    ];
    let tests = places.map(read).concat() + &beside_a_runtime.map(read).concat();
    let tested: BTreeSet<u32> =
        tests.split("fault_").filter_map(|rest| rest.get(..2)?.parse().ok()).collect();
    assert!(tested.len() > 20, "{tested:?}");
    let table = read("integration-tests/FAULTS.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 6 && cells[1].parse::<u32>().is_ok())
        .collect();
    assert_eq!(rows.len(), 59);
    let held = rows.iter().filter(|cells| cells[4] == "yes");
    assert_eq!(held.map(|cells| cells[1].parse().unwrap()).collect::<BTreeSet<u32>>(), tested);
    assert!(read("README.md").contains(&format!("**{} of 59 rows**", tested.len())));
}
