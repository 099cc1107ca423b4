//! Typed names and numbers. A string from outside becomes one of these or is refused; no path, key or
//! command is ever built from an unparsed string.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a string is not a valid id: what it was meant to be, what was found, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a valid {kind}: {expected}")]
pub struct InvalidId {
    /// What the string was meant to be.
    pub kind: &'static str,
    /// The string, cut to 80 characters.
    pub found: String,
    /// The rule it breaks.
    pub expected: &'static str,
}

fn invalid(kind: &'static str, found: &str, expected: &'static str) -> InvalidId {
    InvalidId { kind, found: found.chars().take(80).collect(), expected }
}

/// `^[a-z][a-z0-9_]{0,62}$`: task ids, params and output keys, which are also names in expressions and variables.
pub fn is_identifier(s: &str) -> bool {
    let mut bytes = s.bytes();
    s.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `^[a-z][a-z0-9_.-]{0,62}$`: pipelines, namespaces, queues and pools.
pub fn is_dotted_name(s: &str) -> bool {
    let mut bytes = s.bytes();
    s.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'))
}

/// `^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`: run ids, workers, nodes, sessions. Never `..`, so safe as one path segment.
pub fn is_token(s: &str) -> bool {
    let mut bytes = s.bytes();
    s.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !s.contains("..")
}

/// A token to which a run's interval can be added.
fn is_backfill(s: &str) -> bool {
    is_token(s) && s.len() <= 60
}

/// `^[A-Za-z][A-Za-z0-9_.-]{0,127}$`: secrets, as a worker's configuration names them.
pub fn is_secret_name(s: &str) -> bool {
    is_token(s) && s.starts_with(|c: char| c.is_ascii_alphabetic())
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses `s`, or says which rule it breaks.
            pub fn parse(s: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(s) { Ok(Self(Arc::from(s))) } else { Err(invalid($kind, s, $expected)) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::parse(s)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::parse(&s).map_err(serde::de::Error::custom)
            }
        }
    };
}

string_id!(
    /// A task of a pipeline.
    TaskId, "task id", is_identifier, "use a lower-case letter, then at most 62 of a-z, 0-9 and _"
);
string_id!(
    /// A queue: which workers may run a task.
    QueueName, "queue name", is_dotted_name, "use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -"
);
string_id!(
    /// A pool: a cluster-wide count of slots that tasks take while they run.
    PoolName, "pool name", is_dotted_name, "use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -"
);
string_id!(
    /// What starts runs of a pipeline: `schedule`, or an item of its `triggers`.
    TriggerName, "trigger name", is_identifier, "use a lower-case letter, then at most 62 of a-z, 0-9 and _"
);
string_id!(
    /// A backfill: a ULID minted by the client, or a name the user chose.
    BackfillId, "backfill id", is_backfill, "use a letter or digit, then at most 59 of A-Z, a-z, 0-9, _, . and - (no '..')"
);
string_id!(
    /// One execution of a pipeline: a ULID minted by the client, or a name the user chose.
    RunId, "run id", is_token, "use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and - (no '..')"
);
string_id!(
    /// A worker's name, stable over its restarts.
    WorkerName, "worker name", is_token, "use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and - (no '..')"
);
string_id!(
    /// A coordinator's name.
    NodeName, "node name", is_token, "use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and - (no '..')"
);
string_id!(
    /// One life of a worker process; a restart is a new session.
    SessionId, "session id", is_token, "it is a ULID minted by the worker"
);
string_id!(
    /// Minted by a client before its first try, so that a repeated call is answered and not done again.
    RequestId, "request id", is_token, "it is a ULID minted by the client"
);

/// A task of a run: `load`, or an instance of a mapped one: `load[0]`, `load[dwh]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The task of the plan.
    pub task: TaskId,
    /// Which instance, if it is one.
    pub index: Option<Index>,
}

/// Which instance of a mapped task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Index {
    /// Its item's place, from 0 on.
    Number(u32),
    /// Its item, where every item is a name and there is none twice.
    Name(TaskId),
}

