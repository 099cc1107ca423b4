//! What starts runs: schedules, dates, triggers, and what follows from them for the rest of the document.

use serde_json::json;

use super::{Document, EVERYTHING, FULL, bad, good, refused, refused_at_top, schema, warned};
use crate::pipeline::{Catchup, Ending, Overlap, Pipeline, ScheduleSpec, TriggerSource, TriggerSpec};
use crate::schedule::Timing;
use crate::{Interval, Millis, PipelineName, Timestamp, TriggerName};

const TASKS: &str = "tasks: {a: {noop: true}}\n";

/// A document with these lines, from line 1 on, and a task.
fn with(lines: &str) -> String {
    format!("{lines}\npipeline: p\n{TASKS}")
}

#[track_caller]
fn accepted(lines: &str) -> Pipeline {
    let document = good(&with(lines));
    assert_eq!(document.warnings, [], "{lines}");
    schema::accepts(&with(lines));
    let back = Pipeline::from_blob(&document.pipeline.to_blob()).unwrap();
    assert_eq!(back, document.pipeline, "{lines}");
    assert_eq!(back.digest(), document.pipeline.digest());
    document.pipeline
}

#[track_caller]
fn scheduled(lines: &str) -> ScheduleSpec {
    accepted(lines).schedule.unwrap()
}

#[track_caller]
fn trigger(item: &str) -> TriggerSpec {
    accepted(&format!("triggers: [{item}]")).triggers.remove(0)
}

