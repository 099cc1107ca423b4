//! Comparisons of an `if` that mean nothing. The engine orders values of different types by type, so `outputs.t.rows > 0` holds for
//! every text, also for "0". Where the answer depends on such a comparison, it is an error.
//!
//! The engine tells nothing about what it compared, so the chains of comparisons are found in the text, and their operands
//! evaluated by themselves. What cannot be told that way is left to the engine: this may miss a comparison (a test such as
//! `is gt`), and refuses none that decides nothing, as in `x is number and x > 1`.

use minijinja::Value;
use minijinja::value::ValueKind;

/// Why an expression, which came to `holds`, must not be believed. `evaluate` tells what an expression comes to, if it does.
pub(crate) fn misleading(expression: &str, evaluate: impl Fn(&str) -> Option<Value>) -> Option<String> {
    for chain in chains(expression) {
        for (left, right) in chain.compared {
            let (Some(a), Some(b)) = (evaluate(&expression[left.0..left.1]), evaluate(&expression[right.0..right.1])) else { continue };
            if is_comparable(&a, &b) {
                continue;
            }
            let decided = |as_what: &str| {
                let (start, end) = chain.place;
                evaluate(&format!("{}{as_what}{}", &expression[..start], &expression[end..])).map(|value| value.is_true())
            };
            if decided("(true)") == decided("(false)") {
                continue;
            }
            return Some(format!(
                "`{}` compares {} with {}, which have no order: give both one type, such as `x | int`, or have the task above put out the \
                 type that is meant",
                expression[left.0..right.1].trim(),
                shown(&a),
                shown(&b)
            ));
        }
    }
    None
}

fn is_comparable(a: &Value, b: &Value) -> bool {
    let kind = |value: &Value| match value.kind() {
        ValueKind::Bool => ValueKind::Number, // false is 0, and true is 1
        ValueKind::Iterable => ValueKind::Seq,
        kind => kind,
    };
    kind(a) == kind(b)
}

fn shown(value: &Value) -> String {
    let text = || value.to_string().chars().take(40).collect::<String>();
    match value.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => format!("the boolean {}", text()),
        ValueKind::Number => format!("the number {}", text()),
        ValueKind::String => format!("the text {:?}", text()),
        ValueKind::Seq | ValueKind::Iterable => "a list".to_owned(),
        ValueKind::Map => "an object".to_owned(),
        kind => format!("a value of type {kind}"),
    }
}

/// From and to, in bytes.
type Place = (usize, usize);

/// `a < b`, or `a < b <= c`.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    place: Place,
    /// What `<`, `<=`, `>` and `>=` compare.
    compared: Vec<(Place, Place)>,
}

/// What is read within one pair of brackets.
#[derive(Default)]
struct Frame {
    /// Where the operand began that is read.
    operand: usize,
    /// Operands of the chain so far, each with whether an order follows it.
    before: Vec<(Place, bool)>,
}

impl Frame {
    /// The chain ends here, if it is one; a new operand begins.
    fn end(&mut self, at: usize, next: usize, chains: &mut Vec<Chain>) {
        let before = std::mem::take(&mut self.before);
        let last = (self.operand, at);
        let operands: Vec<Place> = before.iter().map(|(place, _)| *place).chain([last]).collect();
        let pairs = before.iter().zip(operands.windows(2)).filter(|((_, is_order), _)| *is_order);
        let compared: Vec<_> = pairs.map(|(_, pair)| (pair[0], pair[1])).collect();
        if let (false, Some(first)) = (compared.is_empty(), operands.first()) {
            chains.push(Chain { place: (first.0, at), compared });
        }
        self.operand = next;
    }

    fn operator(&mut self, at: usize, next: usize, is_order: bool) {
        self.before.push(((self.operand, at), is_order));
        self.operand = next;
    }
}

