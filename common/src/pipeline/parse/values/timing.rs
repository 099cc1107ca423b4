//! `schedule` and `triggers`: what starts runs.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fields::{Located, Placed, Reader, describe};
use super::super::found::cut;
use super::super::keys::{
    CATCHUPS, LANDING, RawGiven, RawLanding, RawSchedule, RawTrigger, RawUpstream, SCHEDULE, SOURCES, TIMINGS, TRIGGER, UPSTREAM, UPSTREAMS,
};
use super::super::node::{Entry, Kind, Node};
use super::super::scalar::{Core, resolve};
use super::{lacks, short_or_mapping};
use crate::ids::{is_dotted_name, is_identifier};
use crate::pipeline::{Catchup, ScheduleSpec, TriggerSource};
use crate::schedule::{Cron, Every, Timing};
use crate::{Millis, PipelineName, TriggerName, limits};

/// Shorter, and what nobody was late for would be late.
const LEAST_GRACE: Millis = Millis(1_000);
const DEFAULT_SETTLE: Millis = Millis(10_000);
const DEFAULT_EVERY: Millis = Millis(10_000);
/// Bytes of a path: what Linux takes.
const MAX_PATH_BYTES: usize = 4_096;
/// Where files are looked for beside paths, and an example of each.
const SCHEMES: [(&str, &str); 4] = [
    ("file", "file:///mnt/landing/*.csv"),
    ("s3", "s3://bucket/prefix/*.csv"),
    ("gs", "gs://bucket/prefix/*.csv"),
    ("az", "az://container/prefix/*.csv"),
];
/// What other tools call them.
const OTHER_SCHEMES: [(&str, &str); 7] =
    [("s3a", "s3"), ("s3n", "s3"), ("gcs", "gs"), ("abfs", "az"), ("abfss", "az"), ("azure", "az"), ("wasbs", "az")];

/// A text is a cron expression.
pub(in super::super) fn schedule(r: &mut Reader, node: &Node<'_>) -> RawSchedule {
    let mut raw = RawSchedule { at: node.at, ..RawSchedule::default() };
    match node.kind() {
        Kind::Mapping(entries) => {
            r.mapping(node, &[SCHEDULE], &mut raw);
            let mut timings = entries.iter().filter(|e| TIMINGS.contains(&&*e.key));
            match (timings.next(), timings.next()) {
                (Some(first), Some(second)) => {
                    let hint = format!("keep this or `{}`; several cron expressions are a list: cron: [\"…\", \"…\"]", first.key);
                    r.found.error(second.at, format!("`schedule` has both `{}` and `{}`", first.key, second.key), hint);
                    return raw;
                }
                (None, _) => r.refuse(node.at, "says not when", "add cron: \"0 2 * * *\" or every: 15m"),
                _ => {}
            }
        }
        Kind::Scalar { text, plain, .. } if !(*plain && resolve(text) == Core::Null) => match text.trim().parse::<Millis>() {
            Ok(period) => {
                let hint = format!("write schedule: {{every: {period}}}");
                r.refuse(node.at, &format!("is not a cron expression: {}", describe(node)), hint);
            }
            Err(_) => raw.cron = expression(r, node).map(|cron| vec![cron]),
        },
        Kind::Sequence(_) => {
            r.mismatch(node, "a cron expression or a mapping", "a list stands in `cron`: {cron: [\"0 2 * * *\", \"0 14 * * *\"]}")
        }
        _ => r.mismatch(node, "a cron expression or a mapping", "write \"0 2 * * *\", {cron: \"0 2 * * *\"} or {every: 15m}"),
    }
    raw.timing = raw.cron.take().map(Timing::Cron).or(raw.every.map(Timing::Every));
    raw
}

/// An expression, or several, each once. `None` if one is wrong.
pub(in super::super) fn cron(r: &mut Reader, node: &Node<'_>) -> Option<Vec<Cron>> {
    let items = match node.kind() {
        Kind::Sequence(_) => r.items(node, "write cron expressions, such as [\"0 2 * * *\", \"0 14 * * *\"]"),
        _ => std::slice::from_ref(node),
    };
    if items.len() > limits::MAX_CRON_PER_SCHEDULE {
        let hint = format!("at most {} are possible; lists and ranges within one say more: 0 6-18/2 * * *", limits::MAX_CRON_PER_SCHEDULE);
        r.refuse(node.at, &format!("has {} expressions", items.len()), hint);
        return None;
    }
    let mut list: Vec<Cron> = Vec::new();
    for item in items {
        let Some(cron) = expression(r, item) else { continue };
        if list.contains(&cron) {
            r.refuse(item.at, &format!("has \"{cron}\" twice"), "remove one of them");
            continue;
        }
        list.push(cron);
    }
    (!items.is_empty() && list.len() == items.len()).then_some(list)
}

