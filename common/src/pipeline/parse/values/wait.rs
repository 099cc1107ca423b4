//! `wait`: a sensor.

use super::super::fields::{Located, Reader};
use super::super::found::cut;
use super::super::keys::{RawWait, WAIT, WAITED_FOR};
use super::super::node::{Kind, Node};
use super::super::template::has_tags;
use super::has;
use crate::pipeline::{Until, Wait};
use crate::{Millis, Timestamp};

const DEFAULT_EVERY: Millis = Millis(30_000);
/// Probes are work for a worker and news for a scheduler.
const LEAST_EVERY: Millis = Millis(1_000);

pub(in super::super) fn wait(r: &mut Reader, node: &Node<'_>) -> Option<Wait> {
    let Kind::Mapping(entries) = node.kind() else {
        let hint = "write {file: PATH}, {http: URL}, {sql: {…}} or {time: \"06:00\"}; for another pipeline's run: `pipeline: NAME`";
        r.mismatch(node, "a mapping", hint);
        return None;
    };
    let mut raw = RawWait::default();
    r.mapping(node, &[WAIT], &mut raw);
    let mut kinds = entries.iter().filter(|e| WAITED_FOR.contains(&&*e.key));
    match (kinds.next(), kinds.next()) {
        (Some(first), Some(second)) => {
            let hint = format!("keep this or `{}`; two things to wait for are two tasks", first.key);
            r.found.error(second.at, format!("`wait` has a second thing to wait for, `{}`", second.key), hint);
        }
        (None, _) => r.refuse(node.at, "says not what for", "add one of file, http, sql and time"),
        _ => {}
    }
    if let Some(settle) = raw.settle.as_ref().filter(|_| !has(node, "file")) {
        r.found.error(settle.at, "`settle` is of files only", "remove it");
    }
    if let Some(on_timeout) = raw.on_timeout.as_ref().filter(|_| !has(node, "timeout")) {
        r.found.error(on_timeout.at, "`on_timeout` without a `timeout`", "add `timeout: 2h` beside it, or remove it");
    }
    let settle = raw.settle.map_or(Millis(0), |settle| settle.value);
    let until = raw
        .file
        .map(|path| Until::File { path, settle })
        .or(raw.http.map(Until::Http))
        .or(raw.sql.map(Until::Sql))
        .or(raw.time.map(Until::Time))?;
    Some(Wait {
        until,
        every: raw.every.unwrap_or(DEFAULT_EVERY),
        timeout: raw.timeout,
        skip_on_timeout: raw.on_timeout.is_some_and(|Located { value, .. }| value),
    })
}

pub(in super::super) fn file(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    if matches!(node.kind(), Kind::Mapping(_)) {
        r.mismatch(node, "a path", "write file: PATH, and settle: 30s beside it");
        return None;
    }
    let path = r.text(node)?;
    if path.trim().is_empty() {
        r.refuse(node.at, "is an empty path", "write a path, such as landing/*.csv");
        return None;
    }
    Some(path)
}

/// HH:MM, RFC 3339, or whatever a template renders.
pub(in super::super) fn time(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let text = r.text(node)?;
    if has_tags(&text) || is_time_of_day(&text) || Timestamp::parse(&text).is_some() {
        return Some(text);
    }
    let hint = "write HH:MM, such as \"06:00\", a time with its offset, such as 2024-01-31T06:00:00Z, or a template of one";
    r.refuse(node.at, &format!("is not a time: \"{}\"", cut(&text)), hint);
    None
}

fn is_time_of_day(text: &str) -> bool {
    let number = |digits: &str, most: u8| {
        digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u8>().is_ok_and(|n| n <= most)
    };
    text.split_once(':').is_some_and(|(hours, minutes)| number(hours, 23) && number(minutes, 59))
}

pub(in super::super) fn every(r: &mut Reader, node: &Node<'_>) -> Option<Millis> {
    let every = r.duration(node, None)?;
    if every < LEAST_EVERY {
        r.refuse(node.at, &format!("is too short: {every}"), format!("write at least {LEAST_EVERY}"));
        return None;
    }
    Some(every)
}
