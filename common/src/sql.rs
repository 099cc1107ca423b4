//! What can be told of an SQL statement by its first words, for the dialects of PostgreSQL and SQLite. It is no parser: what stands
//! first is enough to know a statement that begins or ends a transaction.

/// A statement that begins, ends or divides a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The words it begins with, in capitals.
    pub words: String,
    /// The line of the text on which they stand, from 1 on.
    pub line: usize,
}

/// Whether a statement is such a one. Where the dialects read comments differently, each reading counts.
pub fn control(text: &str) -> Option<Control> {
    [true, false].into_iter().find_map(|nested| {
        let start = start(text, nested);
        let (first, rest) = word(start);
        let controls = match first.as_str() {
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => true,
            // `PREPARE name AS …` is another thing.
            "prepare" => word(self::start(rest, nested)).0 == "transaction",
            _ => false,
        };
        controls.then(|| Control {
            words: if first == "prepare" { "PREPARE TRANSACTION".to_owned() } else { first.to_ascii_uppercase() },
            line: text[..text.len() - start.len()].matches('\n').count() + 1,
        })
    })
}

/// The first word, in lower case, after comments.
pub fn first_word(text: &str) -> String {
    word(start(text, true)).0
}

/// What is left behind spaces, comments and the semicolons of empty statements. Comments `/* */` nest in PostgreSQL only.
fn start(text: &str, nested: bool) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '\u{b}' | '\u{feff}'));
        rest = match rest.as_bytes() {
            [b'-', b'-', ..] => rest.find(['\n', '\r']).map_or("", |end| &rest[end..]),
            [b'/', b'*', ..] => after_comment(rest, nested),
            _ => return rest,
        };
    }
}

fn after_comment(text: &str, nested: bool) -> &str {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(found) = text.as_bytes()[at..].windows(2).position(|pair| pair == b"/*" || pair == b"*/") {
        let opens = text.as_bytes()[at + found] == b'/';
        at += found + 2;
        match opens {
            true if nested || depth == 0 => depth += 1,
            true => at -= 1, // its star may close
            false => depth = depth.saturating_sub(1),
        }
        if depth == 0 {
            return &text[at..];
        }
    }
    ""
}

/// A word in lower case, and what follows it.
fn word(text: &str) -> (String, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    (text[..end].to_ascii_lowercase(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_control_a_transaction_are_known_by_their_first_words() {
        for (text, words, line) in [
            ("commit", "COMMIT", 1),
            ("  COMMIT;", "COMMIT", 1),
            ("-- why\n/* how */ Rollback to a", "ROLLBACK", 2),
            ("/* /* */ */\n\nend", "END", 3),
            (";;\u{feff}\u{b} begin immediate", "BEGIN", 1),
            ("--\rabort", "ABORT", 1),
            ("/**/start transaction", "START", 1),
            ("savepoint a", "SAVEPOINT", 1),
            ("release a", "RELEASE", 1),
            ("prepare /* it */ transaction 'x'", "PREPARE TRANSACTION", 1),
            // PostgreSQL reads a comment here, SQLite a COMMIT.
            ("/* /* */ commit -- */ */ select 1", "COMMIT", 1),
            ("/*/*/ commit", "COMMIT", 1),
        ] {
            assert_eq!(control(text), Some(Control { words: words.to_owned(), line }), "{text:?}");
        }
        for text in [
            "select 'commit'",
            "-- commit\nselect 1",
            "/* commit",
            "/* commit */ select 1",
            "",
            "commits",
            "begin_it",
            "prepare a as select 1",
            "do $$ begin commit; end $$",
            "insert into t values (1); commit",
            "\"commit\"",
        ] {
            assert_eq!(control(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_word_comes_after_comments() {
        for (text, first) in [("  -- why\n/* how */ UPDATE a", "update"), ("/* insert", ""), ("(select 1)", ""), ("inserted", "inserted")] {
            assert_eq!(first_word(text), first, "{text:?}");
        }
    }
}
