//! Typed readers over the tree. Each returns the value or notes what was found, where, and what would be right.
//!
//! What the document's keys are is in [`super::keys`]; here is what *a* duration, *a* name or *a* mapping of known keys is.

mod text;

use std::fmt;
use std::str::FromStr;

use super::found::{Found, cut, listed};
use super::node::{Entry, Kind, Node};
use super::scalar::{Core, is_yaml_1_1_bool, resolve};
use super::template::Templates;
use crate::Millis;
use crate::ids::InvalidId;
use crate::pipeline::Location;
use crate::schedule::Problem;

/// No duration is longer: ten years. Sums of a few of them and a date fit in 64 bits with room to spare.
const MAX_DURATION: Millis = Millis(3_650 * 86_400_000);

/// A key the document may have: one row of a table in [`super::keys`].
pub(in crate::pipeline) struct Key<T: 'static> {
    pub(in crate::pipeline) name: &'static str,
    /// For the schema: what it is.
    pub(in crate::pipeline) about: &'static str,
    /// For the schema: which values it takes.
    pub(in crate::pipeline) schema: fn() -> serde_json::Value,
    /// `None`: it has a meaning, but not in this version.
    read: Option<Read<T>>,
}

type Read<T> = fn(&mut Reader, &Node<'_>, &mut T);

impl<T> Key<T> {
    pub(super) const fn new(name: &'static str, about: &'static str, schema: fn() -> serde_json::Value, read: Read<T>) -> Self {
        Self { name, about, schema, read: Some(read) }
    }
    /// A key of a later version: refused, but not called unknown.
    pub(super) const fn later(name: &'static str) -> Self {
        Self { name, about: "", schema: || serde_json::Value::Null, read: None }
    }
    pub(in crate::pipeline) fn is_supported(&self) -> bool {
        self.read.is_some()
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Located<T> {
    pub(super) at: Location,
    pub(super) value: T,
}

/// A text, and where each part of it stands.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Placed {
    pub(super) text: String,
    pub(super) at: Location,
    /// As [`Node::inset`] says.
    inset: Option<u32>,
}

impl Placed {
    /// Where a byte of the text stands, if that is known; else where the whole does.
    pub(super) fn place(&self, byte: usize) -> Location {
        match (self.inset, self.text.get(..byte)) {
            (Some(inset), Some(before)) => {
                let columns = u32::try_from(before.chars().count()).unwrap_or(u32::MAX);
                Location { column: self.at.column.saturating_add(inset).saturating_add(columns), ..self.at }
            }
            _ => self.at,
        }
    }
}

/// A template that compiles.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Template {
    pub(super) text: String,
    pub(super) uses: Uses,
}

/// What a template or an expression uses that only the whole document can judge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Uses {
    pub(super) at: Location,
    /// T of `outputs.T`.
    pub(super) outputs: Vec<String>,
    /// T of `previous.outputs.T`.
    pub(super) previous: Vec<String>,
    /// `item`.
    pub(super) item: bool,
}

/// Reads values and notes what is wrong with them.
pub(super) struct Reader {
    pub(super) found: Found,
    /// Parameters that templates use; which there are is known at the end.
    pub(super) params_used: Vec<Located<String>>,
    /// Where templates and expressions of tasks use `interval`; whether there is one is known at the end.
    pub(super) intervals_used: Vec<Location>,
    /// What the templates of the task that is read use, those in values that are merged with the defaults' apart.
    pub(super) uses: Vec<Uses>,
    templates: Templates,
    subject: Subject,
}

