//! `retries`: how often and when a failed attempt is tried again.

use std::collections::BTreeSet;

use super::super::fields::{Located, Reader};
use super::super::found::listed;
use super::super::keys::{POLICY, RETRIES, RETRYABLE, RawRetries};
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, resolve};
use crate::pipeline::{ExitPolicy, Location};
use crate::{Millis, Reason};

pub(in super::super) fn retries(r: &mut Reader, node: &Node<'_>, into: &mut RawRetries) {
    if matches!(node.kind(), Kind::Scalar { text, plain, .. } if !(*plain && resolve(text) == Core::Null)) {
        into.max = r.integer(node, 0, i64::from(u32::MAX));
        return;
    }
    r.mapping(node, &[RETRIES], into);
    check_delays(r, into.delay.as_ref(), into.max_delay.as_ref(), |delay, _| delay);
}

/// A delay that `max_delay` would cut is a contradiction; it is shown at the place that `at` chooses.
pub(in super::super) fn check_delays(
    r: &mut Reader,
    delay: Option<&Located<Millis>>,
    max_delay: Option<&Located<Millis>>,
    at: impl FnOnce(Location, Location) -> Location,
) {
    if let (Some(delay), Some(max)) = (delay, max_delay)
        && delay.value > max.value
    {
        let message = format!("the delay {} is longer than max_delay {}", delay.value, max.value);
        r.found.error(at(delay.at, max.at), message, "raise `max_delay` or lower `delay`");
    }
}

pub(in super::super) fn backoff(r: &mut Reader, node: &Node<'_>) -> Option<f64> {
    let value = r.number(node)?;
    if value < 1.0 {
        r.refuse(node.at, &format!("is out of range: {value}"), "write a number from 1 on; 1 keeps the delay as it is");
        return None;
    }
    Some(value)
}

/// Failures, by reason or by exit code.
pub(in super::super) fn policy(r: &mut Reader, node: &Node<'_>) -> Option<ExitPolicy> {
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

pub(in super::super) fn reasons(r: &mut Reader, node: &Node<'_>) -> Vec<Reason> {
    let words = RETRYABLE.map(|reason| (reason.as_str(), reason));
    let mut reasons = BTreeSet::new();
    for item in r.items(node, "write reasons, such as [exit_code, timeout]; to retry nothing, write max: 0") {
        match item.kind() {
            Kind::Scalar { text, .. } if text == Reason::Lost.as_str() => {
                let hint = "remove it; how many attempts may be lost with their worker is `max_lost`";
                r.refuse(item.at, "cannot have `lost`: what is lost starts again at once and spends no retry", hint);
            }
            Kind::Scalar { text, .. } if Reason::parse(text).is_some_and(|reason| !RETRYABLE.contains(&reason)) => {
                let hint = format!("remove it; the reasons are: {}", listed(words.iter().map(|(word, _)| *word)));
                r.refuse(item.at, &format!("cannot have `{text}`: it is never followed by a retry"), hint);
            }
            _ => reasons.extend(r.one_of(item, &words)),
        }
    }
    reasons.into_iter().collect()
}

pub(in super::super) fn exit_codes(r: &mut Reader, node: &Node<'_>) -> Vec<i32> {
    let items = r.items(node, "write exit codes, such as [2, 75]");
    items.iter().filter_map(|item| r.integer(item, 1, 255)).collect::<BTreeSet<i32>>().into_iter().collect()
}
