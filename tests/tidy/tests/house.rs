//! The house keeps its order: who may use whom, files that open with what they are, documents whose links lead somewhere,
//! invariants that have a number in the docs and in the tests.

#![allow(clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is two levels up")
}

fn tracked(suffix: &str) -> Vec<PathBuf> {
    let out = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output().expect("git runs");
    assert!(out.status.success(), "git ls-files: {}", String::from_utf8_lossy(&out.stderr));
    let files = String::from_utf8(out.stdout).expect("names are UTF-8");
    files.lines().filter(|f| f.ends_with(suffix)).map(|f| root().join(f)).filter(|p| p.exists()).collect()
}

/// Direct dependencies of each crate of the workspace, tests apart.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).expect("metadata is JSON");
    let list = |v: &serde_json::Value| v.as_array().cloned().unwrap_or_default();
    let name = |v: &serde_json::Value| v["name"].as_str().unwrap_or_default().to_owned();
    let direct = |p: &serde_json::Value| list(&p["dependencies"]).iter().filter(|d| d["kind"].is_null()).map(name).collect();
    list(&metadata["packages"]).iter().map(|p| (name(p), direct(p))).collect()
}

#[test]
fn crates_use_only_whom_they_may() {
    let may: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("penstock-common", &[][..]),
        ("penstock-scheduler", &["penstock-common"]),
        ("penstock-store", &["penstock-common"]),
        ("penstock-proto", &["penstock-common"]),
        ("penstock-telemetry", &[]),
        ("penstock-worker", &["penstock-proto", "penstock-telemetry", "penstock-common"]),
        ("penstock-coordinator", &["penstock-scheduler", "penstock-store", "penstock-proto", "penstock-telemetry", "penstock-common"]),
        ("penstock-client", &["penstock-proto", "penstock-common"]),
    ]);
    let found = dependencies();
    for (krate, allowed) in may {
        let direct = &found[krate];
        let inside: Vec<_> = direct.iter().filter(|d| d.starts_with("penstock")).collect();
        for d in inside {
            assert!(allowed.contains(&d.as_str()), "{krate} must not use {d}: see the dependency directions in ARCHITECTURE.md");
        }
    }
    for outside in ["tokio", "tonic", "prost", "tracing", "etcd-client"] {
        assert!(!found["penstock-scheduler"].contains(outside), "the scheduler is pure: it must not use {outside}");
        assert!(!found["penstock-common"].contains(outside), "the vocabulary does no I/O: it must not use {outside}");
    }
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    for file in tracked(".rs") {
        let text = std::fs::read_to_string(&file).expect("a source file is UTF-8");
        let first = text.lines().find(|l| !l.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} does not open with a //! line that says what it is", file.display());
    }
}

#[test]
fn no_line_is_unfinished_business() {
    for file in tracked(".rs").into_iter().filter(|f| !f.ends_with("house.rs")) {
        let text = std::fs::read_to_string(&file).expect("a source file is UTF-8");
        for (n, line) in text.lines().enumerate() {
            for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
                assert!(!line.contains(word), "{}:{}: {word}", file.display(), n + 1);
            }
            // A test is passed over only where another runs it, or where it asserts nothing.
            let passed_over = line.trim_start().starts_with("#[ignore");
            let said = line.contains("\"run by another test\"") || line.contains("\"a measurement: ");
            assert!(!passed_over || said, "{}:{}: a test that is passed over", file.display(), n + 1);
        }
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    for file in tracked(".md") {
        let text = std::fs::read_to_string(&file).expect("a document is UTF-8");
        let folder = file.parent().expect("a file has a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            assert!(folder.join(target).exists(), "{} links to {target}, which does not exist", file.display());
        }
    }
}

#[test]
fn every_invariant_of_the_docs_is_named_in_a_test() {
    let docs = std::fs::read_to_string(root().join("docs/invariants.md")).expect("docs/invariants.md exists");
    let numbers: BTreeSet<String> = docs
        .lines()
        .filter_map(|l| l.strip_prefix("| "))
        .filter_map(|l| l.split(' ').next())
        .filter(|w| w.len() <= 3 && w.starts_with(|c: char| "LRTX".contains(c)) && w[1..].parse::<u8>().is_ok())
        .map(str::to_owned)
        .collect();
    assert!(numbers.len() >= 15, "docs/invariants.md lists invariants as table rows that begin with their number; found {numbers:?}");
    let tests: String = tracked(".rs")
        .into_iter()
        .filter(|f| f.components().any(|c| c.as_os_str() == "tests") || f.ends_with("tests.rs"))
        .map(|f| std::fs::read_to_string(f).expect("a source file is UTF-8"))
        .collect();
    let words: BTreeSet<&str> = tests.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for number in &numbers {
        assert!(words.contains(number.as_str()), "invariant {number} is named in no test");
    }
}
