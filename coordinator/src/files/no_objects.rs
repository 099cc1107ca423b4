//! Objects of a store, for a coordinator that was built without them.

use super::Looked;

#[derive(Debug)]
pub(crate) enum Objects {}

impl Objects {
    pub(crate) fn open(scheme: &str, rest: &str) -> Result<Self, String> {
        Err(format!("path {scheme}://{rest} is in an object store, and this coordinator was built without them (feature object-store)"))
    }

    #[allow(clippy::unused_async, reason = "the other one waits")]
    pub(crate) async fn look(&self, _limit: usize) -> Looked {
        match *self {}
    }
}
