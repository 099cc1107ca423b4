//! A document's text to a checked [`Pipeline`], or everything that is wrong with it.
//!
//! ```text
//! text ─▶ node (tree with places) ─▶ keys, fields, values (what is written) ─▶ merge (what holds) ─▶ Pipeline
//!            │                          │                                        │
//!            └──────────────────────────┴──────────── found ◀────────────────────┘
//! ```
//!
//! Nothing panics, whatever the text; time and memory are bounded by the limits on documents. How it is tested: `tests.rs`, each error at its line and column, and random texts.

pub(super) mod fields;
mod found;
pub(super) mod keys;
mod likeness;
mod merge;
mod node;
mod scalar;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;

use self::fields::Reader;
use self::keys::{TOP, Top};
pub use self::likeness::{Likeness, likeness};
use self::node::Kind;
use super::{Diagnostic, Diagnostics, Location, Pipeline};
use crate::TaskId;

/// A document that is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says.
    pub pipeline: Pipeline,
    /// What may not be meant as it is written; sorted by place.
    pub warnings: Vec<Diagnostic>,
    /// Where the key of each task stands.
    pub tasks: BTreeMap<TaskId, Location>,
    /// Where (task, upstream) is written.
    pub edges: BTreeMap<(TaskId, TaskId), Location>,
}

/// Reads a pipeline document, YAML or JSON. `file` is what messages call it.
///
/// # Errors
///
/// Everything that is wrong, sorted by place: up to a thousand diagnostics and the number of the others. Bad syntax and
/// exceeded limits end the reading, so that only what was found until there is in the list.
pub fn parse(file: &str, text: &str) -> Result<Document, Diagnostics> {
    let mut reader = Reader::new();
    let document = node::read(text, &mut reader.found).and_then(|root| {
        let mut top = Top::default();
        if reader.mapping(&root, &[TOP], &mut top) {
            require(&mut reader, &root, &["pipeline", "tasks"]);
        }
        merge::document(&mut reader, top)
    });
    let warnings = reader.found.finish(file)?;
    match document {
        Some(document) => Ok(Document { warnings, ..document }),
        // A document is missing only where an error is noted.
        None => Err(Diagnostics { file: file.to_owned(), list: warnings }),
    }
}

/// Finds what tasks read of others, where no document was read: of a pipeline made by hand.
pub fn with_uses(mut pipeline: Pipeline) -> Pipeline {
    let mut templates = template::Templates::new();
    for task in pipeline.tasks.values_mut() {
        task.uses = templates.uses_of(task);
    }
    pipeline
}

fn require(reader: &mut Reader, root: &node::Node<'_>, keys: &[&str]) {
    let Kind::Mapping(entries) = root.kind() else { return };
    for key in keys.iter().filter(|key| !entries.iter().any(|e| e.key == **key)) {
        let about = TOP.iter().find(|row| row.name == *key).map_or("", |row| row.about);
        reader.found.error(root.at, format!("the key `{key}` is missing"), format!("add `{key}:`. {about}"));
    }
}
