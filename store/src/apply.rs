//! What a transaction means, written once for the two backends that have no server: [`check`] refuses what can
//! never work (the etcd adapter asks it too, so that every backend refuses the same), [`apply`] decides and does.
//!
//! Not here: where pairs are kept ([`Table`]), durability, sessions' ends. Tested by the conformance suite.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::port::{Error, Guard, Key, KeyValue, Op, Outcome, SessionId, Txn};

/// Guards, operations or `otherwise` keys in one transaction, each counted apart: etcd's `--max-txn-ops`.
pub(crate) const MAX_OPS: usize = 128;
/// Bytes of one transaction: etcd's `--max-request-bytes` (1.5 MiB) less 16 KiB for its own fields.
pub(crate) const MAX_BYTES: usize = 1536 * 1024 - 16 * 1024;
/// What a guard or an operation takes beside its key and value, encoded, at most.
const OVERHEAD_BYTES: usize = 48;

/// Refuses a transaction that no backend can do.
pub(crate) fn check(txn: &Txn) -> Result<(), Error> {
    for (what, count) in [("guards", txn.guards.len()), ("operations", txn.then.len()), ("keys to read", txn.otherwise.len())] {
        if count > MAX_OPS {
            return Err(Error::Invalid(format!("a transaction of {count} {what}: at most {MAX_OPS} are taken")));
        }
    }
    let mut bytes = 0;
    let mut put = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    for guard in &txn.guards {
        let (Guard::CreatedAt(key, _) | Guard::Exists(key) | Guard::Absent(key)) = guard;
        not_empty(key)?;
        if let Guard::CreatedAt(_, 0) = guard {
            return Err(Error::Invalid(format!("a guard on {key} being created at revision 0: no key ever is")));
        }
        bytes += key.len() + OVERHEAD_BYTES;
    }
    for op in &txn.then {
        let fresh = match op {
            Op::Put(key, value, _) => {
                not_empty(key)?;
                bytes += value.len();
                put.insert(key.as_str())
            }
            Op::Delete(key) => {
                not_empty(key)?;
                deleted.insert(key.as_str())
            }
            Op::DeleteRange(from, to) => {
                not_empty(from)?;
                bytes += to.len();
                true
            }
        };
        let (Op::Put(key, ..) | Op::Delete(key) | Op::DeleteRange(key, _)) = op;
        if !fresh {
            return Err(twice(key));
        }
        bytes += key.len() + OVERHEAD_BYTES;
    }
    if let Some(key) = put.intersection(&deleted).next() {
        return Err(twice(key));
    }
    for op in &txn.then {
        if let Op::DeleteRange(from, to) = op
            && from < to
            && let Some(key) = put.range(from.as_str()..to.as_str()).next()
        {
            return Err(twice(key));
        }
    }
    for key in &txn.otherwise {
        not_empty(key)?;
        bytes += key.len() + OVERHEAD_BYTES;
    }
    if bytes > MAX_BYTES {
        return Err(Error::Invalid(format!("a transaction of {bytes} bytes: at most {MAX_BYTES} are taken")));
    }
    Ok(())
}

fn not_empty(key: &str) -> Result<(), Error> {
    if key.is_empty() { Err(Error::Invalid("an empty key".to_owned())) } else { Ok(()) }
}

fn twice(key: &str) -> Error {
    Error::Invalid(format!("a transaction that writes {key} twice"))
}

/// The refusal of a put under a session that is not, or no longer, open.
pub(crate) fn no_session(session: SessionId) -> Error {
    Error::Invalid(format!("a put under session {}, which has ended: open another", session.0))
}

/// Pairs as [`apply`] sees them: the current ones, and the session each is bound to.
pub(crate) trait Table {
    /// What reading or writing it can answer besides.
    type Failure: From<Error>;
    /// The revision of the last transaction that changed something.
    fn revision(&self) -> u64;
    /// One pair.
    fn get(&self, key: &str) -> Result<Option<KeyValue>, Self::Failure>;
    /// The session is open.
    fn is_open(&self, session: SessionId) -> bool;
    /// Writes a pair and binds it to the session, or to none.
    fn put(&mut self, pair: KeyValue, session: Option<SessionId>) -> Result<(), Self::Failure>;
    /// Deletes a pair; `false` if there was none.
    fn delete(&mut self, key: &str) -> Result<bool, Self::Failure>;
    /// The keys in `[from, to)`.
    fn keys(&self, from: &str, to: &str) -> Result<Vec<Key>, Self::Failure>;
}

/// Does a transaction that [`check`] let pass, or refuses it and changes nothing. Returns the keys changed; if there
/// are any, the revision of the outcome is one higher than the table's and the caller stores it. On an error the
/// table may be half changed: the caller drops it.
pub(crate) fn apply<T: Table>(table: &mut T, txn: &Txn) -> Result<(Outcome, Vec<Key>), T::Failure> {
    for guard in &txn.guards {
        let holds = match guard {
            Guard::CreatedAt(key, revision) => table.get(key)?.is_some_and(|pair| pair.created == *revision),
            Guard::Exists(key) => table.get(key)?.is_some(),
            Guard::Absent(key) => table.get(key)?.is_none(),
        };
        if !holds {
            let read = txn.otherwise.iter().map(|key| table.get(key)).collect::<Result<_, _>>()?;
            return Ok((Outcome::Refused(read), Vec::new()));
        }
    }
    for op in &txn.then {
        if let Op::Put(_, _, Some(session)) = op
            && !table.is_open(*session)
        {
            return Err(no_session(*session).into());
        }
    }
    let revision = table.revision() + 1;
    let mut changed = Vec::new();
    for op in &txn.then {
        match op {
            Op::Put(key, value, session) => {
                let created = table.get(key)?.map_or(revision, |pair| pair.created);
                let pair = KeyValue { key: key.clone(), value: Bytes::clone(value), created, modified: revision };
                table.put(pair, *session)?;
                changed.push(key.clone());
            }
            Op::Delete(key) => {
                if table.delete(key)? {
                    changed.push(key.clone());
                }
            }
            Op::DeleteRange(from, to) => {
                for key in table.keys(from, to)? {
                    table.delete(&key)?;
                    changed.push(key);
                }
            }
        }
    }
    Ok((Outcome::Committed(if changed.is_empty() { revision - 1 } else { revision }), changed))
}
