//! Helpers of the store's tests.

pub(crate) mod etcd;
pub(crate) mod tls;
