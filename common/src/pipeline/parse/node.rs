//! Text to a tree that knows where everything stands. Not what the keys mean: that is [`super::keys`].
//!
//! The events of a YAML parser become [`Node`]s. Faults that leave the tree readable (a duplicate key, a tag, an unknown
//! alias) are noted and reading goes on; what does not (bad syntax, a budget) ends it. Nothing here recurses deeper than
//! [`limits::MAX_DOCUMENT_DEPTH`], and no more nodes are made than the budgets below allow, whatever the text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span};

use super::found::{Found, cut};
use super::scalar::{Core, resolve};
use super::syntax;
use crate::limits;
use crate::pipeline::{Diagnostic, Location};

/// Nodes of one document, aliases expanded: a hundred thousand tasks of ten nodes each, a million edges, and twice that
/// for safety. A node takes about 60 bytes; each 64 bytes of text count as one more.
const MAX_NODES: usize = 5_000_000;
/// Nodes there may be, aliases expanded, for each node that is written, and how many more for small documents.
const ALIAS_FACTOR: usize = 16;
const ALIAS_ALLOWANCE: usize = 10_000;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) at: Location,
    kind: Kind<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn kind(&self) -> &Kind<'a> {
        match &self.kind {
            Kind::Shared(kind) => kind,
            kind => kind,
        }
    }

    /// Columns from the node to its text, where that stands in the document as it is: on one line, with nothing escaped. `None`
    /// also where an anchor or an alias stands, since a part of the text may then be elsewhere.
    pub(super) fn inset(&self) -> Option<u32> {
        match self.kind {
            Kind::Scalar { plain, verbatim: true, .. } => Some(u32::from(!plain)),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// `plain`: not quoted and not a block, so it may be a number, a boolean or nothing.
    Scalar {
        text: Cow<'a, str>,
        plain: bool,
        /// It is written on one line, character by character.
        verbatim: bool,
    },
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<Entry<'a>>),
    /// An anchored value, here and in its aliases; never within itself, and never seen by readers.
    Shared(Rc<Kind<'a>>),
    /// An error is noted already; readers say nothing more about it.
    Broken,
}

/// A key, its place and its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) at: Location,
    pub(super) value: Node<'a>,
}

/// Reads one document. `None` where it cannot be read to its end; `found` then says why.
pub(super) fn read<'a>(text: &'a str, found: &mut Found) -> Option<Node<'a>> {
    let mut builder = Builder { open: Vec::new(), anchors: BTreeMap::new(), root: None, documents: 0, written: 0, nodes: 0, found };
    let root = builder.document(text);
    root.map_err(|fatal| found.push(fatal)).ok()
}

fn error(at: Location, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
    Diagnostic { at, message: message.into(), hint: hint.into(), warning: false }
}

/// A collection that is not closed yet.
struct Frame<'a> {
    at: Location,
    anchor: usize,
    /// Nodes made before it, so that its own can be counted.
    nodes_before: usize,
    /// Collections in its deepest branch, itself included.
    height: usize,
    /// A tag, or a key that is a collection: its content means nothing.
    broken: bool,
    items: Items<'a>,
}

enum Items<'a> {
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<Entry<'a>>, Key<'a>),
}

/// What the next node of a mapping is.
enum Key<'a> {
    Awaited,
    Read(Cow<'a, str>, Location),
    /// Its value is read and forgotten.
    Refused,
}

/// A node that aliases may name.
struct Anchored<'a> {
    kind: Rc<Kind<'a>>,
    nodes: usize,
    height: usize,
}

struct Builder<'a, 'f> {
    open: Vec<Frame<'a>>,
    anchors: BTreeMap<usize, Anchored<'a>>,
    root: Option<Node<'a>>,
    documents: usize,
    written: usize,
    /// Nodes of the tree, aliases expanded: what a walk over it visits.
    nodes: usize,
    found: &'f mut Found,
}