/// Whose value is read, for messages.
enum Subject {
    Document,
    Key(&'static str),
    /// What kind of thing, and the name the user chose for it.
    Named(&'static str, String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("the document"),
            Self::Key(name) => write!(f, "`{name}`"),
            Self::Named(kind, name) => write!(f, "{kind} `{}`", cut(name)),
        }
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            found: Found::new(),
            params_used: Vec::new(),
            intervals_used: Vec::new(),
            uses: Vec::new(),
            templates: Templates::new(),
            subject: Subject::Document,
        }
    }

    /// An error in the value of the current key.
    pub(super) fn refuse(&mut self, at: Location, what: &str, hint: impl Into<String>) {
        let message = format!("{} {what}", self.subject);
        self.found.error(at, message, hint);
    }

    /// "`key` must be …, found …". Silent where an error is noted already.
    pub(super) fn mismatch(&mut self, node: &Node<'_>, expected: &str, hint: impl Into<String>) {
        let mut hint = hint.into();
        if hint.is_empty() {
            hint = format!("write {expected}");
        }
        match node.kind() {
            Kind::Broken => {}
            Kind::Scalar { text, plain: true, .. } if resolve(text) == Core::Null => {
                self.refuse(node.at, &format!("is empty; it must be {expected}"), hint);
            }
            _ => self.refuse(node.at, &format!("must be {expected}, found {}", describe(node)), hint),
        }
    }

    /// Reads the entries of a mapping by tables of keys. False if it is no mapping.
    pub(super) fn mapping<T>(&mut self, node: &Node<'_>, tables: &[&'static [Key<T>]], into: &mut T) -> bool {
        let Kind::Mapping(entries) = node.kind() else {
            let known = listed(supported(tables));
            self.mismatch(node, "a mapping", format!("its keys are: {known}"));
            return false;
        };
        for entry in entries {
            match tables.iter().copied().flatten().find(|key| key.name == entry.key) {
                Some(Key { name, read: Some(read), .. }) => {
                    let outer = std::mem::replace(&mut self.subject, Subject::Key(name));
                    read(self, &entry.value, into);
                    self.subject = outer;
                }
                Some(Key { name, .. }) => {
                    let hint = format!("remove it; supported here: {}", listed(supported(tables)));
                    self.found.error(entry.at, format!("`{name}` is not supported by this version"), hint);
                }
                None => self.unknown(entry, tables),
            }
        }
        true
    }

    /// Reads a text that stands for a mapping with one key.
    pub(super) fn short<T>(&mut self, node: &Node<'_>, table: &'static [Key<T>], name: &str, into: &mut T) {
        if let Some(read) = table.iter().find(|key| key.name == name).and_then(|key| key.read) {
            read(self, node, into);
        }
    }

    fn unknown<T>(&mut self, entry: &Entry<'_>, tables: &[&'static [Key<T>]]) {
        let names = || supported(tables);
        let hint = match super::keys::elsewhere(&entry.key, &|name| names().any(|n| n == name)) {
            Some(hint) => hint,
            None => self.found.did_you_mean(&entry.key, names(), || format!("the keys here are: {}", listed(names()))),
        };
        self.found.error(entry.at, format!("unknown key `{}`", cut(&entry.key)), hint);
    }

    /// The entries of a mapping whose keys the user chooses.
    pub(super) fn entries<'n, 'a>(&mut self, node: &'n Node<'a>, hint: &str) -> &'n [Entry<'a>] {
        match node.kind() {
            Kind::Mapping(entries) => entries,
            _ => {
                self.mismatch(node, "a mapping", hint);
                &[]
            }
        }
    }

    /// Reads something that the user named; messages then say so.
    pub(super) fn named<T>(&mut self, kind: &'static str, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.subject, Subject::Named(kind, name.to_owned()));
        let value = read(self);
        self.subject = outer;
        value
    }

    /// The items of a list that must have some.
    pub(super) fn items<'n, 'a>(&mut self, node: &'n Node<'a>, hint: &str) -> &'n [Node<'a>] {
        match node.kind() {
            Kind::Sequence(items) if !items.is_empty() => items,
            Kind::Sequence(_) => {
                self.refuse(node.at, "is an empty list", hint);
                &[]
            }
            _ => {
                self.mismatch(node, "a list", hint);
                &[]
            }
        }
    }

    /// Text; what YAML reads as a number or a boolean must be quoted.
    pub(super) fn string(&mut self, node: &Node<'_>) -> Option<String> {
        match node.kind() {
            Kind::Scalar { text, plain, .. } if !plain || resolve(text) == Core::Text => Some(text.clone().into_owned()),
            Kind::Scalar { text, .. } => {
                self.mismatch(node, "text", format!("put it in quotes: \"{}\"", cut(text)));
                None
            }
            _ => {
                self.mismatch(node, "text", "");
                None
            }
        }
    }

    /// Text; a number or a boolean is taken as it is written.
    pub(super) fn word(&mut self, node: &Node<'_>) -> Option<String> {
        match node.kind() {
            Kind::Scalar { text, plain, .. } if !plain || resolve(text) != Core::Null => Some(text.clone().into_owned()),
            _ => {
                self.mismatch(node, "text", "for an empty text write \"\"");
                None
            }
        }
    }

    /// Text as [`Self::word`] reads it, whose parts have places.
    pub(super) fn placed(&mut self, node: &Node<'_>) -> Option<Placed> {
        Some(Placed { text: self.word(node)?, at: node.at, inset: node.inset() })
    }

    /// What the time language says of a text, at its place.
    pub(super) fn problem(&mut self, text: &Placed, problem: Problem) {
        self.found.error(text.place(problem.at.start), problem.message, problem.hint);
    }

    /// A whole number of `least..=most`.
    pub(super) fn integer<N: TryFrom<i64>>(&mut self, node: &Node<'_>, least: i64, most: i64) -> Option<N> {
        let range = if least == i64::from(i32::MIN) { "a whole number".to_owned() } else { format!("a whole number from {least} on") };
        let value = match node.kind() {
            Kind::Scalar { text, plain, .. } => match (resolve(text), plain) {
                (Core::Int(value), true) => value,
                (Core::Int(_), false) => {
                    self.mismatch(node, &range, format!("write {} without quotes", cut(text)));
                    return None;
                }
                _ => {
                    self.mismatch(node, &range, "");
                    return None;
                }
            },
            _ => {
                self.mismatch(node, &range, "");
                return None;
            }
        };
        match value.filter(|n| (least..=most).contains(n)).map(N::try_from) {
            Some(Ok(value)) => Some(value),
            _ => {
                let hint = format!("write a whole number from {least} to {most}");
                self.refuse(node.at, &format!("is out of range: {}", describe(node)), hint);
                None
            }
        }
    }

    /// A finite number.
    pub(super) fn number(&mut self, node: &Node<'_>) -> Option<f64> {
        let value = match node.kind() {
            Kind::Scalar { text, plain: true, .. } => match resolve(text) {
                Core::Int(_) | Core::Float(_) => text.parse::<f64>().ok().filter(|f| f.is_finite()),
                _ => None,
            },
            _ => None,
        };
        if value.is_none() {
            self.mismatch(node, "a number", "write a decimal number without quotes, such as 1.5");
        }
        value
    }

    /// A number of `0..=most`.
    pub(super) fn amount(&mut self, node: &Node<'_>, most: f64) -> Option<f64> {
        if let Kind::Scalar { text, .. } = node.kind()
            && let Some(Ok(percent)) = text.strip_suffix('%').map(str::parse::<f64>)
            && most == 1.0
        {
            self.mismatch(node, "a number", format!("write {}", percent / 100.0));
            return None;
        }
        let value = self.number(node)?;
        if (0.0..=most).contains(&value) {
            return Some(value);
        }
        let hint = if most == 1.0 { "write a part from 0 to 1: 0.01 is one of a hundred" } else { "write a number from 0 on" };
        self.refuse(node.at, &format!("is out of range: {value}"), hint);
        None
    }

    /// true or false.
    pub(super) fn flag(&mut self, node: &Node<'_>) -> Option<bool> {
        let hint = match node.kind() {
            Kind::Scalar { text, plain, .. } => match (resolve(text), plain) {
                (Core::Bool(value), true) => return Some(value),
                (Core::Bool(value), false) => format!("write {value} without quotes"),
                _ => match is_yaml_1_1_bool(text) {
                    Some(meant) => format!("`{text}` is text in YAML 1.2: write {meant}"),
                    None => String::new(),
                },
            },
            _ => String::new(),
        };
        self.mismatch(node, "true or false", hint);
        None
    }

    /// A duration; zero only where it means something.
    pub(super) fn duration(&mut self, node: &Node<'_>, zero: Option<&str>) -> Option<Millis> {
        const EXAMPLES: &str = "write a number and a unit, such as 250ms, 30s, 5m, 2h, 1d or 1h30m";
        let Kind::Scalar { text, plain, .. } = node.kind() else {
            self.mismatch(node, "a duration", EXAMPLES);
            return None;
        };
        if *plain && resolve(text) == Core::Null {
            self.mismatch(node, "a duration", EXAMPLES);
            return None;
        }
        match text.parse::<Millis>() {
            Ok(Millis(0)) if zero.is_some() => {
                self.refuse(node.at, "must be longer than 0", zero.unwrap_or_default());
                None
            }
            Ok(value) if value > MAX_DURATION => {
                self.refuse(node.at, &format!("is out of range: {}", cut(text)), format!("write at most {MAX_DURATION}"));
                None
            }
            Ok(value) => Some(value),
            Err(_) => {
                // A bare number is taken for seconds by whoever writes it.
                let hint = if resolve(text) != Core::Int(None) && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                    format!("{EXAMPLES}; if seconds are meant: {text}s")
                } else {
                    EXAMPLES.to_owned()
                };
                self.refuse(node.at, &format!("is not a duration: {}", describe(node)), hint);
                None
            }
        }
    }

    /// A name by its rule.
    pub(super) fn name<T: FromStr<Err = InvalidId>>(&mut self, node: &Node<'_>) -> Option<T> {
        match node.kind() {
            Kind::Scalar { text, plain, .. } if !plain || resolve(text) != Core::Null => self.name_of(node.at, text),
            _ => {
                self.mismatch(node, "a name", "");
                None
            }
        }
    }

    /// The same for a key.
    pub(super) fn name_of<T: FromStr<Err = InvalidId>>(&mut self, at: Location, text: &str) -> Option<T> {
        match text.parse::<T>() {
            Ok(name) => Some(name),
            Err(e) => {
                self.found.error(at, format!("\"{}\" is not a valid {}", cut(text), e.kind), tidied::<T>(text, e.expected));
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&mut self, node: &Node<'_>, words: &[(&'static str, T)]) -> Option<T> {
        let names = || words.iter().map(|(word, _)| *word);
        let Kind::Scalar { text, .. } = node.kind() else {
            self.mismatch(node, &format!("one of {}", listed(names())), "");
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        let hint = self.found.did_you_mean(text, names(), || format!("write one of {}", listed(names())));
        self.mismatch(node, &format!("one of {}", listed(names())), hint);
        None
    }
}

