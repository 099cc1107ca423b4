//! Whether objects are as Kubernetes publishes that they are to be: by PyPI's `kubernetes-validate`, which holds the schemas, and
//! by a few rules that schemas do not have.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The oldest and the newest that the crate `k8s-openapi` and the checker have in common.
const VERSIONS: [&str; 2] = ["1.33.0", "1.37.0"];

/// Panics with what is wrong.
pub(crate) fn check(objects: &[Value]) {
    if objects.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..objects.len()).map(|i| dir.path().join(format!("{i}.json"))).collect();
    for (object, file) in objects.iter().zip(&files) {
        std::fs::write(file, object.to_string()).unwrap();
    }
    for version in VERSIONS {
        let output = Command::new(program()).args(["--strict", "--no-warn", "-k", version]).args(&files).output();
        let output = output.expect("kubernetes-validate; install it: make target/python/ready");
        assert!(
            output.status.success(),
            "{version}: {}{}\n{objects:#?}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// `$KUBERNETES_VALIDATE`, `target/python` of the workspace, or wherever it is.
fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/kubernetes-validate");
    match std::env::var_os("KUBERNETES_VALIDATE") {
        Some(program) => program.into(),
        None if installed.exists() => installed,
        None => "kubernetes-validate".into(),
    }
}

/// What an API server checks besides.
pub(crate) fn is_admissible(object: &Value) -> Result<(), String> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(in_name) || name.starts_with('-') || name.ends_with('-') {
        return Err(format!("metadata.name {name:?}"));
    }
    let in_label = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    for (label, value) in metadata["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 || !value.chars().all(in_label) {
            return Err(format!("label {label}: {value:?}"));
        }
    }
    let mut names: Vec<_> =
        object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten().map(|c| c["name"].to_string()).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("containers {names:?}"));
    }
    Ok(())
}

#[test]
fn what_no_schema_has_is_found() {
    let job = |field: &str| {
        let template = serde_json::json!({"spec": {"containers": [{"name": "c"}]}});
        serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template, field: 1}})
    };
    check(&[job("parallelism")]);
    assert!(std::panic::catch_unwind(|| check(&[job("paralelism")])).is_err());
}
