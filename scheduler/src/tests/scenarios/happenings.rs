//! What starts runs besides schedules and people: events, files, the ends of other pipelines' runs.

use std::collections::BTreeMap;

use penstock_common::limits::{MAX_QUEUED_RUNS_PER_PIPELINE, MAX_TRIGGER_DEPTH};
use penstock_common::pipeline::{Ending, Param, ParamType, Pipeline, Task, TriggerSource, TriggerSpec};
use penstock_common::record::TriggerKind;
use penstock_common::{Digest, Millis, PipelineName, Timestamp};

use super::super::model::{Outcome, below, p, s};
use super::super::people::{day, submit};
use super::super::world::World;
use super::schedules::{HOUR, every, name, scheduled};
use crate::calendar::Hook;
use crate::input::Submit;
use crate::{Answer, BackfillAsked, Emitted, FoundFile, Input, Rejection, Reprocess};

fn trigger(source: TriggerSource) -> TriggerSpec {
    TriggerSpec { name: "t".parse().unwrap(), source, params: BTreeMap::new(), debounce: Millis(0) }
}

/// Pipeline `p` of one task `a`.
fn triggered(trigger: TriggerSpec) -> Pipeline {
    Pipeline { triggers: vec![trigger], ..p([("a", below(&[]))]) }
}

fn on_event() -> TriggerSource {
    TriggerSource::Event("ready".to_owned())
}

fn on_file(existing: bool) -> TriggerSource {
    TriggerSource::File { path: "/in/*.csv".to_owned(), settle: s(10), every: s(10), existing }
}

fn after(names: &[&str], when: Ending) -> TriggerSource {
    TriggerSource::Pipelines { names: names.iter().map(|name| PipelineName::parse(name).unwrap()).collect(), when }
}

fn text_param() -> Param {
    Param { kind: ParamType::String, default: Some("none".into()), values: Vec::new(), description: String::new() }
}

fn emit(w: &mut World, id: &str, payload: &str) -> Result<Answer, Rejection> {
    let digest = payload.len() as u64;
    w.feed(Input::EmitEvent(Emitted {
        request: id.parse().unwrap(),
        name: "ready".into(),
        payload: payload.into(),
        by: "me".into(),
        digest,
    }))
}

fn found(w: &mut World, files: &[(&str, &str)]) -> Result<Answer, Rejection> {
    found_by(w, "t", files)
}

fn found_by(w: &mut World, trigger: &str, files: &[(&str, &str)]) -> Result<Answer, Rejection> {
    let file =
        |(path, version): &(&str, &str)| FoundFile { path: (*path).into(), version: (*version).into(), size: 1, modified: Timestamp(0) };
    let found = files.iter().map(file).collect();
    w.feed(Input::FilesFound { pipeline: name(), trigger: trigger.parse().unwrap(), found, gone: Vec::new(), partial: false })
}

/// Every run of `p` by its trigger: kind, source and parameters.
fn runs(w: &World) -> Vec<(TriggerKind, String, String)> {
    let all = w.checker.runs.values().filter(|run| run.plan.pipeline.name == name()).filter_map(|run| w.leader.run(&run.id));
    all.map(|run| (run.trigger.kind, run.trigger.source.to_string(), run.params.to_string())).collect()
}

fn dead(w: &World) -> Vec<String> {
    w.leader.state().inbox.dead.iter().map(|dead| dead.why.to_string()).collect()
}