fn expression(r: &mut Reader, node: &Node<'_>) -> Option<Cron> {
    let text = r.placed(node)?;
    match Cron::parse(&text.text) {
        Ok(cron) => {
            for warning in cron.warnings() {
                r.found.warning(text.place(warning.at.start), warning.message.clone(), warning.hint.clone());
            }
            Some(cron)
        }
        Err(problem) => {
            r.problem(&text, problem);
            None
        }
    }
}

/// `every` of a schedule.
pub(in super::super) fn period(r: &mut Reader, node: &Node<'_>) -> Option<Every> {
    let period = r.duration(node, Some("write a period such as 15m"))?;
    let every = Every::new(period);
    if let Err(problem) = &every {
        r.refuse(node.at, &format!("is out of range: {}", problem.message), problem.hint.clone());
    }
    every.ok()
}

pub(in super::super) fn catchup(r: &mut Reader, node: &Node<'_>) -> Option<Catchup> {
    // Airflow's is a flag.
    if let Kind::Scalar { text, plain: true, .. } = node.kind()
        && let Core::Bool(all) = resolve(text)
    {
        let hint = if all { "write all" } else { "write latest, which runs the newest, or none" };
        r.mismatch(node, "one of all, latest, none", hint);
        return None;
    }
    r.one_of(node, CATCHUPS)
}

pub(in super::super) fn grace(r: &mut Reader, node: &Node<'_>) -> Option<Millis> {
    let grace = r.duration(node, None)?;
    if grace < LEAST_GRACE {
        let hint = format!("write at least {LEAST_GRACE}: no run starts at the very instant at which it falls due");
        r.refuse(node.at, &format!("is too short: {grace}"), hint);
        return None;
    }
    Some(grace)
}

/// `start_date` or `end_date`: what it says depends on the zone, which may be written below it.
pub(in super::super) fn date(r: &mut Reader, node: &Node<'_>) -> Option<Placed> {
    if !matches!(node.kind(), Kind::Scalar { .. }) {
        r.mismatch(node, "a date or a time", "write 2024-01-31 or \"2024-01-31T02:00\"");
        return None;
    }
    r.placed(node)
}

pub(in super::super) fn triggers(r: &mut Reader, node: &Node<'_>, into: &mut Vec<RawTrigger>) {
    const HINT: &str = "write a list: [{name: landed, file: /mnt/landing/*.csv}]";
    let items = r.items(node, HINT);
    if let Some(over) = items.get(limits::MAX_TRIGGERS_PER_PIPELINE) {
        let message = format!("has {} items; at most {} are possible", items.len(), limits::MAX_TRIGGERS_PER_PIPELINE);
        r.refuse(over.at, &message, "a path with `*` and an event's params can stand for many");
        // What those are that are not read is not known.
        into.push(RawTrigger::default());
    }
    for item in items.iter().take(limits::MAX_TRIGGERS_PER_PIPELINE) {
        let Kind::Mapping(entries) = item.kind() else {
            r.mismatch(item, "a mapping", "write {name: NAME, file: PATH}, or `pipeline`, `pipelines` or `event` in place of `file`");
            // What it is meant to be is not known.
            into.push(RawTrigger::default());
            continue;
        };
        let name = entries.iter().find(|e| e.key == "name").and_then(|e| match e.value.kind() {
            Kind::Scalar { text, .. } => Some(text.to_string()),
            _ => None,
        });
        into.push(match name {
            Some(name) => r.named("trigger", &name, |r| trigger(r, item, entries)),
            None => trigger(r, item, entries),
        });
    }
}