impl<'a> Builder<'a, '_> {
    /// `Err`: what ended the reading.
    fn document(&mut self, text: &'a str) -> Result<Node<'a>, Diagnostic> {
        if text.len() > limits::MAX_DOCUMENT_BYTES {
            let message = format!("the document has {} bytes; at most {} are read", text.len(), limits::MAX_DOCUMENT_BYTES);
            return Err(error(START, message, "split it into several pipelines"));
        }
        refuse_control_characters(text)?;
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_comments: false,
            flow_nesting_limit: limits::MAX_DOCUMENT_DEPTH + 1,
            block_nesting_limit: limits::MAX_DOCUMENT_DEPTH + 1,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|e| match e.kind() {
                ErrorKind::RecursionLimitExceeded => too_deep(location(e.marker())),
                kind => error(location(e.marker()), format!("this is not valid YAML: {}", e.info()), syntax::hint(kind)),
            })?;
            self.event(event, span)?;
        }
        self.root
            .take()
            .ok_or_else(|| error(START, "the document is empty", "a pipeline has at least the keys `pipeline` (its name) and `tasks`"))
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Result<(), Diagnostic> {
        let at = location(&span.start);
        if event.is_node() {
            let nodes = event.scalar().map_or(1, |(text, _)| weight(text));
            self.written += nodes;
            self.count(nodes, at)?;
        }
        let tagged = event.tag().is_some();
        if tagged {
            let at = span.tag_start().map_or(at, |m| location(&m));
            self.found.push(error(at, "tags (`!…`) are not supported", "remove it; to make a value text, put it in quotes"));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(error(at, "a second document begins here", "write one pipeline per file and remove the `---`"));
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                // A value that is not written stands where its key stands.
                let absent = plain && span.is_empty();
                let (text, at) = if absent { (Cow::Borrowed(""), self.key_location().unwrap_or(at)) } else { (text, at) };
                let nodes = weight(&text);
                let quotes = if plain { 0 } else { 2 };
                let columns = span.end.col().checked_sub(span.start.col()).filter(|_| span.start.line() == span.end.line());
                let verbatim = columns.is_some_and(|columns| columns == text.chars().count() + quotes);
                let kind = if tagged || self.has_control_character(&text, style, at) {
                    Kind::Broken
                } else {
                    Kind::Scalar { text, plain, verbatim }
                };
                self.finish(Node { at, kind }, anchor, nodes, 0);
            }
            Event::UnresolvedAlias(name) => {
                let hint = if name.starts_with('/') {
                    syntax::STAR.to_owned()
                } else {
                    format!("define it before its first use: `&{name}` in front of a value")
                };
                self.found.push(error(at, format!("there is no anchor `&{name}` above"), hint));
                self.finish(Node { at, kind: Kind::Broken }, 0, 1, 0);
            }
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::SequenceStart(_, anchor, _) => self.open(at, anchor, tagged, Items::Sequence(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => self.open(at, anchor, tagged, Items::Mapping(Vec::new(), Key::Awaited))?,
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, more: usize, at: Location) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(error(at, format!("the document has more than {MAX_NODES} values"), "split it into several pipelines"));
        }
        let allowed = self.written * ALIAS_FACTOR + ALIAS_ALLOWANCE;
        if self.nodes > allowed {
            let message = format!("the aliases up to here stand for more than {allowed} values");
            return Err(error(at, message, "use fewer aliases within values that are aliased themselves"));
        }
        Ok(())
    }

    fn open(&mut self, at: Location, anchor: usize, broken: bool, items: Items<'a>) -> Result<(), Diagnostic> {
        if self.open.len() == limits::MAX_DOCUMENT_DEPTH {
            return Err(too_deep(at));
        }
        let nodes_before = self.nodes - 1;
        self.open.push(Frame { at, anchor, nodes_before, height: 1, broken, items });
        Ok(())
    }

    fn close(&mut self) {
        let Some(frame) = self.open.pop() else { return };
        let kind = match frame.items {
            _ if frame.broken => Kind::Broken,
            Items::Sequence(items) => Kind::Sequence(items),
            Items::Mapping(entries, _) => Kind::Mapping(self.without_duplicates(entries)),
        };
        self.finish(Node { at: frame.at, kind }, frame.anchor, self.nodes - frame.nodes_before, frame.height);
    }

    fn alias(&mut self, anchor: usize, at: Location) -> Result<(), Diagnostic> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            // The only alias that is known to the parser and not here names a collection that is still open.
            self.found.push(error(at, "this alias names a value that contains it", "a value cannot contain itself; write it out"));
            self.finish(Node { at, kind: Kind::Broken }, 0, 1, 0);
            return Ok(());
        };
        let (nodes, height) = (anchored.nodes, anchored.height);
        if self.open.len() + height > limits::MAX_DOCUMENT_DEPTH {
            return Err(too_deep(at));
        }
        // Its parts keep the places where they are written; as a whole it stands here.
        let node = Node { at, kind: Kind::Shared(Rc::clone(&anchored.kind)) };
        self.count(nodes, at)?;
        self.finish(node, 0, nodes, height);
        Ok(())
    }

    /// Hands a node to the collection it is in.
    fn finish(&mut self, mut node: Node<'a>, anchor: usize, nodes: usize, height: usize) {
        if anchor != 0 {
            let kind = Rc::new(node.kind);
            node.kind = Kind::Shared(Rc::clone(&kind));
            self.anchors.insert(anchor, Anchored { kind, nodes, height });
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        frame.height = frame.height.max(height + 1);
        match &mut frame.items {
            Items::Sequence(items) => items.push(node),
            Items::Mapping(entries, key) => match std::mem::replace(key, Key::Awaited) {
                Key::Read(text, at) => entries.push(Entry { key: text, at, value: node }),
                Key::Refused => {}
                Key::Awaited => {
                    let (read, refused) = as_key(node);
                    *key = read;
                    if let Some((diagnostic, breaks)) = refused {
                        frame.broken |= breaks;
                        self.found.push(diagnostic);
                    }
                }
            },
        }
    }

    fn key_location(&self) -> Option<Location> {
        match &self.open.last()?.items {
            Items::Mapping(_, Key::Read(_, at)) => Some(*at),
            _ => None,
        }
    }

    /// Keeps the first of the entries with equal keys.
    fn without_duplicates(&mut self, mut entries: Vec<Entry<'a>>) -> Vec<Entry<'a>> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key)); // stable: the first stays first
        let mut again = Vec::new();
        for equal in order.chunk_by(|a, b| entries[*a].key == entries[*b].key) {
            for duplicate in &equal[1..] {
                let Entry { key, at, .. } = &entries[*duplicate];
                let hint = format!("it is there already, at line {}: keep one of them", entries[equal[0]].at.line);
                self.found.push(error(*at, format!("duplicate key `{}`", cut(key)), hint));
                again.push(*duplicate);
            }
        }
        if again.is_empty() {
            return entries;
        }
        again.sort_unstable();
        let (mut index, mut again) = (0, again.into_iter().peekable());
        entries.retain(|_| {
            index += 1;
            again.next_if_eq(&(index - 1)).is_none()
        });
        entries
    }

    /// Escapes in double quotes can write what the text itself cannot hold.
    fn has_control_character(&mut self, text: &str, style: ScalarStyle, at: Location) -> bool {
        let escaped = match style {
            ScalarStyle::DoubleQuoted => text.chars().find(|c| is_refused(*c)),
            _ => None,
        };
        if let Some(c) = escaped {
            self.found.push(error(at, control_character(c), "of the control characters, only \\t, \\n and \\r may be in a text"));
        }
        escaped.is_some()
    }
}