/// The chains of comparisons, also those within brackets. Operators that bind less end an operand, those that bind more do not.
fn chains(expression: &str) -> Vec<Chain> {
    let bytes = expression.as_bytes();
    let (mut chains, mut frames, mut at) = (Vec::new(), vec![Frame::default()], 0);
    while let (Some(&byte), Some(frame)) = (bytes.get(at), frames.last_mut()) {
        let mut next = at + 1;
        match byte {
            b'\'' | b'"' => {
                while let Some(&inside) = bytes.get(next) {
                    next += if inside == b'\\' { 2 } else { 1 };
                    if inside == byte {
                        break;
                    }
                }
            }
            b'(' | b'[' | b'{' => frames.push(Frame { operand: next, ..Frame::default() }),
            b')' | b']' | b'}' => {
                frame.end(at, next, &mut chains);
                frames.pop();
            }
            b'<' | b'>' | b'=' | b'!' => {
                let is_long = bytes.get(next) == Some(&b'=');
                next += usize::from(is_long);
                match (byte, is_long) {
                    (b'<' | b'>', _) => frame.operator(at, next, true),
                    (_, true) => frame.operator(at, next, false),
                    _ => frame.end(at, next, &mut chains), // of an argument's name
                }
            }
            b',' | b':' => frame.end(at, next, &mut chains),
            _ if byte.is_ascii_alphabetic() || byte == b'_' => {
                next = at + bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                match &expression[at..next] {
                    _ if at > 0 && bytes[at - 1] == b'.' => {} // a key
                    "and" | "or" | "if" | "else" => frame.end(at, next, &mut chains),
                    // Before an operand it is a sign of its own, within one it is that of `not in`.
                    "not" if expression[frame.operand..at].trim().is_empty() && frame.before.is_empty() => frame.operand = next,
                    "in" => {
                        let left = expression[frame.operand..at].trim_end();
                        let end = left.strip_suffix("not").map_or(at, |left| frame.operand + left.len());
                        frame.operator(end, next, false);
                    }
                    _ => {}
                }
            }
            _ if byte.is_ascii_digit() => {
                next = at + bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')).count();
            }
            _ => {}
        }
        at = next;
    }
    if let Some(frame) = frames.last_mut() {
        frame.end(expression.len(), expression.len(), &mut chains);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(expression: &str) -> Vec<(&str, &str)> {
        let text = |(start, end): Place| expression[start..end].trim();
        chains(expression).into_iter().flat_map(|chain| chain.compared).map(|(a, b)| (text(a), text(b))).collect()
    }

    #[test]
    fn operands_are_what_binds_more_than_a_comparison() {
        for (expression, expected) in [
            ("a > 1", &[("a", "1")][..]),
            ("not a.b + 2 * c >= d | int and e['x > y'] < f", &[("a.b + 2 * c", "d | int"), ("e['x > y']", "f")]),
            ("1 < a <= 3 or b == c", &[("1", "a"), ("a", "3")]),
            ("a | default(b > 1) > 2", &[("b", "1"), ("a | default(b > 1)", "2")]),
            ("f(x=a < b, y=[c > d])", &[("a", "b"), ("c", "d")]),
            ("x if a > b else c < d", &[("a", "b"), ("c", "d")]),
            ("a not in b and c > d", &[("c", "d")]),
            ("a in b > c", &[("b", "c")]),
            ("params.not > params.in", &[("params.not", "params.in")]),
            ("'a\\'>b' == c", &[]),
            ("a > 'é' and 1.5 < a", &[("a", "'é'"), ("1.5", "a")]),
            (") a > b", &[]),
            ("a > \"b", &[("a", "\"b")]),
        ] {
            assert_eq!(compared(expression), expected, "{expression}");
        }
    }

    #[test]
    fn a_comparison_of_two_types_is_told_where_it_decides() {
        let engine = penstock_common::engine::engine(1_000);
        let context = minijinja::context! { n => 3, s => "5", none => (), list => [1, 2], o => minijinja::context! { k => "x" } };
        let evaluate = |text: &str| engine.compile_expression(text).and_then(|e| e.eval(&context)).ok().filter(|v| !v.is_undefined());
        let told = |text: &str| misleading(text, evaluate);
        for (expression, why) in [
            ("s > 1", "`s > 1` compares the text \"5\" with the number 1"),
            ("n == 3 and not (1 <= o.k)", "`1 <= o.k` compares the number 1 with the text \"x\""),
            ("none < 1", "null with the number 1"),
            ("list > s", "a list with the text \"5\""),
            ("1 < n < s", "`n < s` compares"),
            ("(s > 1) == true", "compares"),
            ("'a' if s > 1 else ''", "compares"),
        ] {
            assert!(told(expression).is_some_and(|told| told.contains(why)), "{expression}: {:?}", told(expression));
        }
        for expression in [
            "s | int > 1",
            "s is number and s > 1",
            "n == 3 or s > 1",
            "n > true and n > 2.5",
            "s > '1' and list < [1, 3]",
            "missing > 1",
            "s == 1 or s != 1",
            "s in '5 > 4'",
        ] {
            assert_eq!(told(expression), None, "{expression}");
        }
    }
}
