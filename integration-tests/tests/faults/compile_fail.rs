//! Row 53: what borrows memory can't outlive it. The first line of each program says by which error it fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use integration_tests::suite::Outcome;

/// The library of this name that was built last, beside this very test.
fn library(folder: &Path, name: &str) -> PathBuf {
    let start = format!("lib{name}-");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let fits = |file: &std::fs::DirEntry| {
        file.file_name().to_str().is_some_and(|name| name.starts_with(&start) && name.ends_with(".rlib"))
    };
    let built = |file: &std::fs::DirEntry| {
        file.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    files.filter(fits).max_by_key(built).unwrap().path()
}

pub(crate) fn fault_53_what_borrows_memory_does_not_outlive_it() -> Outcome {
    if Command::new("rustc").arg("--version").output().is_err() {
        return Outcome::Skipped("there is no compiler".to_owned());
    }
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().unwrap();
    let base = library(folder, "common_ipc");
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail/memory");
    let output = std::env::temp_dir().join(format!("multiprocess-compiled-{}", std::process::id()));
    let mut count = 0;
    for entry in std::fs::read_dir(programs).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.strip_prefix("// error").and_then(|rest| rest.split(':').next());
        let compiled = Command::new("rustc")
            .args(["--edition", "2024", "--emit", "metadata", "--error-format", "short", "-o"])
            .arg(&output)
            .arg(format!("-Ldependency={}", folder.display()))
            .arg(format!("--extern=common_ipc={}", base.display()))
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&compiled.stderr);
        let errors: Vec<_> = said.lines().filter(|line| line.contains("error[")).collect();
        match expected {
            None => assert!(compiled.status.success(), "{}: {said}", path.display()),
            Some(code) => {
                assert!(!compiled.status.success(), "{} compiles", path.display());
                let fits = |line: &&str| line.contains(&format!("error{code}"));
                assert!(!errors.is_empty() && errors.iter().all(fits), "{}: {said}", path.display());
                count += 1;
            }
        }
    }
    let _ = std::fs::remove_file(output);
    assert!(count > 2, "{count}");
    Outcome::Passed
}
