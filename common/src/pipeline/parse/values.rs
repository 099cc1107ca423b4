//! Readers for the values that only one key has.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::fields::{Located, Reader, Template, describe_scalar};
use super::found::{cut, listed};
use super::keys::{
    ACTIONS, ENV_VALUE, LATER_ACTIONS, PARAM, POLICY, Params, RETRIES, RawParam, RawRetries, RawTask, SETTINGS, TASK, retryable,
};
use super::node::{Kind, Node};
use super::scalar::{Core, is_yaml_1_1_bool, resolve};
use crate::ids::{is_identifier, is_token};
use crate::pipeline::{ExitPolicy, Location, Param, ParamType};
use crate::{Reason, TaskId};

/// Variables the worker sets.
const RESERVED_PREFIX: &str = "PENSTOCK_";

/// A value whose type another key says.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Scalar {
    text: String,
    plain: bool,
}

pub(super) fn scalar(r: &mut Reader, node: &Node<'_>) -> Option<Located<Scalar>> {
    match node.kind() {
        Kind::Scalar { text, plain } => Some(Located { at: node.at, value: Scalar { text: text.clone().into_owned(), plain: *plain } }),
        _ => {
            r.mismatch(node, "a single value", "parameters are text, numbers and booleans");
            None
        }
    }
}

pub(super) fn params(r: &mut Reader, node: &Node<'_>, into: &mut Params) {
    let hint = "write NAME: {type: string, default: …}";
    into.unclear = !matches!(node.kind(), Kind::Mapping(_));
    for entry in r.entries(node, hint) {
        if !is_identifier(&entry.key) {
            let message = format!("\"{}\" is not a valid parameter name", cut(&entry.key));
            r.found.error(entry.at, message, "use a lower-case letter, then at most 62 of a-z, 0-9 and _");
        }
        let mut raw = RawParam::default();
        let param =
            r.named("parameter", &entry.key, |r| if r.mapping(&entry.value, &[PARAM], &mut raw) { param(r, entry.at, raw) } else { None });
        into.declared.insert(entry.key.clone().into_owned(), param);
    }
}

fn param(r: &mut Reader, at: Location, raw: RawParam) -> Option<Param> {
    let Some(kind) = raw.kind else {
        if !raw.kind_unclear {
            r.found.error(at, "the parameter has no type", "add type: string, int, number or bool");
        }
        return None;
    };
    let mut values = Vec::new();
    for value in raw.values {
        let Some(typed) = typed(r, &value, kind) else { continue };
        if values.contains(&typed) {
            r.found.error(value.at, format!("{typed} is in `enum` twice"), "remove one of them");
        }
        values.push(typed);
    }
    let mut default = None;
    if let Some(raw) = raw.default {
        default = typed(r, &raw, kind);
        if let Some(value) = default.as_ref().filter(|value| !values.is_empty() && !values.contains(value)) {
            let words: Vec<String> = values.iter().map(bare).collect();
            let names = || words.iter().map(String::as_str);
            let hint = r.found.did_you_mean(&bare(value), names(), || format!("use one of {}, or add it there", listed(names())));
            r.found.error(raw.at, format!("the default {value} is not in `enum`"), hint);
        }
    }
    Some(Param { kind, default, values, description: raw.description })
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value, if it is of the type.
fn typed(r: &mut Reader, value: &Located<Scalar>, kind: ParamType) -> Option<Value> {
    let Located { at, value: Scalar { text, plain } } = value;
    let core = if *plain { resolve(text) } else { Core::Text };
    let hint = match (kind, core) {
        (ParamType::String, Core::Text) => {
            if let Some(meant) = is_yaml_1_1_bool(text).filter(|_| *plain) {
                let message = format!("{text} is text here, while older YAML readers take it for {meant}");
                r.found.warning(*at, message, format!("put it in quotes: \"{text}\""));
            }
            return Some(Value::from(text.as_str()));
        }
        (ParamType::Int, Core::Int(Some(n))) | (ParamType::Number, Core::Int(Some(n))) => return Some(Value::from(n)),
        (ParamType::Number, Core::Int(None) | Core::Float(_)) => match text.parse::<f64>() {
            Ok(f) if f.is_finite() => return Some(Value::from(f)),
            _ => "write a finite number".to_owned(),
        },
        (ParamType::Bool, Core::Bool(b)) => return Some(Value::from(b)),
        (ParamType::String, _) => format!("put it in quotes: \"{}\"", cut(text)),
        (ParamType::Int, Core::Int(None)) => "write a number of at most 64 bits".to_owned(),
        (ParamType::Int | ParamType::Number, Core::Text) if !matches!(resolve(text), Core::Text | Core::Null) => {
            format!("write {} without quotes", cut(text))
        }
        (ParamType::Int, _) => "write a whole number, or use type: number".to_owned(),
        (ParamType::Number, _) => "write a number, or use type: string".to_owned(),
        (ParamType::Bool, _) => match is_yaml_1_1_bool(text) {
            Some(meant) => format!("`{text}` is text in YAML 1.2: write {meant}"),
            None => "write true or false, without quotes".to_owned(),
        },
    };
    let message = format!("{} is not a value of type {}", describe_scalar(text, *plain), kind.as_str());
    r.found.error(*at, message, hint);
    None
}

pub(super) fn env(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, Template>) {
    for entry in r.entries(node, "write NAME: \"value\"") {
        let name = &*entry.key;
        let valid = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let message = format!("\"{}\" is not a valid variable name", cut(name));
            r.found.error(entry.at, message, "use letters, digits and _, not a digit first");
        } else if name.starts_with(RESERVED_PREFIX) {
            let hint = format!("names with {RESERVED_PREFIX} are set by the worker; use another name");
            r.found.error(entry.at, format!("the variable `{}` is reserved", cut(name)), hint);
        }
        if matches!(entry.value.kind(), Kind::Mapping(entries) if !entries.is_empty()) {
            r.mapping(&entry.value, &[ENV_VALUE], &mut ());
        } else if let Some(value) = r.named("variable", name, |r| r.template(&entry.value)) {
            into.insert(name.to_owned(), value);
        }
    }
}

