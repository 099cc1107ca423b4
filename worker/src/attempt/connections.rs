//! Named database connections of the worker's configuration. A document says a name and never an address or a password.
//!
//! ```toml
//! [warehouse]
//! url = "postgres://etl@db.example.com/warehouse?sslmode=require"
//! password = { secret = "WAREHOUSE_PASSWORD" }
//!
//! [crm]
//! url = { secret = "CRM_URL" }
//!
//! [local]
//! url = "sqlite:data/local.db"        # relative to the code root
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_common::ids;
use penstock_common::pipeline::Setting;
use serde::Deserialize;

/// What a file of connections may come to.
const MAX_BYTES: u64 = 1024 * 1024;

/// The connections by name. `Debug` shows names, never addresses or passwords.
#[derive(Clone, Default)]
pub struct Connections(Arc<BTreeMap<String, Connection>>);

/// One of them. No `Debug`: a URL may hold a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    /// `postgres://…` or `sqlite:path`, as it is or a secret; not a template.
    pub(crate) url: Setting,
    /// For PostgreSQL, instead of one in the URL.
    #[serde(default)]
    pub(crate) password: Option<Setting>,
}

/// Why there are no connections. Shows where, never what stands there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the connections file {} cannot be read: {why}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// It is not as expected.
    #[error(
        "the connections file {}, line {line}: {why}. Expected is a section for each connection, such as [warehouse], with `url` and \
         perhaps `password`, each a text or {{ secret = \"NAME\" }}", path.display()
    )]
    Parse {
        /// Which.
        path: PathBuf,
        /// From 1 on.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// A connection is not as expected.
    #[error("the connections file {}, connection {name:?}: {why}", path.display())]
    Connection {
        /// Which file.
        path: PathBuf,
        /// Which connection.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// The databases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    /// By the scheme of a URL.
    pub(crate) fn of(url: &str) -> Result<Self, String> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("sqlite") => Ok(Self::Sqlite),
            _ => Err("the URL begins with neither postgres:// nor sqlite:, and these are the databases there are".to_owned()),
        }
    }
}

impl Connections {
    /// Reads a file. Blocks. Where secrets are named, they are not looked up before a task needs them.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |why| Error::Read { path: path.to_owned(), why };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > MAX_BYTES {
            return Err(failed(std::io::Error::other(format!("it has {size} bytes, and at most {MAX_BYTES} are read"))));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let connections: BTreeMap<String, Connection> = toml::from_str(text).map_err(|error| {
            // Only the message: its `Display` shows the line, where a password may stand.
            let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or(text).matches('\n').count());
            Error::Parse { path: path.to_owned(), line, why: error.message().to_owned() }
        })?;
        for (name, connection) in &connections {
            let wrong = |why: String| Error::Connection { path: path.to_owned(), name: name.clone(), why };
            if !ids::is_token(name) {
                return Err(wrong("its name must be a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and -".to_owned()));
            }
            if let Setting::Template(url) = &connection.url {
                let kind = Kind::of(url).map_err(wrong)?;
                if kind == Kind::Sqlite && connection.password.is_some() {
                    return Err(wrong("a SQLite file has no password".to_owned()));
                }
            }
        }
        Ok(Self(Arc::new(connections)))
    }

    /// The connection, or the names there are.
    pub(crate) fn get(&self, name: &str) -> Result<&Connection, String> {
        self.0.get(name).ok_or_else(|| {
            let there = match self.0.len() {
                0 => "it has none: name a file of them with --connections".to_owned(),
                _ => format!("it has {}", self.0.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            format!("this worker has no connection {name:?}; {there}")
        })
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Connections, Error> {
        Connections::parse(Path::new("c.toml"), text)
    }

    #[test]
    fn urls_and_passwords_are_texts_or_secrets() {
        let text = "[a]\nurl = 'postgres://u@h/d'\npassword = {secret = 'P'}\n[b]\nurl = {secret = 'B'}\n[c]\nurl = 'sqlite:x.db'\n";
        let connections = parse(text).unwrap();
        assert_eq!(connections.get("a").unwrap().password, Some(Setting::Secret { secret: "P".into() }));
        let missing = connections.get("warehous").err().unwrap();
        assert!(missing.contains("a, b, c"), "{missing}");
        assert_eq!(format!("{connections:?}"), r#"{"a", "b", "c"}"#);
        assert!(Connections::default().get("x").err().unwrap().contains("--connections"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_passwords() {
        for (text, expected) in [
            ("[a]\nurl = 'postgres://u:hunter2@h/d'\npasword = 'hunter2'\n", "line 3"),
            ("[a]\nurl = 'hunter2", "line 2"),
            ("[a]\npassword = 'hunter2'\n", "url"),
            ("[a]\nurl = ['hunter2']\n", "line 2"),
            ("[a]\nurl = 'mysql://u:hunter2@h/d'\n", "postgres://"),
            ("[a]\nurl = 'sqlite:x'\npassword = 'hunter2'\n", "SQLite"),
            ("['a b']\nurl = 'sqlite:x'\n", "its name"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("c.toml") && error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(Connections::load(Path::new("/nowhere/c.toml")), Err(Error::Read { .. })));
    }
}
