//! Control flow: upstreams, items and what is expected of records.

use std::collections::btree_map::Entry;

use super::super::fields::{Located, Reader, describe};
use super::super::found::cut;
use super::super::keys::{Bounds, CONDITIONS, EXPECT, RANGE, RawEdge, RawExpect, RawFlow, RawRange};
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, resolve};
use super::super::template::has_tags;
use super::has;
use crate::ids::is_identifier;
use crate::pipeline::{Condition, ForEach, Location, MaxFailed, TriggerRule};
use crate::{Items, TaskId, limits};

pub(in super::super) fn depends_on(r: &mut Reader, node: &Node<'_>, flow: &mut RawFlow) {
    match node.kind() {
        Kind::Mapping(entries) => {
            for entry in entries {
                let when = r.one_of(&entry.value, CONDITIONS);
                // One that is wrong is a condition all the same.
                upstream(r, entry.at, &entry.key, Some(when.unwrap_or(Condition::Success)), flow);
            }
        }
        Kind::Sequence(items) => {
            for item in items {
                upstream_item(r, item, flow);
            }
        }
        Kind::Scalar { .. } | Kind::Shared(_) | Kind::Broken => upstream_item(r, node, flow),
    }
}

fn upstream_item(r: &mut Reader, node: &Node<'_>, flow: &mut RawFlow) {
    match node.kind() {
        Kind::Scalar { text, plain, .. } if !(*plain && resolve(text) == Core::Null) => upstream(r, node.at, text, None, flow),
        _ => {
            flow.depends_on_unclear = true;
            let hint = match node.kind() {
                Kind::Mapping(_) => "conditions are a mapping and no list: {a: success, b: failed}",
                _ => "",
            };
            r.mismatch(node, "a name", hint);
        }
    }
}

/// Notes `NAME` or `NAME[*]`.
fn upstream(r: &mut Reader, at: Location, text: &str, when: Option<Condition>, flow: &mut RawFlow) {
    let (name, paired) = match text.strip_suffix("[*]") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let id = match name.split_once('[') {
        Some((task, _)) if is_identifier(task) => {
            let hint = format!("write {task} for all instances, or \"{task}[*]\" for each one's own");
            r.found.error(at, format!("`{}` names an instance, which only a run has", cut(text)), hint);
            None
        }
        _ => r.name_of::<TaskId>(at, name),
    };
    let Some(id) = id else {
        flow.depends_on_unclear = true;
        return;
    };
    match flow.depends_on.entry(id) {
        Entry::Vacant(entry) => {
            entry.insert(RawEdge { at, when, paired });
        }
        Entry::Occupied(entry) => r.found.error(at, format!("`{}` is in `depends_on` twice", entry.key()), "remove one of them"),
    }
}

pub(in super::super) fn trigger_rule(r: &mut Reader, node: &Node<'_>) -> Option<Located<TriggerRule>> {
    r.one_of(node, TriggerRule::WORDS).map(|value| Located { at: node.at, value })
}

pub(in super::super) fn for_each(r: &mut Reader, node: &Node<'_>) -> Option<ForEach> {
    const FORMS: &str = "a list, a range, outputs.TASK.KEY or items.TASK";
    match node.kind() {
        Kind::Sequence(items) => items_of(r, node, items),
        Kind::Mapping(_) => {
            let mut raw = RawRange::default();
            r.mapping(node, &[RANGE], &mut raw);
            range(r, node, &raw)
        }
        Kind::Scalar { text, .. } if has_tags(text) => {
            let hint = "write outputs.TASK.KEY or items.TASK, without braces; what varies otherwise, a task puts out";
            r.refuse(node.at, "is no template", hint);
            None
        }
        Kind::Scalar { text, plain, .. } => {
            let parts: Vec<&str> = text.split('.').collect();
            match parts[..] {
                ["outputs", task, key] if is_identifier(key) => {
                    Some(ForEach::Output { task: r.name_of(node.at, task)?, key: key.to_owned() })
                }
                ["items", task] => Some(ForEach::ItemsOf { task: r.name_of(node.at, task)? }),
                _ => {
                    let hint = match resolve(text) {
                        Core::Int(_) if *plain => format!("write {{range: {}}}", cut(text)),
                        _ if parts[0] == "params" => "a parameter is one value; a task can put out a list: outputs.TASK.KEY".to_owned(),
                        _ => "write [a, b], {range: 10}, {from: 1, to: 10}, outputs.TASK.KEY or items.TASK".to_owned(),
                    };
                    r.mismatch(node, FORMS, hint);
                    None
                }
            }
        }
        _ => {
            r.mismatch(node, FORMS, "write [a, b], {range: 10}, {from: 1, to: 10}, outputs.TASK.KEY or items.TASK");
            None
        }
    }
}

