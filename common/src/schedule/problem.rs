//! What is wrong with a text of the time language, where in it, and what would be right.

use std::fmt;
use std::ops::Range;

/// An error, or a warning, about a cron expression, a zone, a period or a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the text that it is about; on character boundaries, within the text, so that a document's reader can add it to the
    /// column of the text.
    pub at: Range<usize>,
    /// What was found.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Problem {
    pub(super) fn new(at: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: hint.into() }
    }
    /// The same, in a text that has `by` bytes before this one.
    pub(super) fn shifted(mut self, by: usize) -> Self {
        self.at = self.at.start + by..self.at.end + by;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.hint)
    }
}

impl std::error::Error for Problem {}

/// A piece of a user's text as a message shows it: quoted, and not at length.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}
