//! `sql`: statements on a named connection. Values reach them as binds, never as text.

use serde_json::Value;

use super::super::fields::{Located, Reader};
use super::super::found::cut;
use super::super::keys::{RawSql, RawStatement, SQL, STATEMENT};
use super::super::node::{Kind, Node};
use super::{has, lacks};
use crate::ids::is_dotted_name;
use crate::pipeline::{Sql, Statement};
use crate::sql::control;

const EXAMPLE: &str = "write connection: NAME and run: \"insert into t values ($1)\"";

pub(in super::super) fn sql(r: &mut Reader, node: &Node<'_>) -> Option<Sql> {
    let mut raw = RawSql::default();
    let Kind::Mapping(_) = node.kind() else {
        r.mismatch(node, "a mapping", EXAMPLE);
        return None;
    };
    r.mapping(node, &[SQL], &mut raw);
    for key in ["connection", "run"] {
        lacks(r, node, key);
    }
    let mut statements = raw.statements?;
    if has(node, "bind") && raw.bind.is_none() {
        return None;
    }
    if let Some(bind) = raw.bind {
        match statements.as_mut_slice() {
            [only] if only.bind.is_none() => only.bind = Some(bind.value),
            [_] => r.found.error(bind.at, "the statement has two lists of values", "keep the `bind` beside its `sql`"),
            _ => {
                let hint = "write each statement with its own: {sql: \"…\", bind: […]}";
                r.found.error(bind.at, format!("`bind` is of a single statement, and there are {}", statements.len()), hint);
            }
        }
    }
    let transaction = raw.transaction.unwrap_or(true);
    let statements: Option<Vec<_>> = statements
        .into_iter()
        .map(|RawStatement { sql, bind }| {
            let (text, bind) = (sql?, bind.unwrap_or_default());
            check_placeholders(r, &text, bind.len());
            if transaction {
                check_control(r, &text);
            }
            Some(Statement { text: text.value, bind })
        })
        .collect();
    Some(Sql { connection: raw.connection?, statements: statements?, transaction, keep_row: raw.keep_row })
}

pub(in super::super) fn connection(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let name = r.string(node)?;
    if is_dotted_name(&name) {
        return Some(name);
    }
    let message = format!("\"{}\" is not a valid connection name", cut(&name));
    let hint = "use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -; where it leads is the worker's configuration";
    r.found.error(node.at, message, hint);
    None
}

/// One statement, or several. `None` if one is wrong.
pub(in super::super) fn statements(r: &mut Reader, node: &Node<'_>) -> Option<Vec<RawStatement>> {
    let items = match node.kind() {
        Kind::Sequence(_) => r.items(node, "write a statement"),
        _ => std::slice::from_ref(node),
    };
    let mut statements = Vec::new();
    for item in items {
        let mut raw = RawStatement::default();
        match item.kind() {
            Kind::Mapping(_) => {
                r.mapping(item, &[STATEMENT], &mut raw);
                if lacks(r, item, "sql") || has(item, "bind") && raw.bind.is_none() {
                    continue;
                }
            }
            _ => raw.sql = statement(r, item),
        }
        statements.extend(raw.sql.is_some().then_some(raw));
    }
    (!items.is_empty() && statements.len() == items.len()).then_some(statements)
}

pub(in super::super) fn statement(r: &mut Reader, node: &Node<'_>) -> Option<Located<String>> {
    let hint = "bind values: `bind: [\"{{ … }}\"]`, and $1, $2… in the statement";
    let text = r.verbatim(node, "what it renders would be run as SQL", hint)?;
    if text.trim().is_empty() {
        r.refuse(node.at, "is an empty statement", "write SQL, or remove it");
        return None;
    }
    Some(Located { at: node.at, value: text })
}

/// Scalars; texts are templates.
pub(in super::super) fn bind(r: &mut Reader, node: &Node<'_>) -> Option<Vec<Value>> {
    let Kind::Sequence(items) = node.kind() else {
        r.mismatch(node, "a list", "write the values of $1, $2…, such as [\"{{ interval.date }}\", 5]");
        return None;
    };
    let mut values = Vec::new();
    for item in items {
        match item.kind() {
            Kind::Sequence(_) | Kind::Mapping(_) => {
                r.mismatch(item, "a single value", "a list or a mapping can be passed as a text: \"{{ … | tojson }}\"");
            }
            _ => values.extend(r.json(item)),
        }
    }
    (values.len() == items.len()).then_some(values)
}

/// Refuses what would end the transaction that the statements are.
fn check_control(r: &mut Reader, sql: &Located<String>) {
    let Some(control) = control(&sql.value) else { return };
    let line = if control.line > 1 { format!(" (line {} of the text)", control.line) } else { String::new() };
    let message = format!("{} within statements that are one transaction{line}", control.words);
    let hint = "remove it, or say `transaction: false`, or make it tasks of their own: each task is a transaction";
    r.found.error(sql.at, message, hint);
}

/// Warns where a statement and its values cannot belong together.
fn check_placeholders(r: &mut Reader, sql: &Located<String>, values: usize) {
    let Some(highest) = highest_placeholder(&sql.value) else { return };
    let plural = if values == 1 { "value" } else { "values" };
    if highest > values {
        let hint = "give a value for each of $1, $2…";
        r.found.warning(sql.at, format!("the statement uses ${highest}, and `bind` has {values} {plural}"), hint);
    } else if highest < values {
        let most = if highest == 0 { "no $1".to_owned() } else { format!("${highest} at most") };
        let hint = "write $1 where the first value goes, $2 for the second, and so on";
        r.found.warning(sql.at, format!("`bind` has {values} {plural}, and the statement uses {most}"), hint);
    }
}

/// N of the highest `$N`; 0 if there is none, `None` where that is not certain: quotes of `$$`, and other kinds of placeholders.
fn highest_placeholder(sql: &str) -> Option<usize> {
    let mut highest = 0;
    let mut rest = sql;
    while let Some(start) = rest.find(['\'', '"', '-', '/', '$', '?', ':', '@']) {
        let (token, after) = (&rest[start..], &rest[start + 1..]);
        let end = match token.as_bytes() {
            // A doubled quote ends one text and begins the next.
            [quote @ (b'\'' | b'"'), ..] => after.find(char::from(*quote)).map(|end| end + 1),
            [b'-', b'-', ..] => after.find('\n'),
            [b'/', b'*', ..] => after.find("*/").map(|end| end + 2),
            [b':', b':', ..] => Some(1),
            [b'-' | b'/', ..] => Some(0),
            [b'$', b'1'..=b'9', ..] => {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                highest = highest.max(after[..digits].parse().ok()?);
                Some(digits)
            }
            _ => return None,
        };
        rest = end.map_or("", |end| &after[end..]);
    }
    Some(highest)
}

#[cfg(test)]
mod tests {
    use super::highest_placeholder;

    #[test]
    fn placeholders_are_counted_where_they_are_certain() {
        for (sql, highest) in [
            ("select 1", 0),
            ("insert into t values ($2, $1)", 2),
            ("select '$9', \"$8\", 'it''s $7' -- $6\n, /* $5 */ $1::text, 4 - 2 / 1", 1),
            ("select $10", 10),
            ("select 'open $1", 0),
        ] {
            assert_eq!(highest_placeholder(sql), Some(highest), "{sql}");
        }
        for unclear in ["select ?", "select $$ $1 $$", "select :name", "select @x", "select $a$ $1 $a$", "select $99999999999999999999"] {
            assert_eq!(highest_placeholder(unclear), None, "{unclear}");
        }
    }
}