pub(super) fn labels(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, String>) {
    for entry in r.entries(node, "write KEY: value") {
        if !is_token(&entry.key) {
            let message = format!("\"{}\" is not a valid label", cut(&entry.key));
            r.found.error(entry.at, message, "use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and -");
        }
        if let Some(value) = r.named("label", &entry.key, |r| r.word(&entry.value)) {
            into.insert(entry.key.clone().into_owned(), value);
        }
    }
}

pub(super) fn tasks(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<TaskId, (Location, RawTask)>) {
    let hint = "write each task under its id: `extract: {run: [python3, extract.py]}`";
    let entries = r.entries(node, hint);
    if entries.is_empty() && matches!(node.kind(), Kind::Mapping(_)) {
        r.refuse(node.at, "has no task", hint);
    }
    for entry in entries {
        let id = r.name_of::<TaskId>(entry.at, &entry.key);
        let mut task = RawTask::default();
        if r.named("task", &entry.key, |r| r.mapping(&entry.value, &[TASK, SETTINGS], &mut task)) {
            check_action(r, entry.at, &entry.key, &entry.value);
        }
        if let Some(id) = id {
            into.insert(id, (entry.at, task));
        }
    }
}

/// A task has one action.
fn check_action(r: &mut Reader, at: Location, id: &str, node: &Node<'_>) {
    let Kind::Mapping(entries) = node.kind() else { return };
    let mut actions = entries.iter().filter(|e| ACTIONS.contains(&&*e.key));
    match (actions.next(), actions.next()) {
        (Some(first), Some(second)) => {
            let message = format!("task `{}` has a second action `{}`", cut(id), second.key);
            r.found.error(second.at, message, format!("keep this or `{}`; two steps are two tasks, joined by `depends_on`", first.key));
        }
        (None, _) if !entries.iter().any(|e| LATER_ACTIONS.contains(&&*e.key)) => {
            let hint = "give it one of run: [program, argument, …], shell: \"script\" or noop: true";
            r.found.error(at, format!("task `{}` has no action", cut(id)), hint);
        }
        _ => {}
    }
}

pub(super) fn depends_on(r: &mut Reader, node: &Node<'_>, task: &mut RawTask) {
    let one = std::slice::from_ref(node);
    let items = match node.kind() {
        Kind::Sequence(items) => items.as_slice(),
        Kind::Mapping(_) => {
            task.depends_on_unclear = true;
            let hint = "write a list, [a, b]: the task starts when all of them have succeeded";
            return r.found.error(node.at, "conditions in `depends_on` are not supported by this version", hint);
        }
        Kind::Scalar { .. } | Kind::Shared(_) | Kind::Broken => one,
    };
    for item in items {
        let Some(id) = r.name::<TaskId>(item) else {
            task.depends_on_unclear = true;
            continue;
        };
        match task.depends_on.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(item.at);
            }
            Entry::Occupied(entry) => {
                r.found.error(item.at, format!("`{}` is in `depends_on` twice", entry.key()), "remove one of them");
            }
        }
    }
}

