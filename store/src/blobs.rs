//! Blobs by digest, in parts, written before the entry that names them: definitions, items files, runs that are live again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use penstock_common::Digest;
use penstock_common::limits::MAX_VALUE_BYTES;

use crate::fenced::{Fenced, FencedError};
use crate::keys::Keys;
use crate::port::{Error, Op, Range, Store, prefix_end};

/// Writes a blob. Content-addressed, so writing it again is harmless.
pub async fn write(fenced: &Fenced, keys: &Keys, digest: &Digest, bytes: &Bytes) -> Result<(), FencedError> {
    let parts = (0..bytes.len().div_ceil(MAX_VALUE_BYTES)).map(|part| {
        let from = part * MAX_VALUE_BYTES;
        Op::Put(keys.blob_part(digest, part), bytes.slice(from..bytes.len().min(from + MAX_VALUE_BYTES)), None)
    });
    fenced.write_all(parts.collect()).await
}

/// Every blob there is.
pub async fn list(store: &Arc<dyn Store>, keys: &Keys) -> Result<BTreeSet<Digest>, Error> {
    let parts = store.range(Range { keys_only: true, ..Range::prefix(&keys.blobs()) }).await?;
    Ok(parts.iter().filter_map(|kv| keys.blob_of(&kv.key)).collect())
}

/// Deletes blobs. That nobody names them any more, and that none of them is being written, is the caller's to know.
pub async fn delete(fenced: &Fenced, keys: &Keys, digests: &[Digest]) -> Result<(), FencedError> {
    let range = |digest| {
        let prefix = keys.blob(digest);
        Op::DeleteRange(prefix.clone(), prefix_end(&prefix))
    };
    fenced.write_all(digests.iter().map(range).collect()).await
}

/// Reads a blob and checks it.
pub async fn read(store: &Arc<dyn Store>, keys: &Keys, digest: &Digest) -> Result<Bytes, Error> {
    let parts = store.range(Range::prefix(&keys.blob(digest))).await?;
    let bytes: Vec<u8> = parts.iter().flat_map(|kv| kv.value.iter().copied()).collect();
    if Digest::of(&bytes) == *digest {
        Ok(bytes.into())
    } else {
        Err(Error::Damaged(format!("blob {digest} is missing or does not have its digest")))
    }
}
