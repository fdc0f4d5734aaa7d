//! The packages as others get them: what each brings along, and under which licences.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const FAMILY: [&str; 6] =
    ["common-ipc", "offspring", "pkit", "cross-process-bridge", "valkka-multiprocess", "multiprocess"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// All packages, and who depends on whom, as far as this machine builds them.
fn metadata() -> Value {
    let compiler = Command::new("rustc").arg("-vV").output().unwrap();
    let compiler = String::from_utf8(compiler.stdout).unwrap();
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The alternatives of a licence expression, each of which is a set of licences that hold together.
fn alternatives(expression: &str) -> Vec<Vec<String>> {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // `AND` within an alternative of `OR` is as in SPDX, but for a first operand in brackets: of that each part counts.
    let part = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    match expression.split_once(" AND ") {
        Some((any, all)) if any.contains(" OR ") => {
            any.split(" OR ").map(|one| vec![part(one), part(all)]).collect()
        }
        _ => expression.split(" OR ").map(|one| one.split(" AND ").map(part).collect()).collect(),
    }
}

#[test]
fn licences_are_read_as_they_are_written() {
    let of = |expression: &str| alternatives(expression);
    assert_eq!(of("MIT"), [["MIT"]]);
    assert_eq!(of("MIT/Apache-2.0"), [["MIT"], ["Apache-2.0"]]);
    assert_eq!(of("MIT AND BSD-3-Clause"), [["MIT", "BSD-3-Clause"]]);
    assert_eq!(of("(MIT OR Apache-2.0) AND IJG"), [["MIT", "IJG"], ["Apache-2.0", "IJG"]]);
    assert_eq!(of("A WITH E OR B"), [["A WITH E"], ["B"]]);
}

#[test]
fn every_licence_is_one_of_those_that_are_allowed() {
    let configuration = read("deny.toml");
    let allowed = configuration.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: BTreeSet<&str> = allowed
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .collect();
    assert!(allowed.len() > 5 && allowed.contains("MIT"), "{allowed:?}");
    let mut needed = BTreeSet::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let (name, licence) = (text(&package["name"]), package["license"].as_str().unwrap_or("none"));
        let fitting = alternatives(licence)
            .into_iter()
            .find(|all| all.iter().all(|one| allowed.contains(one.as_str())));
        needed.extend(fitting.unwrap_or_else(|| panic!("{name}: {licence}")));
    }
    assert!(needed.len() > 3, "{needed:?}");
}

/// The packages that one brings along, outside of the family, as `cargo tree` counts them: with what is for compile time
/// only, but for build scripts; and with those features only that it asks for itself.
fn brought_along(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", name])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split_whitespace().next());
    let others = names.filter(|name| !FAMILY.contains(name) && *name != "cross-process-bridge-macros");
    others.map(str::to_owned).collect()
}

#[test]
fn the_readme_says_how_many_crates_each_brings_along() {
    let readme = read("README.md");
    for name in FAMILY {
        let brought = brought_along(name);
        let row = readme.lines().find(|line| line.starts_with(&format!("| [`{name}`]"))).unwrap();
        let count = brought.len();
        assert!(row.ends_with(&format!("| {count} |")), "{name} brings {count} along: {brought:?}\n{row}");
        // What only the feature `tokio` needs, and what only examples and tests do.
        for other in ["tokio", "image", "axum", "indicatif", "serde_json"] {
            assert!(!brought.contains(other), "{name}: {other}");
        }
    }
    assert!(!brought_along("offspring").contains("rmp-serde"));
    assert!(brought_along("valkka-multiprocess").contains("rmp-serde"));
}

#[test]
fn what_is_published_says_what_it_is() {
    for package in metadata()["packages"].as_array().unwrap() {
        let is_own = package["source"].is_null();
        let is_published = package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
        if is_own && is_published {
            for field in ["description", "license", "readme", "rust_version"] {
                assert!(package[field].is_string(), "{} has no {field}", package["name"]);
            }
            let readme = Path::new(text(&package["manifest_path"])).with_file_name(text(&package["readme"]));
            assert!(readme.exists(), "{}", readme.display());
        }
    }
}