/// Any values; texts are what they are.
fn items_of(r: &mut Reader, node: &Node<'_>, items: &[Node<'_>]) -> Option<ForEach> {
    if items.is_empty() {
        r.refuse(node.at, "is an empty list", "write the items; items that only a run knows are outputs.TASK.KEY or items.TASK");
        return None;
    }
    let values: Vec<_> = items
        .iter()
        .filter_map(|item| {
            r.value(item, &mut |r, at, text| {
                if !has_tags(text) {
                    return Some(());
                }
                let hint = "use `{{ item }}` in a template of the task, beside what else it needs";
                r.refuse(at, "has an item that is a template: items are taken as they are written", hint);
                None
            })
        })
        .collect();
    if values.len() < items.len() {
        return None;
    }
    if let Err(e) = Items::of(&values) {
        r.refuse(node.at, &format!("is too much: {e}"), "write fewer items, or have a task write them: items.TASK");
        return None;
    }
    Some(ForEach::Items(values))
}

fn range(r: &mut Reader, node: &Node<'_>, raw: &RawRange) -> Option<ForEach> {
    let value = |number: &Option<Located<i64>>| number.as_ref().map(|number| number.value);
    let (from, to, step) = if has(node, "range") {
        let others = [&raw.from, &raw.to, &raw.step];
        if let Some(other) = others.into_iter().flatten().next() {
            r.found.error(other.at, "`range` stands alone", "write {range: 10}, or {from: 1, to: 10, step: 1}");
            return None;
        }
        (0, value(&raw.range)?, 1)
    } else {
        if !has(node, "to") {
            r.refuse(node.at, "has no `to`", "write {range: 10}, or {from: 1, to: 10}; `to` itself is not reached");
            return None;
        }
        // What is written and wrong is no default.
        let or = |number: &Option<Located<i64>>, key: &str, default| value(number).or((!has(node, key)).then_some(default));
        (or(&raw.from, "from", 0)?, value(&raw.to)?, or(&raw.step, "step", 1)?)
    };
    if let Some(step) = raw.step.as_ref().filter(|step| step.value == 0) {
        r.found.error(step.at, "`step` must not be 0", "write 1, or -1 to count down");
        return None;
    }
    match length(from, to, step) {
        0 => {
            r.refuse(
                node.at,
                "is an empty range",
                "`to` is not reached: {from: 1, to: 4} is 1, 2, 3; to count down, write a negative `step`",
            );
            None
        }
        count if count > limits::MAX_ITEMS as u128 => {
            let hint = format!("write at most {}; an instance can do more than one", limits::MAX_ITEMS);
            r.refuse(node.at, &format!("is too much: {count} items"), hint);
            None
        }
        _ => Some(ForEach::Range { from, to, step }),
    }
}

/// How many numbers a range has; `step` is not 0.
pub(in super::super) fn length(from: i64, to: i64, step: i64) -> u128 {
    let (from, to, step) = (i128::from(from), i128::from(to), i128::from(step));
    let distance = if step > 0 { to - from } else { from - to };
    u128::try_from(distance).unwrap_or(0).div_ceil(step.unsigned_abs())
}

pub(in super::super) fn max_failed(r: &mut Reader, node: &Node<'_>) -> Option<MaxFailed> {
    const EXPECTED: &str = "a number of instances, or a part such as 1%";
    let Kind::Scalar { text, plain, .. } = node.kind() else {
        r.mismatch(node, EXPECTED, "");
        return None;
    };
    if let Some(percent) = text.strip_suffix('%').map(str::trim_end) {
        let value = match resolve(percent) {
            Core::Int(_) | Core::Float(_) => percent.parse::<f64>().ok(),
            _ => None,
        };
        return match value {
            Some(value) if value > 0.0 && value <= 100.0 => Some(MaxFailed::Percent(value)),
            Some(_) => {
                r.refuse(node.at, &format!("is out of range: {}", describe(node)), "write a part above 0% and up to 100%");
                None
            }
            None => {
                r.mismatch(node, EXPECTED, "write 3 or 1%");
                None
            }
        };
    }
    if *plain && matches!(resolve(text), Core::Int(_)) {
        return r.integer(node, 0, i64::from(u32::MAX)).map(MaxFailed::Count);
    }
    let hint = match text.parse::<f64>() {
        Ok(part) if *plain && part > 0.0 && part < 1.0 => format!("write {}%", part * 100.0),
        _ => "write 3 or 1%".to_owned(),
    };
    r.mismatch(node, EXPECTED, hint);
    None
}

pub(in super::super) fn expect(r: &mut Reader, node: &Node<'_>, into: &mut RawExpect) {
    r.mapping(node, &[EXPECT], into);
    check_records(r, &into.records, |min, _| min);
}

/// Bounds that nothing can be within are a contradiction; it is shown at the place that `at` chooses.
pub(in super::super) fn check_records(r: &mut Reader, bounds: &Bounds, at: impl FnOnce(Location, Location) -> Location) {
    if let (Some(min), Some(max)) = (&bounds.min, &bounds.max)
        && min.value > max.value
    {
        let message = format!("`min` {} is above `max` {}", min.value, max.value);
        r.found.error(at(min.at, max.at), message, "raise `max` or lower `min`");
    }
}
