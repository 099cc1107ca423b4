//! What is wrong with the document so far.

use std::collections::BTreeSet;

use crate::pipeline::{Diagnostic, Diagnostics, Location};
use crate::suggest;

/// Diagnostics kept; more are counted. A document of a million wrong edges must not make a million messages.
const MAX_DIAGNOSTICS: usize = 1_000;
/// Work for all the "did you mean" of one document, as [`crate::suggest`] counts it.
const MAX_SUGGESTION_WORK: usize = 5_000_000;

/// Collects diagnostics.
pub(super) struct Found {
    list: Vec<Diagnostic>,
    dropped: usize,
    failed: bool,
    suggestion_work: usize,
}

impl Found {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), dropped: 0, failed: false, suggestion_work: MAX_SUGGESTION_WORK }
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.failed |= !diagnostic.warning;
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn error(&mut self, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic { at, message: message.into(), hint: hint.into(), warning: false });
    }

    pub(super) fn warning(&mut self, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic { at, message: message.into(), hint: hint.into(), warning: true });
    }

    /// "did you mean `x`?" if a candidate is near, else what `otherwise` says.
    pub(super) fn did_you_mean<'a>(
        &mut self,
        found: &str,
        candidates: impl IntoIterator<Item = &'a str>,
        otherwise: impl FnOnce() -> String,
    ) -> String {
        let shown = self.list.len() < MAX_DIAGNOSTICS;
        match shown.then(|| suggest::closest(found, candidates, &mut self.suggestion_work)).flatten() {
            Some(word) => format!("did you mean `{word}`?"),
            None => otherwise(),
        }
    }

    /// The warnings, or everything if there is an error. Sorted by place, each once: what an alias repeats is said once.
    pub(super) fn finish(mut self, file: &str) -> Result<Vec<Diagnostic>, Diagnostics> {
        self.list.sort_by(|a, b| (a.at, &a.message).cmp(&(b.at, &b.message)));
        self.list.dedup();
        if !self.failed {
            return Ok(self.list);
        }
        if self.dropped > 0 {
            let at = self.list.last().map_or(Location::default(), |d| d.at);
            let message = format!("and {} more are not shown", self.dropped);
            self.list.push(Diagnostic { at, message, hint: "mend the first ones and check again".to_owned(), warning: false });
        }
        Err(Diagnostics { file: file.to_owned(), list: self.list })
    }
}

/// A text from the document as messages show it: its beginning, with what is not printable escaped.
pub(super) fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String =
        text.chars().take(LONGEST).collect::<String>().escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Words for a hint, sorted; the first ones if there are too many.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    let words: BTreeSet<&str> = words.into_iter().take(MOST + 1).collect();
    let shown: Vec<&str> = words.iter().copied().take(MOST).collect();
    let more = if words.len() > MOST { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