fn trigger(r: &mut Reader, node: &Node<'_>, entries: &[Entry<'_>]) -> RawTrigger {
    let mut raw = RawTrigger::default();
    r.mapping(node, &[TRIGGER], &mut raw);
    lacks(r, node, "name");
    let mut sources = entries.iter().filter_map(|e| Some((e, *SOURCES.iter().find(|source| **source == e.key)?)));
    match (sources.next(), sources.next()) {
        (Some((_, first)), Some((entry, second))) => {
            let hint = format!("keep this or `{first}`; two things to wait for are two triggers, and several pipelines are `pipelines`");
            r.found.error(entry.at, format!("the trigger has a second thing to wait for, `{second}`"), hint);
        }
        (Some((entry, kind)), None) => raw.kind = Some(Located { at: entry.at, value: kind }),
        (None, _) => {
            r.refuse(node.at, "says not what it waits for", "add one of file, pipeline, pipelines and event; times are `schedule`")
        }
    }
    raw
}

pub(in super::super) fn trigger_name(r: &mut Reader, node: &Node<'_>) -> Option<TriggerName> {
    let name: TriggerName = r.name(node)?;
    if name.as_str() == ScheduleSpec::TRIGGER {
        r.found.error(node.at, "the trigger name `schedule` is the schedule's own", "use another name");
        return None;
    }
    Some(name)
}

/// `file` of a trigger.
pub(in super::super) fn landing(r: &mut Reader, node: &Node<'_>) -> Option<TriggerSource> {
    let RawLanding { path, settle, every, existing } = short_or_mapping(r, node, LANDING, "path")?;
    Some(TriggerSource::File {
        path: path?,
        settle: settle.unwrap_or(DEFAULT_SETTLE),
        every: every.unwrap_or(DEFAULT_EVERY),
        existing: existing.unwrap_or(false),
    })
}

/// An absolute path, or a URL of a store that is known. It leads nowhere but where it says.
pub(in super::super) fn landing_path(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let path = r.verbatim(node, "where files are looked for is known before a run", "use `*` where the name varies")?;
    if let Err((why, hint)) = check_path(&path) {
        r.refuse(node.at, &format!("{why}: \"{}\"", cut(&path)), hint);
        return None;
    }
    Some(path)
}

fn check_path(path: &str) -> Result<(), (&'static str, String)> {
    const ABSOLUTE: &str =
        "write an absolute path such as /mnt/landing/*.csv, the same on every coordinator, or a URL such as s3://bucket/prefix/*.csv";
    let rest = match path.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            let Some((scheme, example)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
                let hint = match OTHER_SCHEMES.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(scheme)) {
                    Some((_, ours)) => format!("did you mean `{ours}://`?"),
                    None => {
                        "write file:///…, s3://…, gs://… or az://…; what else changes can call `EmitEvent` or a webhook: `event`".to_owned()
                    }
                };
                return Err(("is a URL of a kind that is not known", hint));
            };
            let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
            match (*scheme, host) {
                ("file", "") => {}
                ("file", _) => return Err(("names a machine", format!("write three slashes, such as {example}"))),
                (_, "") => return Err(("names no bucket", format!("write one such as {example}"))),
                _ if host.contains('@') => {
                    return Err(("has credentials in it", "remove them: they are of the coordinator's configuration".to_owned()));
                }
                _ if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
                    return Err(("has a bucket that is no name", format!("write one such as {example}; `*` may stand behind it only")));
                }
                _ => {}
            }
            key
        }
        _ => match path.strip_prefix('/') {
            Some(rest) => rest,
            None if path.trim().is_empty() => return Err(("is an empty path", ABSOLUTE.to_owned())),
            None => return Err(("is not an absolute path", ABSOLUTE.to_owned())),
        },
    };
    if path.len() > MAX_PATH_BYTES {
        return Err(("is too long", format!("write at most {MAX_PATH_BYTES} bytes")));
    }
    if path.contains(['\n', '\r']) {
        return Err(("must be one line", "remove the line break; a block text (`|`) ends with one, `>-` with none".to_owned()));
    }
    if rest.is_empty() || rest.ends_with('/') {
        return Err(("is a folder", "name files in it, such as *.csv, or * for all of them".to_owned()));
    }
    if rest.split('/').any(|part| part == ".." || part == ".") {
        return Err(("has a part that is `.` or `..`", "write the path that it comes to".to_owned()));
    }
    if rest.contains("**") {
        return Err(("has a `**`", "`*` stands for names in one folder: write a `*` for each level, or a trigger for each".to_owned()));
    }
    if has_open_bracket(rest) {
        return Err(("has a `[` that is not closed", "write [abc] or [a-z] for one character; [[] is the bracket itself".to_owned()));
    }
    Ok(())
}

