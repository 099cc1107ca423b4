//! No text makes the parser panic.

use proptest::prelude::*;

use super::{EVERYTHING, FULL};
use crate::pipeline::{Pipeline, parse};

/// Pieces that mean something to YAML, templates or the document.
const PIECES: [&str; 72] = [
    "\n",
    "  ",
    "\n  ",
    "\n    ",
    "\t",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "|",
    ">",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "---\n",
    "#",
    "{{ ",
    " }}",
    "{% if x %}",
    "%",
    "~",
    "\u{0}",
    "\u{feff}",
    "é",
    "\r",
    "pipeline: p",
    "tasks:",
    "depends_on:",
    "run:",
    "\\u",
    "0x",
    "1e999",
    "params",
    "for_each: ",
    "if: ",
    "http: ",
    "sql: ",
    "wait: ",
    "approve: ",
    "container: ",
    "group: ",
    "teardown: true",
    "setup: ",
    "branch: true",
    "expect: ",
    "extract[*]",
    "outputs.extract.x",
    "previous.",
    "item",
    "secret: ",
    "staging",
    "range: 9223372036854775807",
    "%",
    "schedule: ",
    "cron: ",
    "0 2 31 2 *",
    "*/15",
    "@daily",
    "every: ",
    "start_date: 2024-01-31",
    "T25:00",
    "depends_on_past: true",
    "triggers: [{name: a, ",
    "file: /x/[",
    "event",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse("p.yaml", &text);
    }

    #[test]
    fn no_heap_of_pieces_makes_the_parser_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        let _ = parse("p.yaml", &pieces.concat());
    }

    #[test]
    fn no_change_of_a_document_makes_the_parser_panic(
        large in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::sample::select(&PIECES[..])), 1..6),
    ) {
        let mut chars: Vec<char> = if large { EVERYTHING } else { FULL }.chars().collect();
        for (place, removed, piece) in changes {
            let start = place.index(chars.len() + 1);
            let end = (start + removed).min(chars.len());
            chars.splice(start..end, piece.chars());
        }
        let text: String = chars.into_iter().collect();
        match parse("p.yaml", &text) {
            Ok(document) => prop_assert_eq!(Pipeline::from_blob(&document.pipeline.to_blob()).unwrap(), document.pipeline),
            Err(e) => {
                prop_assert!(e.list.iter().any(|d| !d.warning));
                prop_assert!(e.list.iter().all(|d| d.at.line > 0 && d.at.column > 0 && !d.message.is_empty()), "{}", e);
                prop_assert!(e.list.is_sorted_by_key(|d| d.at));
            }
        }
    }
}
