//! What is wrong with a document, where, and what would be right.

use std::fmt;

/// A place in a document: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Location {
    /// From 1; 0 where no place is known.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub at: Location,
    /// What was found.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: String,
    /// A warning refuses nothing.
    pub warning: bool,
}

/// All that is wrong with one document, in the order of the lines. Shown as `file:line:column: error: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics {
    /// The file, as the user named it.
    pub file: String,
    /// Sorted by place.
    pub list: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let kind = if d.warning { "warning" } else { "error" };
            if d.at.line == 0 {
                write!(f, "{}: {kind}: {}", self.file, d.message)?;
            } else {
                write!(f, "{}:{}:{}: {kind}: {}", self.file, d.at.line, d.at.column, d.message)?;
            }
            if !d.hint.is_empty() {
                write!(f, "\n    hint: {}", d.hint)?;
            }
        }
        Ok(())
    }
}