/// A `]` that comes first within brackets, or first after `!`, is one of their characters.
fn has_open_bracket(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some(open) = rest.find('[') {
        let body = &rest[open + 1..];
        let body = body.strip_prefix('!').unwrap_or(body);
        let first = body.chars().next().map_or(0, char::len_utf8);
        match body[first..].find(']') {
            Some(close) => rest = &body[first + close + 1..],
            None => return true,
        }
    }
    false
}

/// `pipeline` of a trigger.
pub(in super::super) fn upstream(r: &mut Reader, node: &Node<'_>) -> Option<TriggerSource> {
    if matches!(node.kind(), Kind::Sequence(_)) {
        r.mismatch(node, "a name or a mapping", "several are `pipelines: [a, b]`");
        return None;
    }
    pipelines(short_or_mapping(r, node, UPSTREAM, "name")?)
}

/// `pipelines` of a trigger.
pub(in super::super) fn upstreams(r: &mut Reader, node: &Node<'_>) -> Option<TriggerSource> {
    let mut raw = RawUpstream::default();
    match node.kind() {
        Kind::Sequence(_) => r.short(node, UPSTREAMS, "names", &mut raw),
        Kind::Mapping(_) => {
            r.mapping(node, &[UPSTREAMS], &mut raw);
            lacks(r, node, "names");
        }
        _ => r.mismatch(node, "a list of names or a mapping", "write [a, b] or {names: [a, b], when: success}; one alone is `pipeline: a`"),
    }
    pipelines(raw)
}

fn pipelines(raw: RawUpstream) -> Option<TriggerSource> {
    Some(TriggerSource::Pipelines { names: raw.names?, when: raw.when.unwrap_or_default() })
}

/// Each once, in the order of names. `None` if one is wrong.
pub(in super::super) fn upstream_names(r: &mut Reader, node: &Node<'_>) -> Option<Vec<PipelineName>> {
    let items = r.items(node, "write names, such as [crm_sync, erp_sync]");
    if items.len() > limits::MAX_UPSTREAMS_PER_TRIGGER {
        let hint = format!("at most {} are possible; a pipeline between can wait for some of them", limits::MAX_UPSTREAMS_PER_TRIGGER);
        r.refuse(node.at, &format!("has {} names", items.len()), hint);
        return None;
    }
    let mut names = BTreeSet::new();
    for item in items {
        let Some(name) = r.name::<PipelineName>(item) else { continue };
        if let Some(again) = names.replace(name) {
            r.refuse(item.at, &format!("has `{again}` twice"), "remove one of them");
        }
    }
    (!items.is_empty() && names.len() == items.len()).then(|| names.into_iter().collect())
}

pub(in super::super) fn event(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    if matches!(node.kind(), Kind::Mapping(_)) {
        r.mismatch(node, "a name", "write event: claims.ready; what of it a run is given is `params` beside it");
        return None;
    }
    let name = r.word(node)?;
    if is_dotted_name(&name) {
        return Some(name);
    }
    let message = format!("\"{}\" is not a valid event name", cut(&name));
    r.found.error(node.at, message, "use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -");
    None
}

/// What a trigger's runs are given. Whether there are such parameters is known at the end.
pub(in super::super) fn trigger_params(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, RawGiven>) {
    const HINT: &str = "write NAME: \"{{ event.KEY }}\", or leave the key out";
    let entries = r.entries(node, HINT);
    if entries.is_empty() && matches!(node.kind(), Kind::Mapping(_)) {
        r.refuse(node.at, "is empty", HINT);
    }
    for entry in entries {
        if !is_identifier(&entry.key) {
            let message = format!("\"{}\" is not a valid parameter name", cut(&entry.key));
            r.found.error(entry.at, message, "use a lower-case letter, then at most 62 of a-z, 0-9 and _");
            continue;
        }
        let value = r.named("parameter", &entry.key, |r| r.event_template(&entry.value));
        let value = value.map(|value| Located { at: entry.value.at, value });
        into.insert(entry.key.to_string(), RawGiven { at: entry.at, value });
    }
}

#[cfg(test)]
mod tests {
    use super::has_open_bracket;

    #[test]
    fn brackets_are_closed_as_a_pattern_closes_them() {
        for closed in ["a", "[a]", "[]]", "[!]]", "[[]", "a[0-9]b[!x].csv", "]", "[é]"] {
            assert!(!has_open_bracket(closed), "{closed}");
        }
        for open in ["[", "a[", "[]", "[!]", "[a", "[a]b[", "[é"] {
            assert!(has_open_bracket(open), "{open}");
        }
    }
}
