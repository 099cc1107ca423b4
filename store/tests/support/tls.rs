//! Certificates for a test, made by the `openssl` command: an authority, and what it signs for 127.0.0.1.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// An authority of its own directory.
pub(crate) struct Authority {
    directory: TempDir,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("penstock-tls-").expect("makes a directory");
        let new = Self { directory };
        new.openssl(&["req", "-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"]);
        new
    }

    /// Makes `<name>.pem` and `<name>.key`.
    pub(crate) fn issue(&self, name: &str) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        self.openssl(&[
            "req",
            "-x509",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
    }

    /// Where a file is.
    pub(crate) fn path(&self, file: &str) -> String {
        let path: PathBuf = self.directory.path().join(file);
        path.to_str().expect("is text").to_owned()
    }

    /// What is in it.
    pub(crate) fn pem(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("was made")
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("openssl cannot be started ({error}): run `make test`, which installs it first"));
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }
}