/// A key, or why it cannot be one and whether the mapping means nothing for it.
fn as_key(node: Node<'_>) -> (Key<'_>, Option<(Diagnostic, bool)>) {
    let at = node.at;
    let refused = match node.kind() {
        Kind::Scalar { text, plain: true, .. } if text == "<<" => {
            Some((error(at, "merge keys (`<<`) are not supported", "use `defaults`, or write the keys out"), false))
        }
        Kind::Scalar { text, plain: true, .. } if resolve(text) != Core::Text => {
            let (message, hint) = match &**text {
                "" => ("a key is missing here".to_owned(), "write `key: value`".to_owned()),
                text => (format!("the key `{}` is not text", cut(text)), format!("put it in quotes: \"{}\"", cut(text))),
            };
            Some((error(at, message, hint), false))
        }
        Kind::Scalar { text, .. } => return (Key::Read(text.clone(), at), None),
        Kind::Sequence(_) | Kind::Mapping(_) => {
            let hint = "a key is a word; a template must be in quotes: \"{{ … }}\"";
            Some((error(at, "a list or mapping is used as a key", hint), true))
        }
        Kind::Shared(_) | Kind::Broken => None,
    };
    (Key::Refused, refused)
}

fn weight(text: &str) -> usize {
    1 + text.len() / 64
}

const START: Location = Location { line: 1, column: 1 };

fn location(marker: &Marker) -> Location {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location { line: number(marker.line()), column: number(marker.col().saturating_add(1)) }
}

fn too_deep(at: Location) -> Diagnostic {
    let message = format!("this is nested more than {} deep", limits::MAX_DOCUMENT_DEPTH);
    error(at, message, "no key of a pipeline needs that; check the brackets and the indentation")
}

fn is_refused(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

fn control_character(c: char) -> String {
    format!("the control character U+{:04X} is not allowed", u32::from(c))
}

/// The parser would take NUL for the end of the text.
fn refuse_control_characters(text: &str) -> Result<(), Diagnostic> {
    let Some((offset, c)) = text.char_indices().find(|(_, c)| is_refused(*c)) else { return Ok(()) };
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let at = Location { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) };
    Err(error(at, control_character(c), "remove it; the document must be text"))
}