/// One error in an item of `triggers`, which begins at line 1, column 12.
#[track_caller]
fn refused_trigger(item: &str, place: &str, message: &str, hint: &str) {
    refused_at_top(&format!("triggers: [{item}]"), place, message, hint);
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn names(names: &[&str]) -> Vec<PipelineName> {
    names.iter().map(|name| PipelineName::parse(name).unwrap()).collect()
}

#[test]
fn a_text_is_cron_and_the_rest_is_as_if_written() {
    let short = scheduled("schedule: 0 2 * * *\ntimezone: Europe/Paris");
    let long = "{cron: [\"0 2 * * *\"], catchup: latest, overlap: queue, grace: 5m, delay: 0s, max_queued: 100}";
    assert_eq!(short, scheduled(&format!("timezone: Europe/Paris\nschedule: {long}")));
    assert_eq!((short.catchup, short.overlap, short.grace, short.max_queued), (Catchup::Latest, Overlap::Queue, Millis(300_000), 100));
    let interval = Interval::new(at("2024-01-30T01:00:00Z"), at("2024-01-31T01:00:00Z"));
    assert_eq!(short.times.interval_at(at("2024-01-31T00:00:00Z")), interval, "of the zone's clock");
    let pipeline = accepted("schedule: \"@daily\"\ntimezone: Europe/Paris");
    assert_eq!(pipeline.timezone.as_deref(), Some("Europe/Paris"));
    assert_eq!(pipeline.schedule.unwrap().times.definition().timezone.to_string(), "Europe/Paris");
    assert_eq!(scheduled("schedule: \"@daily\"").times.definition().timezone.to_string(), "UTC");
}

#[test]
fn a_schedule_says_all_it_can() {
    let spec = scheduled(
        "schedule: {cron: [0 2 * * *, 30 14 * * 1-5], catchup: all, overlap: cancel_running, grace: 1h, delay: 30m, max_queued: 10000}",
    );
    let Timing::Cron(list) = &spec.times.definition().timing else { panic!("{spec:?}") };
    assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0 2 * * *", "30 14 * * 1-5"]);
    assert_eq!(
        (spec.catchup, spec.overlap, spec.grace, spec.max_queued),
        (Catchup::All, Overlap::CancelRunning, Millis(3_600_000), 10_000)
    );
    assert_eq!(spec.times.starts(at("2024-01-31T02:00:00Z")), at("2024-01-31T02:30:00Z"));
    let spec = scheduled("schedule: {every: 15m, catchup: none, overlap: skip}");
    assert_eq!((spec.catchup, spec.overlap), (Catchup::None, Overlap::Skip));
    assert_eq!(spec.times.next_after(at("2024-01-31T02:00:00Z")), Some(at("2024-01-31T02:15:00Z")));
}

#[test]
fn what_is_wrong_with_cron_has_its_column_within_the_text() {
    refused_at_top("schedule: \"0 25 * * *\"", "1:14", "hour", "0-23");
    refused_at_top("schedule: '0 2 * * 1-8'", "1:22", "day of week", "0-7");
    refused_at_top("schedule: 0 25 * * *", "1:13", "hour", "0-23");
    refused_at_top("schedule: {cron: \"0 2 31 2 *\"}", "1:23", "never fires", "February");
    refused_at_top("schedule: {cron: [0 2 * * *, \"0 2 * * MOO\"]}", "1:39", "day of week", "");
    refused_at_top("schedule:\n  cron:\n    - \"  0 2 L * *\"", "3:14", "day of month", "`0 0 1 * *`");
    refused_at_top("schedule: \"0 2 * *\"", "1:12", "has 4 fields", "add day of week");
    refused_at_top("schedule: \"0 0 2 * * *\"", "1:12", "has 6 fields", "`0 2 * * *`");
    refused_at_top("schedule: \"@reboot\"", "1:12", "@reboot", "outlives");
    refused_at_top("schedule: \"\"", "1:12", "is empty", "0 2 * * *");
    // Two characters of three bytes each are two columns.
    refused_at_top("schedule: \"0 2 * * é€x\"", "1:20", "day of week", "");
    // A star that begins a text is YAML's.
    let list = bad(&with("schedule: */15 * * * *"));
    assert!(list.iter().all(|d| d.hint.contains("in quotes: \"*/15 * * * *\"")), "{list:#?}");
    refused_at_top("schedule: * * * * *", "1:11", "not valid YAML", "in quotes: \"*/15 * * * *\"");
    let wrong: Vec<_> = bad(&with("schedule: {cron: [\"60 * * * *\", \"* 24 * * *\"]}")).iter().map(|d| d.at.column).collect();
    assert_eq!(wrong, [20, 36], "all at once");
}

#[test]
fn where_a_text_is_not_as_it_is_written_it_has_one_place() {
    for (text, place) in [
        ("schedule: \"0\\x2025 * * *\"", "1:11"),
        ("schedule: \"0 25 *\n  * *\"", "1:11"),
        ("schedule: >-\n  0 25 * * *", "2:3"),
        ("owner: &o 0 25 * * *\nschedule: *o", "2:11"),
        ("schedule: &o 0 25 * * *\nowner: *o", "1:14"),
    ] {
        refused_at_top(text, place, "hour", "0-23");
    }
}

#[test]
fn day_fields_that_surprise_are_warned_of_at_their_column() {
    warned(&with("schedule: \"0 2 1 * 1\""), "1:16", "either of them is enough", "write *");
    warned(&with("schedule: {cron: 0 2 1 * 1}"), "1:22", "either of them is enough", "write *");
}

#[test]
fn a_schedule_has_one_of_cron_and_every() {
    refused_at_top("schedule: {cron: 0 2 * * *, every: 15m}", "1:29", "both `cron` and `every`", "a list");
    refused_at_top("schedule: {catchup: all}", "1:11", "says not when", "every: 15m");
    refused_at_top("schedule: {}", "1:11", "says not when", "cron");
    refused_at_top("schedule:", "1:1", "`schedule` is empty", "{every: 15m}");
    refused_at_top("schedule: 15m", "1:11", "is not a cron expression", "{every: 15m}");
    refused_at_top("schedule: [0 2 * * *]", "1:11", "found a list", "{cron: [");
    refused_at_top("schedule: {cron: []}", "1:18", "empty list", "0 14 * * *");
    refused_at_top("schedule: {cron: {at: 1}}", "1:18", "must be text, found a mapping", "");
    refused_at_top("schedule: {cron: [0 2 * * *, 0 2 * * *]}", "1:30", "\"0 2 * * *\" twice", "remove");
    refused_at_top(
        &format!("schedule: {{cron: [{}]}}", (0..101).map(|n| format!("{} {} * * *", n % 60, n / 60)).collect::<Vec<_>>().join(", ")),
        "1:18",
        "has 101 expressions",
        "at most 100",
    );
}

#[test]
fn the_rest_of_a_schedule_is_checked() {
    let refused = |rest: &str, place: &str, message: &str, hint: &str| {
        refused_at_top(&format!("schedule: {{every: 1h, {rest}}}"), place, message, hint);
    };
    refused("catchup: true", "1:32", "must be one of all, latest, none, found the boolean true", "write all");
    refused("catchup: false", "1:32", "found the boolean false", "write latest");
    refused("catchup: al", "1:32", "must be one of", "did you mean `all`?");
    refused("overlap: cancel", "1:32", "must be one of cancel_running, queue, skip", "cancel_running");
    refused("grace: 0s", "1:30", "too short", "1s");
    refused("grace: 5", "1:30", "is not a duration", "5s");
    refused("max_queued: 0", "1:35", "out of range", "from 1 to 10000");
    refused("max_queued: 10001", "1:35", "out of range", "from 1 to 10000");
    refused("delay: 4000d", "1:30", "out of range", "3650d");
    refused("timezone: UTC", "1:23", "unknown key `timezone`", "document's top level");
    refused("start_date: 2024-01-01", "1:23", "unknown key `start_date`", "document's top level");
    refused("interval: 5m", "1:23", "unknown key `interval`", "did you mean `every`?");
    refused("catch-up: all", "1:23", "unknown key `catch-up`", "did you mean `catchup`?");
    refused("concurrencyPolicy: Forbid", "1:23", "unknown key `concurrencyPolicy`", "did you mean `overlap`?");
    refused_at_top("schedule: {every: 500ms}", "1:19", "out of range", "1s");
    refused_at_top("schedule: {every: 0s}", "1:19", "longer than 0", "15m");
    refused_at_top("schedule: {every: 900}", "1:19", "is not a duration", "900s");
}

#[test]
fn dates_are_of_the_zone_wherever_it_is_written() {
    let times = |lines: &str| {
        let times = scheduled(lines).times;
        (times.definition().start, times.definition().end)
    };
    assert_eq!(
        times("start_date: 2024-01-01\nend_date: 2024-01-31\nschedule: 0 2 * * *\ntimezone: Europe/Paris"),
        (Some(at("2023-12-31T23:00:00Z")), Some(at("2024-01-31T22:59:59.999Z")))
    );
    assert_eq!(
        times("start_date: \"2024-01-01T02:00\"\nend_date: 2024-02-01T00:00Z\nschedule: 0 2 * * *\ntimezone: Europe/Paris"),
        (Some(at("2024-01-01T01:00:00Z")), Some(at("2024-02-01T00:00:00Z")))
    );
    assert_eq!(times("schedule: {every: 1d}\nstart_date: 2024-01-01"), (Some(at("2024-01-01T00:00:00Z")), None));
}

#[test]
fn dates_are_checked() {
    let refused = |line: &str, place: &str, message: &str, hint: &str| {
        refused_at_top(&format!("schedule: {{every: 1d}}\n{line}"), place, message, hint);
    };
    refused("start_date: 2024-02-30", "2:13", "there is no day", "2024-01-31");
    refused("start_date: \"2024-01-31T25:00\"", "2:25", "no time of day", "23:59");
    refused("start_date: 2024/01/31", "2:17", "is not a date", "2024-01-31");
    refused("start_date: 2024", "2:17", "is not a date or time: the end", "2024-01-31");
    refused("start_date: [2024]", "2:13", "must be a date or a time, found a list", "2024-01-31");
    refused("end_date:", "2:1", "`end_date` is empty", "");
    refused("start_date: 2024-02-01\nend_date: 2024-01-01", "3:11", "`end_date` is before `start_date`", "later");
    refused_at_top("schedule: 0 2 1 * *\nstart_date: 2024-01-02\nend_date: 2024-01-31", "3:11", "never fires", "1970-2100");
    refused_at_top("start_date: 2024-01-01", "1:13", "`start_date` without a `schedule`", "add `schedule`");
    refused_at_top("end_date: 2024-01-01", "1:11", "`end_date` without a `schedule`", "add `schedule`");
    let all = bad(&with("schedule: 0 25 * * *\nstart_date: x\nend_date: 2024-13-01\ntimezone: Paris"));
    let places: Vec<_> = all.iter().map(|d| (d.at.line, d.at.column)).collect();
    assert_eq!(places, [(1, 13), (2, 13), (3, 11), (4, 11)], "all at once: {all:#?}");
    refused_at_top("start_date: 2024-01-01\nschedule: {every: 1d}\ntimezone: Europe/Pari", "3:11", "`timezone` is not", "Europe/Paris");
}

#[test]
fn what_depends_on_the_past_is_warned_of_what_stops_it() {
    assert!(accepted("schedule: {every: 1d, catchup: all}\ndepends_on_past: true").depends_on_past);
    assert!(!accepted("schedule: {every: 1d}\ndepends_on_past: false").depends_on_past);
    let document: Document = warned(&with("depends_on_past: true"), "1:18", "without a `schedule`", "backfills");
    assert!(document.pipeline.depends_on_past);
    warned(&with("schedule: {every: 1d}\ndepends_on_past: true"), "2:18", "with catchup: latest, an interval that is skipped", "all");
    warned(&with("schedule: {every: 1d, catchup: none}\ndepends_on_past: true"), "2:18", "with catchup: none", "penstock backfill");
    warned(&with("schedule: {every: 1d, catchup: all, overlap: skip}\ndepends_on_past: true"), "2:18", "overlap: skip", "queue");
    refused_at_top("depends_on_past: yes", "1:18", "must be true or false", "write true");
    refused_at_top("schedule: {every: 1d, catchup: al}\ndepends_on_past: true", "1:32", "must be one of", "`all`");
}

#[test]
fn triggers_wait_for_files_pipelines_and_events() {
    let file = |path: &str, settle, every, existing| TriggerSource::File {
        path: path.to_owned(),
        settle: Millis(settle),
        every: Millis(every),
        existing,
    };
    let long = trigger("{name: landed, file: {path: \"/mnt/landing/*.csv\", settle: 30s, every: 1s, existing: true}, debounce: 30s}");
    assert_eq!(long.source, file("/mnt/landing/*.csv", 30_000, 1_000, true));
    assert_eq!((long.name, long.debounce), (TriggerName::parse("landed").unwrap(), Millis(30_000)));
    assert_eq!(trigger("{name: a, file: /mnt/x/*.csv}").source, file("/mnt/x/*.csv", 10_000, 10_000, false));
    assert_eq!(trigger("{name: a, file: {path: /x, settle: 0s}}").source, file("/x", 0, 10_000, false));
    for url in ["s3://bucket/prefix/*.csv", "gs://my.bucket/a/[0-9]?.csv", "az://container/x", "file:///mnt/landing/*"] {
        assert_eq!(trigger(&format!("{{name: a, file: \"{url}\"}}")).source, file(url, 10_000, 10_000, false));
    }
    let of = |list: &[&str], when| TriggerSource::Pipelines { names: names(list), when };
    assert_eq!(trigger("{name: a, pipeline: crm_sync}").source, of(&["crm_sync"], Ending::Success));
    assert_eq!(trigger("{name: a, pipeline: {name: crm/sync, when: any}}").source, of(&["crm/sync"], Ending::Any));
    let both = trigger("{name: a, pipelines: {names: [b, a], when: failure}}").source;
    assert_eq!(both, of(&["a", "b"], Ending::Failure), "their order says nothing");
    assert_eq!(trigger("{name: a, pipelines: [a, b]}").source, of(&["a", "b"], Ending::Success));
    assert_eq!(trigger("{name: a, event: claims.ready}").source, TriggerSource::Event("claims.ready".to_owned()));
}

#[test]
fn a_trigger_has_a_name_and_waits_for_one_thing() {
    refused_trigger("{event: a}", "1:12", "`triggers` has no `name`", "add `name:`");
    refused_trigger("{name: a}", "1:12", "trigger `a` says not what it waits for", "pipelines");
    refused_trigger("{name: a, event: b, file: /c}", "1:32", "second thing to wait for, `file`", "keep this or `event`");
    refused_trigger("{name: schedule, event: b}", "1:19", "is the schedule's own", "another name");
    refused_trigger("{name: A-b, event: b}", "1:19", "not a valid trigger name", "for instance a_b");
    refused_trigger("{name: a, event: b}, {name: a, event: c}", "1:40", "there is a trigger `a` already", "another");
    refused_trigger("landed", "1:12", "must be a mapping, found the text", "{name: NAME, file: PATH}");
    refused_trigger("{name: a, event: b, when: any}", "1:32", "unknown key `when`", "");
    refused_trigger("{name: a, cron: 0 2 * * *, event: b}", "1:22", "unknown key `cron`", "belongs in `schedule`");
    refused_trigger("{name: a, webhook: b, event: c}", "1:22", "unknown key `webhook`", "did you mean `event`?");
    refused_trigger("{name: a, event: b, debounce: 5}", "1:42", "is not a duration", "5s");
    refused_at_top("triggers: {a: {event: b}}", "1:11", "must be a list, found a mapping", "[{name: landed");
    refused_at_top("triggers: []", "1:11", "empty list", "{name: landed");
    let many = |n: usize| (0..n).map(|i| format!("{{name: t{i}, event: e{i}}}")).collect::<Vec<_>>().join(", ");
    assert_eq!(accepted(&format!("triggers: [{}]", many(100))).triggers.len(), 100);
    let list = bad(&with(&format!("triggers: [{}]", many(101))));
    assert!(list.len() == 1 && list[0].message.contains("has 101 items; at most 100"), "{list:?}");
    let start = std::time::Instant::now();
    assert_eq!(bad(&with(&format!("triggers: [{}]", many(100_000)))).len(), 1);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    let text = with("triggers: [{name: a, event: x}, {name: b, event: x}]");
    warned(&text, "1:43", "the trigger `a` waits for the same event: each starts a run", "remove one");
}

#[test]
fn paths_lead_where_they_say() {
    let refused = |path: &str, message: &str, hint: &str| {
        refused_trigger(&format!("{{name: a, file: \"{path}\"}}"), "1:28", message, hint);
    };
    refused("landing/*.csv", "is not an absolute path", "/mnt/landing/*.csv");
    refused("~/landing/*.csv", "is not an absolute path", "absolute");
    refused("C:/landing/*.csv", "is not an absolute path", "absolute");
    refused("", "is an empty path", "absolute");
    refused("/mnt/../etc/*", "`.` or `..`", "comes to");
    refused("/mnt/./x", "`.` or `..`", "comes to");
    refused("s3://bucket/../other/x", "`.` or `..`", "comes to");
    refused("file:///a/..", "`.` or `..`", "comes to");
    refused("/mnt/landing/", "is a folder", "*.csv");
    refused("/", "is a folder", "*.csv");
    refused("s3://bucket", "is a folder", "*.csv");
    refused("s3:///x", "names no bucket", "s3://bucket/");
    refused("s3://*/x", "a bucket that is no name", "behind it");
    refused("s3://key:secret@bucket/x", "credentials", "configuration");
    refused("file://host/x", "names a machine", "file:///");
    refused("https://example.com/x", "is not known", "webhook");
    refused("abfs://container/x", "is not known", "did you mean `az://`?");
    refused("S3://bucket/x", "is not known", "s3://");
    refused("/mnt/**/x.csv", "has a `**`", "each level");
    refused("/mnt/[a-z.csv", "not closed", "[[]");
    refused("/mnt/{{ event.x }}", "must not contain a template", "`*`");
    refused("/mnt/a\\nb", "must be one line", "line break");
    refused(&format!("/{}", "x".repeat(4_096)), "is too long", "4096");
    refused_trigger("{name: a, file: {settle: 5s}}", "1:28", "has no `path`", "add `path:`");
    refused_trigger("{name: a, file: {path: /x, every: 100ms}}", "1:46", "too short", "1s");
    refused_trigger("{name: a, file: {path: /x, existing: yes}}", "1:49", "must be true or false", "write true");
    refused_trigger("{name: a, file: {glob: /x, path: /y}}", "1:29", "unknown key `glob`", "did you mean `path`?");
}

#[test]
fn pipelines_and_events_are_names() {
    refused_trigger("{name: a, pipeline: p}", "1:22", "the pipeline `p` waits for itself", "schedule");
    refused_trigger("{name: a, pipelines: [b, default/p]}", "1:22", "the pipeline `p` waits for itself", "another pipeline");
    refused_trigger("{name: a, pipeline: [b, c]}", "1:32", "found a list", "`pipelines: [a, b]`");
    refused_trigger("{name: a, pipelines: b}", "1:33", "a list of names", "`pipeline: a`");
    refused_trigger("{name: a, pipelines: [b, b]}", "1:37", "`b` twice", "remove");
    refused_trigger("{name: a, pipelines: {when: any}}", "1:33", "has no `names`", "add `names:`");
    refused_trigger("{name: a, pipelines: {names: []}}", "1:41", "empty list", "crm_sync");
    refused_trigger("{name: a, pipeline: {name: b, when: failed}}", "1:48", "must be one of any, failure, success", "");
    refused_trigger("{name: a, pipeline: B}", "1:32", "not a valid pipeline name", "for instance b");
    refused_trigger("{name: a, event: Claims ready}", "1:29", "\"Claims ready\" is not a valid event name", "lower-case");
    refused_trigger("{name: a, event: {name: b}}", "1:29", "must be a name, found a mapping", "`params`");
    let many: Vec<_> = (0..101).map(|i| format!("u{i}")).collect();
    refused_trigger(&format!("{{name: a, pipelines: [{}]}}", many.join(", ")), "1:33", "has 101 names", "at most 100");
}

#[test]
fn what_a_trigger_gives_are_templates_of_its_event() {
    let params = "params: {day: {type: string}, n: {type: int, default: 1}, f: {type: bool, default: false}}\n";
    let text = |given: &str| format!("{params}triggers: [{{name: a, event: b, params: {given}}}]");
    let given = accepted(&text("{day: \"{{ event.day | upper }}\", n: 5, f: true}")).triggers.remove(0).params;
    assert_eq!(json!(given), json!({"day": "{{ event.day | upper }}", "n": "5", "f": "true"}));
    accepted(&text("{day: \"{% for x in event.list %}{{ x }}{{ range(2) }}{% endfor %}\"}"));
    let refused = |given: &str, place: &str, message: &str, hint: &str| refused_at_top(&text(given), place, message, hint);
    refused("{day: \"{{ params.n }}\"}", "2:46", "unknown name `params` in a template of a trigger", "there is no run yet");
    refused("{day: \"{{ interval.date }}\"}", "2:46", "unknown name `interval`", "`event`");
    refused("{day: \"{{ evnt.day }}\"}", "2:46", "unknown name `evnt`", "did you mean `event`?");
    refused("{day: \"{{ event.day\"}", "2:46", "this is not a valid template", "");
    refused("{day: x, m: 5}", "2:49", "there is no parameter `m`", "day, f, n");
    refused("{day: x, n: five}", "2:52", "`n` does not take this: \"five\" is not of type int", "{{ event.KEY }}");
    refused("{day: x, f: [true]}", "2:52", "parameter `f` must be text, found a list", "");
    refused("{}", "2:40", "`params` is empty", "leave");
}

#[test]
fn somebody_gives_each_parameter() {
    let params = "params: {day: {type: string}, region: {type: string}, n: {type: int, default: 1}}\n";
    let places = |line: &str| -> Vec<String> {
        let shown = |d: &crate::pipeline::Diagnostic| format!("{}:{} {}", d.at.line, d.at.column, d.message);
        bad(&with(&format!("{params}{line}"))).iter().map(shown).collect()
    };
    assert_eq!(
        places("schedule: {every: 1d}"),
        [
            "2:11 the parameter `day` has no default, and the schedule gives none",
            "2:11 the parameter `region` has no default, and the schedule gives none"
        ]
    );
    for source in ["file: /x", "pipeline: q", "pipelines: [q, r]", "event: e"] {
        let found = places(&format!("triggers: [{{name: a, params: {{day: x}}, {source}}}]"));
        assert_eq!(found, ["2:40 the parameter `region` has no default, and the trigger `a` gives none"], "{source}");
        accepted(&format!("{params}triggers: [{{name: a, params: {{day: x, region: \"{{{{ event.r }}}}\"}}, {source}}}]"));
    }
    for source in ["file: /x", "pipeline: q", "pipelines: [q, r]"] {
        assert_eq!(places(&format!("triggers: [{{name: a, {source}}}]")).len(), 2, "{source}");
    }
    accepted(&format!("{params}triggers: [{{name: a, event: e}}]"));
    accepted("params: {day: {type: string, default: x}}\nschedule: {every: 1d}");
    // What is said of a parameter is said once.
    refused_at_top("params: {day: {type: strin}}\nschedule: {every: 1d}", "1:22", "must be one of", "`string`");
}

#[test]
fn runs_that_events_start_have_no_interval() {
    let text = |starts: &str| {
        format!(
            "pipeline: p\n{starts}\nenv: {{DAY: \"{{{{ interval.date }}}}\"}}\ntasks:\n  a: {{run: [x, \"{{{{ interval.start }}}}\", \"{{{{ run.id }}}}\"]}}\n  b: {{noop: true, if: interval}}\n"
        )
    };
    for starts in ["triggers: [{name: a, event: b}]", "triggers: [{name: a, event: b}, {name: c, file: /d}]"] {
        let list = bad(&text(starts));
        let places: Vec<_> = list.iter().map(|d| (d.at.line, d.at.column)).collect();
        assert_eq!(places, [(3, 12), (5, 16), (6, 23)], "{list:?}");
        assert!(list.iter().all(|d| d.message.contains("only events start this pipeline")), "{list:?}");
    }
    for starts in [
        "owner: me",
        "schedule: {every: 1d}",
        "triggers: [{name: a, pipeline: b}]",
        "triggers: [{name: a, event: b}, {name: c, pipelines: [d, e]}]",
        "schedule: {every: 1d}\ntriggers: [{name: a, event: b}]",
    ] {
        good(&text(starts));
    }
    good("pipeline: p\ntriggers: [{name: a, event: b}]\ntasks: {a: {run: [x, \"{{ previous.interval.end }}\"]}}\n");
    assert_eq!(bad(&text("triggers: [{name: a}]")).len(), 1, "what is not clear is told of once");
}

#[test]
fn words_of_other_tools_are_known() {
    for (theirs, ours) in [
        ("schedule_interval", "did you mean `schedule`?"),
        ("timetable", "did you mean `schedule`?"),
        ("cron", "belongs in `schedule`"),
        ("every", "belongs in `schedule`"),
        ("catchup", "belongs in `schedule`"),
        ("catch_up", "belongs in `schedule`, as `catchup`"),
        ("startingDeadlineSeconds", "belongs in `schedule`, as `grace`"),
        ("overlap", "belongs in `schedule`"),
        ("start_at", "did you mean `start_date`?"),
        ("end_time", "did you mean `end_date`?"),
        ("sensors", "did you mean `triggers`?"),
        ("on", "did you mean `triggers`?"),
        ("event", "belongs in an item of `triggers`"),
        ("file", "belongs in an item of `triggers`"),
        ("dependsOnPast", "did you mean `depends_on_past`?"),
    ] {
        refused_at_top(&format!("{theirs}: x"), "1:1", &format!("unknown key `{theirs}`"), ours);
    }
    super::refused_in_task("schedule: 0 2 * * *", "4:5", "unknown key `schedule`", "the document's top level");
    super::refused_in_task("every: 5m", "4:5", "unknown key `every`", "belongs in `wait`");
    super::refused_in_task("wait: {path: /x, file: /y}", "4:12", "unknown key `path`", "");
    refused("pipeline: p\ntasks: {a: {noop: true}}\nretries: 2\n", "3:1", "unknown key `retries`", "`defaults`");
}

#[test]
fn documents_that_say_nothing_of_time_keep_their_digests() {
    let pipeline = good(FULL).pipeline;
    let blob = String::from_utf8(pipeline.to_blob()).unwrap();
    for key in ["schedule", "triggers", "depends_on_past"] {
        assert!(!blob.contains(&format!("\"{key}\":")), "{key}");
    }
    // What a release has registered must stay the version it is.
    assert_eq!(pipeline.digest().to_string(), "c36f6ebbd2c2934e7f83b3785d59b77e3dd5b24f935e777c0c29f74df0ee8f64");
}

#[test]
fn what_is_left_out_is_read_back_with_its_default() {
    let pipeline = good(EVERYTHING).pipeline;
    let mut blob: serde_json::Value = serde_json::from_slice(&pipeline.to_blob()).unwrap();
    let schedule = blob["schedule"].as_object_mut().unwrap();
    for key in ["catchup", "overlap", "grace", "max_queued"] {
        assert!(schedule.remove(key).is_some(), "{key}");
    }
    let spec = Pipeline::from_blob(&serde_json::to_vec(&blob).unwrap()).unwrap().schedule.unwrap();
    assert_eq!((spec.catchup, spec.overlap, spec.grace, spec.max_queued), (Catchup::Latest, Overlap::Queue, Millis(300_000), 100));
    assert_eq!(spec.times, pipeline.schedule.unwrap().times);
}

#[test]
fn the_examples_of_the_reference_are_in_order() {
    let page = include_str!("../../../../../docs/pipelines.md");
    let examples: Vec<_> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        assert_eq!(good(example).warnings, [], "{example}");
        schema::accepts(example);
    }
}