fn supported<T>(tables: &[&'static [Key<T>]]) -> impl Iterator<Item = &'static str> {
    tables.iter().copied().flatten().filter(|key| key.is_supported()).map(|key| key.name)
}

/// What a value is, for messages.
pub(super) fn describe(node: &Node<'_>) -> String {
    match node.kind() {
        Kind::Sequence(_) => "a list".to_owned(),
        Kind::Mapping(_) => "a mapping".to_owned(),
        Kind::Scalar { text, plain, .. } => describe_scalar(text, *plain),
        Kind::Shared(_) | Kind::Broken => "a broken value".to_owned(),
    }
}

pub(super) fn describe_scalar(text: &str, plain: bool) -> String {
    match resolve(text) {
        Core::Null if plain => "nothing".to_owned(),
        Core::Bool(_) if plain => format!("the boolean {}", cut(text)),
        Core::Int(_) | Core::Float(_) if plain => format!("the number {}", cut(text)),
        _ => format!("the text \"{}\"", cut(text)),
    }
}

/// The rule, after the nearest name that keeps it if there is one.
fn tidied<T: FromStr>(text: &str, rule: &str) -> String {
    let tidy: String =
        text.trim().chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '/' { c.to_ascii_lowercase() } else { '_' }).collect();
    match tidy.parse::<T>() {
        Ok(_) => format!("{rule}; for instance {tidy}"),
        Err(_) => rule.to_owned(),
    }
}