#[test]
fn an_event_starts_one_run_however_often_it_is_sent() {
    let mut pipeline = triggered(trigger(on_event()));
    pipeline.params = [("region".to_owned(), text_param())].into();
    let mut w = World::with(pipeline, 9);
    assert_eq!(emit(&mut w, "e1", r#"{"region": "eu", "other": 1}"#), Ok(Answer::Event(1)));
    assert_eq!(emit(&mut w, "e1", r#"{"region": "eu", "other": 1}"#), Ok(Answer::Event(1)));
    assert!(matches!(emit(&mut w, "e1", "{}"), Err(Rejection::RequestReused(_))));
    assert_eq!(runs(&w), [(TriggerKind::Event, "e1".to_owned(), r#"{"region":"eu"}"#.to_owned())]);
    w.fail_over();
    w.settle();
    assert_eq!(emit(&mut w, "e1", r#"{"region": "eu", "other": 1}"#), Ok(Answer::Event(1)));
    assert_eq!(runs(&w).len(), 1);
}

#[test]
fn what_no_trigger_takes_or_no_run_can_have_is_kept_as_dead() {
    let mut pipeline = triggered(trigger(on_event()));
    pipeline.params = [("n".to_owned(), Param { kind: ParamType::Int, default: Some(1.into()), ..text_param() })].into();
    let mut w = World::with(pipeline, 9);
    emit(&mut w, "bad", r#"{"n": "many"}"#).unwrap();
    w.pause_pipeline("p", true).unwrap();
    emit(&mut w, "paused", r#"{"n": 2}"#).unwrap();
    w.unregister("p").unwrap();
    emit(&mut w, "nobody", "{}").unwrap();
    assert_eq!(runs(&w).len(), 0);
    let dead = dead(&w);
    assert!(dead[0].contains("\"n\"") && dead[1].contains("paused") && dead[2].contains("no trigger"), "{dead:?}");
    assert!(w.leader.state().inbox.waiting.is_empty());
}

#[test]
fn a_trigger_makes_parameters_of_an_event() {
    let mut pipeline = triggered(TriggerSpec {
        params: [("path".to_owned(), "{{ event.path }}".to_owned()), ("size".to_owned(), "{{ event.size + 1 }}".to_owned())].into(),
        ..trigger(on_file(true))
    });
    pipeline.params =
        [("path".to_owned(), text_param()), ("size".to_owned(), Param { kind: ParamType::Int, default: Some(0.into()), ..text_param() })]
            .into();
    let mut w = World::with(pipeline, 9);
    found(&mut w, &[("/in/a; $(id).csv", "1")]).unwrap();
    assert_eq!(runs(&w)[0].2, r#"{"path":"/in/a; $(id).csv","size":2}"#);
}

#[test]
fn each_version_of_a_file_starts_one_run_and_what_was_there_before_none() {
    let mut w = World::with(triggered(trigger(on_file(false))), 99);
    found(&mut w, &[("/in/old.csv", "1")]).unwrap();
    assert_eq!(runs(&w).len(), 0);
    found(&mut w, &[("/in/old.csv", "1"), ("/in/new.csv", "1")]).unwrap();
    found(&mut w, &[("/in/old.csv", "1"), ("/in/new.csv", "1")]).unwrap();
    assert_eq!(runs(&w).iter().map(|run| run.1.as_str()).collect::<Vec<_>>(), ["/in/new.csv"]);
    w.fail_over();
    w.settle();
    found(&mut w, &[("/in/old.csv", "2"), ("/in/new.csv", "1")]).unwrap();
    assert_eq!(runs(&w).iter().map(|run| run.1.as_str()).collect::<Vec<_>>(), ["/in/new.csv", "/in/old.csv"]);
    let gone = vec!["/in/new.csv".into()];
    w.feed(Input::FilesFound { pipeline: name(), trigger: "t".parse().unwrap(), found: Vec::new(), gone, partial: false }).unwrap();
    found(&mut w, &[("/in/new.csv", "1")]).unwrap();
    assert_eq!(runs(&w).len(), 3, "it was gone, and came again");
}

#[test]
fn what_comes_in_quick_succession_is_gathered_for_one_run() {
    let mut pipeline = triggered(TriggerSpec {
        debounce: s(30),
        params: [("all".to_owned(), "{{ events | map(attribute='path') | join(' ') }}".to_owned())].into(),
        ..trigger(on_file(true))
    });
    pipeline.params = [("all".to_owned(), text_param())].into();
    let mut w = World::with(pipeline, 9);
    found(&mut w, &[("/in/a", "1"), ("/in/b", "1")]).unwrap();
    w.pass(s(20));
    found(&mut w, &[("/in/c", "1")]).unwrap();
    w.fail_over();
    w.pass(s(29));
    assert_eq!(runs(&w).len(), 0);
    w.pass(s(2));
    assert_eq!(runs(&w).iter().map(|run| run.2.as_str()).collect::<Vec<_>>(), [r#"{"all":"/in/a /in/b /in/c"}"#]);
    w.pass(s(100));
    assert_eq!(runs(&w).len(), 1);
}

#[test]
fn the_end_of_another_pipelines_run_starts_one_with_its_interval() {
    let mut w = World::with(triggered(trigger(after(&["up"], Ending::Success))), 9);
    w.register(Pipeline { name: "up".parse().unwrap(), ..p([("u", below(&[]))]) });
    w.submit_as(Submit { interval: Some(day(1)), ..submit("r1", "up") }).unwrap();
    w.end("u", &Outcome::Exit(1));
    assert_eq!(runs(&w).len(), 0, "it failed");
    w.rerun("r1", "again").unwrap();
    w.end("u", &Outcome::Success);
    assert_eq!(runs(&w).iter().map(|run| (run.0, run.1.as_str())).collect::<Vec<_>>(), [(TriggerKind::Dependency, "r1")]);
    let run = w.checker.runs.values().last().unwrap().id.clone();
    assert_eq!(w.leader.run(&run).unwrap().interval, Some(day(1)));
}

#[test]
fn joined_pipelines_start_one_when_all_have_run_for_the_interval() {
    let mut w = World::with(triggered(trigger(after(&["x", "y"], Ending::Success))), 9);
    for up in ["x", "y"] {
        w.register(Pipeline { name: up.parse().unwrap(), ..p([(up, below(&[]))]) });
    }
    w.submit_as(Submit { interval: Some(day(1)), ..submit("rx", "x") }).unwrap();
    w.submit_as(Submit { interval: Some(day(2)), ..submit("ry2", "y") }).unwrap();
    w.end("x", &Outcome::Success);
    w.end("y", &Outcome::Success);
    assert_eq!(runs(&w).len(), 0, "of different days");
    w.submit_as(Submit { interval: Some(day(1)), ..submit("ry1", "y") }).unwrap();
    w.end("y", &Outcome::Success);
    assert_eq!(runs(&w).len(), 1);
}

#[test]
fn with_a_schedule_of_its_own_it_waits_until_the_others_have_covered_its_interval() {
    let mut daily = scheduled(every(Millis(4 * HOUR.0)));
    daily.triggers = vec![trigger(after(&["hourly"], Ending::Success))];
    let mut w = World::with(daily, 99);
    w.register(Pipeline { name: "hourly".parse().unwrap(), schedule: Some(every(HOUR)), ..p([("h", below(&[]))]) });
    // The first interval ends at 00:00 and the hourly runs of 20:00 and 21:00 never were; the second ends at 04:00.
    w.pass(Millis(6 * HOUR.0));
    let started = |w: &World| {
        w.checker
            .runs
            .values()
            .filter(|r| r.plan.pipeline.name == name() && w.leader.run(&r.id).is_some_and(|run| run.started_at.is_some()))
            .count()
    };
    assert_eq!((runs(&w).len(), started(&w)), (2, 0));
    for _ in 0..5 {
        w.end("h", &Outcome::Success);
    }
    assert_eq!(started(&w), 0, "22:00 to 03:00");
    w.end("h", &Outcome::Success);
    assert_eq!(started(&w), 1, "00:00 to 04:00 is covered");
}

#[test]
fn a_backfill_starts_dependents_only_if_it_is_asked_to() {
    for cascade in [false, true] {
        let mut w = World::with(triggered(trigger(after(&["up"], Ending::Any))), 99);
        w.register(Pipeline { name: "up".parse().unwrap(), schedule: Some(every(HOUR)), ..p([("u", below(&[]))]) });
        let asked = BackfillAsked {
            id: "b".parse().unwrap(),
            pipeline: "up".parse().unwrap(),
            from: Timestamp(w.now - 3 * HOUR.0 as i64),
            until: Timestamp(w.now),
            every: None,
            reprocess: Reprocess::None,
            only: Vec::new(),
            params: serde_json::Map::new(),
            max_active: None,
            newest_first: false,
            cascade,
            shown: None,
            by: "me".into(),
            note: "".into(),
            digest: 1,
        };
        w.feed(Input::Backfill(Box::new(asked))).unwrap();
        while w.workers["w"].running.values().any(|lease| lease.task.to_string() == "u") {
            w.end("u", &Outcome::Success);
        }
        assert_eq!(runs(&w).len(), if cascade { 2 } else { 0 });
    }
}

#[test]
fn a_thousand_events_over_failovers_start_a_run_each_in_order() {
    let mut w = World::with(triggered(trigger(on_event())), 1);
    w.checker.deep = false;
    w.hold = 7;
    let mut accepted = 0;
    for n in 0..1_000 {
        emit(&mut w, &format!("e{n}"), "{}").unwrap();
        accepted += 1;
        if n % 97 == 0 {
            w.fail_over();
            // Who emits asks again where no answer came.
            for again in (n - 10).max(0)..=n {
                emit(&mut w, &format!("e{again}"), "{}").unwrap();
            }
        }
    }
    w.commit_all();
    w.settle();
    let sources: Vec<String> = runs(&w).into_iter().map(|run| run.1).collect();
    assert_eq!(sources.len(), accepted);
    let mut expected: Vec<String> = (0..1_000).map(|n| format!("e{n}")).collect();
    expected.sort();
    let mut sorted = sources.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
}

#[test]
fn what_is_there_at_the_first_look_is_noted_as_a_whole_however_many_parts_it_comes_in() {
    let mut w = World::with(triggered(trigger(on_file(false))), 9);
    let tell = |w: &mut World, paths: &[&str], partial: bool| {
        let file = |path: &&str| FoundFile { path: (*path).into(), version: "1".into(), size: 1, modified: Timestamp(0) };
        let found = paths.iter().map(file).collect();
        w.feed(Input::FilesFound { pipeline: name(), trigger: "t".parse().unwrap(), found, gone: Vec::new(), partial }).unwrap();
    };
    let seen = |w: &World| w.leader.file_triggers().iter().map(|t| (t.known, t.is_noting)).collect::<Vec<_>>();
    assert_eq!(seen(&w), [(None, false)]);
    tell(&mut w, &["/in/a.csv"], true);
    assert_eq!(seen(&w), [(Some(1), true)]);
    w.fail_over();
    w.settle();
    assert_eq!(seen(&w), [(Some(1), true)], "the next leader knows that more was to come");
    tell(&mut w, &["/in/a.csv", "/in/b.csv"], false);
    assert_eq!(seen(&w), [(Some(2), false)]);
    assert!(runs(&w).is_empty());
    tell(&mut w, &["/in/c.csv"], false);
    assert_eq!(runs(&w).len(), 1);
    assert_eq!(w.leader.known_files(&name(), &"t".parse().unwrap()).len(), 3);
}

#[test]
fn a_webhook_is_open_from_when_a_token_is_set_until_it_is_taken_away() {
    let mut w = World::with(triggered(trigger(on_event())), 9);
    let token = |w: &mut World, digest: Option<Digest>| {
        let trigger = "t".parse().unwrap();
        w.feed(Input::SetTriggerToken { pipeline: name(), trigger, digest, by: "me".into(), note: "".into() })
    };
    let hook = |w: &World| w.leader.hook(&name(), &"t".parse().unwrap());
    assert_eq!(hook(&w), None);
    let digest = Digest::of(b"secret");
    assert_eq!(token(&mut w, Some(digest)), Ok(Answer::Changed(true)));
    assert_eq!(token(&mut w, Some(digest)), Ok(Answer::Changed(false)));
    w.fail_over();
    w.settle();
    assert_eq!(hook(&w), Some(Hook { event: "ready".to_owned(), token: digest }));
    assert_eq!(token(&mut w, None), Ok(Answer::Changed(true)));
    assert_eq!(hook(&w), None);

    let mut w = World::with(triggered(trigger(on_file(true))), 9);
    let refused = token(&mut w, Some(digest)).unwrap_err().to_string();
    assert!(refused.contains("waits for no event"), "{refused}");
}

fn upstream(name: &str, triggers: Vec<TriggerSpec>) -> Pipeline {
    Pipeline { name: name.parse().unwrap(), triggers, ..p([("u", below(&[]))]) }
}

#[test]
fn pipelines_that_start_each_other_come_to_an_end() {
    let mut w = World::with(triggered(trigger(after(&["up"], Ending::Any))), 9);
    w.register(upstream("up", vec![trigger(after(&["p"], Ending::Any))]));
    w.submit_as(submit("first", "up")).unwrap();
    while let Some(lease) = w.workers["w"].running.values().next().cloned() {
        w.end(&lease.task.to_string(), &Outcome::Success);
    }
    assert_eq!(runs(&w).len(), MAX_TRIGGER_DEPTH as usize / 2);
    assert!(dead(&w).last().is_some_and(|why| why.contains("do these pipelines start each other?")), "{:?}", dead(&w));
}

#[test]
fn what_is_joined_is_joined_once() {
    let mut w = World::with(triggered(trigger(after(&["left", "right"], Ending::Any))), 9);
    for name in ["left", "right"] {
        let nowhere = Task { queue: "nowhere".parse().unwrap(), ..below(&[]) };
        w.register(Pipeline { name: name.parse().unwrap(), run_timeout: Some(s(10)), ..p([("u", nowhere)]) });
        w.submit_as(Submit { interval: Some(day(1)), ..submit(name, name) }).unwrap();
    }
    // Both end before either end is handled.
    w.pass(s(20));
    assert_eq!(runs(&w).len(), 1);
}

#[test]
fn a_pipeline_with_no_room_holds_its_own_events_in_order_and_no_others() {
    let mut pipeline = triggered(trigger(on_event()));
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 2);
    w.checker.deep = false;
    w.register(Pipeline { max_active_runs: Some(1_000_000), ..upstream("free", vec![trigger(TriggerSource::Event("other".to_owned()))]) });
    for n in 0..=MAX_QUEUED_RUNS_PER_PIPELINE {
        emit(&mut w, &format!("e{n}"), "{}").unwrap();
    }
    emit(&mut w, "late", "{}").unwrap();
    emit(&mut w, "later", "{}").unwrap();
    assert_eq!(w.leader.state().inbox.waiting.len(), 2);
    w.feed(Input::EmitEvent(Emitted {
        request: "o".parse().unwrap(),
        name: "other".into(),
        payload: "{}".into(),
        by: "me".into(),
        digest: 0,
    }))
    .unwrap();
    assert_eq!(w.leader.state().inbox.waiting.len(), 2, "what is for others goes on");
    w.end("a", &Outcome::Success);
    w.pass(s(6));
    assert_eq!((w.leader.state().inbox.waiting.len(), dead(&w).len()), (1, 0));
    w.fail_over();
    w.hello("w");
    w.settle();
    w.end("a", &Outcome::Success);
    w.pass(s(6));
    assert_eq!((w.leader.state().inbox.waiting.len(), dead(&w).len()), (0, 0));
    let queued = &w.leader.state().pipelines[&name()].queued;
    let newest = queued.last().and_then(|no| w.leader.state().runs.get(no)).map(|run| run.record.trigger.source.to_string());
    assert_eq!(newest.as_deref(), Some("later"));
}

#[test]
fn what_a_trigger_gathered_is_dead_when_it_is_gone_and_files_elsewhere_are_new() {
    let mut w = World::with(triggered(TriggerSpec { debounce: s(60), ..trigger(on_event()) }), 9);
    emit(&mut w, "e1", "{}").unwrap();
    emit(&mut w, "e2", "{}").unwrap();
    w.register(triggered(TriggerSpec { name: "files".parse().unwrap(), ..trigger(on_file(false)) }));
    assert_eq!(dead(&w), ["the pipeline was registered without this trigger"; 2]);
    let look = |w: &mut World, files: &[(&str, &str)]| found_by(w, "files", files).unwrap();
    look(&mut w, &[("/in/a.csv", "1")]);
    look(&mut w, &[("/in/a.csv", "1"), ("/in/b.csv", "1")]);
    assert_eq!(runs(&w).len(), 1, "the first look only notes");
    let TriggerSource::File { settle, every, existing, .. } = on_file(false) else { unreachable!() };
    let elsewhere = TriggerSource::File { path: "/out/*.csv".to_owned(), settle, every, existing };
    w.register(triggered(TriggerSpec { name: "files".parse().unwrap(), ..trigger(elsewhere) }));
    look(&mut w, &[("/out/c.csv", "1")]);
    assert_eq!(runs(&w).len(), 1, "what lay elsewhere before is not new");
    look(&mut w, &[("/out/c.csv", "1"), ("/out/d.csv", "1")]);
    assert_eq!(runs(&w).len(), 2);
    w.unregister("p").unwrap();
    w.fail_over();
    w.settle();
}
