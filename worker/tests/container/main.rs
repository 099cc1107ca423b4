//! Tasks of type `container`: by a real podman, and as Jobs against a stub of a Kubernetes API server. Conditions are waited for
//! with a generous limit; no test counts on how long anything takes.
//!
//! Needs root, and the packages podman, runc and busybox-static; for the Kubernetes schemas PyPI's `kubernetes-validate`. Where
//! something is missing, the tests fail and say what to install.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fake;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod podman;
#[cfg(feature = "kubernetes")]
mod schemas;
#[cfg(feature = "kubernetes")]
mod stub;
mod world;