pub(super) fn argv(r: &mut Reader, node: &Node<'_>) -> Option<Vec<Template>> {
    if let Kind::Scalar { text, plain } = node.kind()
        && !(*plain && resolve(text) == Core::Null)
    {
        let words: Vec<&str> = text.split_whitespace().collect();
        let hint = format!("write run: [{}], or shell: for a command line", cut(&words.join(", ")));
        r.mismatch(node, "a list of a program and its arguments", hint);
        return None;
    }
    let items = r.items(node, "write the program and its arguments: [python3, extract.py]");
    let argv: Vec<_> = items.iter().filter_map(|item| r.template(item)).collect();
    if let Some(first) = argv.first().filter(|first| first.text.is_empty() && argv.len() == items.len()) {
        r.refuse(first.at, "names no program", "the first item is the program");
        return None;
    }
    (!argv.is_empty() && argv.len() == items.len()).then_some(argv)
}

pub(super) fn noop(r: &mut Reader, node: &Node<'_>) -> bool {
    match node.kind() {
        Kind::Scalar { text, plain: true } if resolve(text) == Core::Bool(true) => true,
        _ => {
            r.mismatch(node, "true", "write `noop: true`, or remove the key");
            false
        }
    }
}

pub(super) fn retries(r: &mut Reader, node: &Node<'_>, into: &mut RawRetries) {
    if matches!(node.kind(), Kind::Scalar { text, plain } if !(*plain && resolve(text) == Core::Null)) {
        into.max = r.integer(node, 0, i64::from(u32::MAX));
        return;
    }
    r.mapping(node, &[RETRIES], into);
    check_delays(r, into.delay.as_ref(), into.max_delay.as_ref(), |delay, _| delay);
}

/// A delay that `max_delay` would cut is a contradiction; it is shown at the place that `at` chooses.
pub(super) fn check_delays(
    r: &mut Reader,
    delay: Option<&Located<crate::Millis>>,
    max_delay: Option<&Located<crate::Millis>>,
    at: impl FnOnce(Location, Location) -> Location,
) {
    if let (Some(delay), Some(max)) = (delay, max_delay)
        && delay.value > max.value
    {
        let message = format!("the delay {} is longer than max_delay {}", delay.value, max.value);
        r.found.error(at(delay.at, max.at), message, "raise `max_delay` or lower `delay`");
    }
}

pub(super) fn backoff(r: &mut Reader, node: &Node<'_>) -> Option<f64> {
    let value = r.number(node)?;
    if value < 1.0 {
        r.refuse(node.at, &format!("is out of range: {value}"), "write a number from 1 on; 1 keeps the delay as it is");
        return None;
    }
    Some(value)
}

/// Failures, by reason or by exit code.
pub(super) fn policy(r: &mut Reader, node: &Node<'_>) -> Option<ExitPolicy> {
    let mut policy = ExitPolicy::default();
    match node.kind() {
        Kind::Sequence(_) => policy.reasons = reasons(r, node),
        Kind::Mapping(entries) if !entries.is_empty() => {
            r.mapping(node, &[POLICY], &mut policy);
        }
        _ => {
            let hint = "write reasons, [exit_code, timeout], or {reasons: [timeout], exit_codes: [2]}";
            r.mismatch(node, "a list of reasons or a mapping with `reasons` and `exit_codes`", hint);
            return None;
        }
    }
    Some(policy)
}

pub(super) fn reasons(r: &mut Reader, node: &Node<'_>) -> Vec<Reason> {
    let words: Vec<(&'static str, Reason)> = retryable().map(|reason| (reason.as_str(), reason)).collect();
    let mut reasons = BTreeSet::new();
    for item in r.items(node, "write reasons, such as [exit_code, timeout]; to retry nothing, write max: 0") {
        match item.kind() {
            Kind::Scalar { text, .. } if Reason::parse(text).is_some_and(|reason| !retryable().any(|r| r == reason)) => {
                let hint = format!("remove it; the reasons are: {}", listed(words.iter().map(|(word, _)| *word)));
                r.refuse(item.at, &format!("cannot have `{text}`: it is never followed by a retry"), hint);
            }
            _ => reasons.extend(r.one_of(item, &words)),
        }
    }
    reasons.into_iter().collect()
}

pub(super) fn exit_codes(r: &mut Reader, node: &Node<'_>) -> Vec<i32> {
    let items = r.items(node, "write exit codes, such as [2, 75]");
    items.iter().filter_map(|item| r.integer(item, 1, 255)).collect::<BTreeSet<i32>>().into_iter().collect()
}