impl TaskKey {
    /// Parses `task`, `task[0]` or `task[name]`.
    pub fn parse(s: &str) -> Result<Self, InvalidId> {
        let (task, index) = match s.strip_suffix(']').and_then(|s| s.split_once('[')) {
            Some((task, index)) => (task, Some(index)),
            None => (s, None),
        };
        let index = match index {
            None => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                let expected = "an instance's number is at most 4294967295, as in load[0]";
                Some(Index::Number(digits.parse().map_err(|_| invalid("task", s, expected))?))
            }
            Some(name) => Some(Index::Name(TaskId::parse(name)?)),
        };
        Ok(Self { task: TaskId::parse(task)?, index })
    }
}

impl From<TaskId> for TaskKey {
    fn from(task: TaskId) -> Self {
        Self { task, index: None }
    }
}
impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.index {
            None => f.pad(self.task.as_str()),
            Some(index) => f.pad(&format!("{}[{index}]", self.task)),
        }
    }
}
impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for TaskKey {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        Self::parse(s)
    }
}
impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pipeline: `namespace/name`. The default namespace, `default`, need not be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineName {
    full: Arc<str>,
    slash: usize,
}

impl PipelineName {
    /// The namespace of a name written without one.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// Parses `name` or `namespace/name`.
    pub fn parse(s: &str) -> Result<Self, InvalidId> {
        let (namespace, name) = s.split_once('/').unwrap_or((Self::DEFAULT_NAMESPACE, s));
        if !is_dotted_name(namespace) || !is_dotted_name(name) {
            return Err(invalid(
                "pipeline name",
                s,
                "use name or namespace/name, each a lower-case letter, then at most 62 of a-z, 0-9, _, . and -",
            ));
        }
        Ok(Self { full: Arc::from(format!("{namespace}/{name}")), slash: namespace.len() })
    }
    /// `namespace/name`, always with its namespace: the form of keys and records.
    pub fn full(&self) -> &str {
        &self.full
    }
    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        &self.full[..self.slash]
    }
    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.full[self.slash + 1..]
    }
}

impl fmt::Display for PipelineName {
    /// The default namespace is not written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace() == Self::DEFAULT_NAMESPACE { f.write_str(self.name()) } else { f.write_str(&self.full) }
    }
}
impl fmt::Debug for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}
impl FromStr for PipelineName {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        Self::parse(s)
    }
}
impl Serialize for PipelineName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.full)
    }
}
impl<'de> Deserialize<'de> for PipelineName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&s).map_err(serde::de::Error::custom)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A run's number within its cluster, counted from 1 in the order of creation: what events and indexes use, since a
    /// [`RunId`] may be long. Never shown to users.
    RunNo
);
number_id!(
    /// The cluster-wide rising number of one lease. Its reports carry it; a sink may refuse lower ones.
    Fence
);
number_id!(
    /// An event that was accepted and may start runs, counted from 1.
    EventNo
);
number_id!(
    /// A journal position. Entry 0 is written with the cluster's creation.
    Seq
);

/// A leadership term: (incarnation of the store, create revision of the leader's candidate key). Rises strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Raised by a restore or a migration, which may set revisions back.
    pub incarnation: u64,
    /// The store revision at which the candidate key was created.
    pub revision: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for bad in ["", "..", "a/../b", "a\0b", "a\nb", "A", "1a", "é", "a b", &"a".repeat(200_000)] {
            assert!(TaskId::parse(bad).is_err(), "{bad:?}");
            assert!(PipelineName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "..", "a..b", "../x", "a/b", "a\0b", ".hidden", "-rf"] {
            assert!(RunId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_namespace_need_not_be_written() {
        let short = PipelineName::parse("daily_etl").unwrap();
        let long = PipelineName::parse("default/daily_etl").unwrap();
        assert_eq!(short, long);
        assert_eq!(short.full(), "default/daily_etl");
        assert_eq!(long.to_string(), "daily_etl");
        assert_eq!(PipelineName::parse("crm/sync.v2").unwrap().to_string(), "crm/sync.v2");
    }
}
