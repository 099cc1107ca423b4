//! The bytes of every journal record stay what they are: what one version wrote, every later one reads.
//!
//! A new kind of event is a new row here and in `golden/format-2.txt`; a row that is there is never changed.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::Arc;

use penstock_common::event::{Cause, RunCreated, Saw, TaskEnded};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::record::{Audit, BackfillRecord, Ended, Happening, Parent, SkipReason, Trigger, TriggerKind, What};
use penstock_common::{
    BackfillId, Digest, Epoch, Event, EventNo, Fence, Interval, Millis, PipelineName, Reason, RunNo, State, Timestamp, TriggerName,
};
use penstock_proto::{decode_events, encode_events};

fn ended(state: State, reason: Option<Reason>) -> Box<Ended> {
    Box::new(Ended {
        state,
        reason,
        detail: Arc::from("why"),
        exit_code: Some(-1),
        started_at: Timestamp(11),
        ended_at: Timestamp(12),
        metrics: Metrics([("records_out".to_owned(), 1.5)].into()),
        outputs: Outputs([("path".to_owned(), "\"x\"".to_owned())].into()),
        items: Some(Digest::of(b"items")),
        worker_died: true,
    })
}

/// One of each kind, every field set.
fn one_of_each() -> Vec<(&'static str, Event)> {
    let (run, at) = (RunNo(7), Timestamp(1_706_666_400_123));
    let epoch = Epoch { incarnation: 1, revision: 300 };
    let created = RunCreated {
        run,
        id: "daily-2024-01-31".parse().unwrap(),
        pipeline: "crm/daily.etl".parse().unwrap(),
        version: 3,
        params: Arc::from("{\"region\":\"eu\"}"),
        trigger: Trigger { kind: TriggerKind::Manual, by: Arc::from("ada"), source: Arc::from(""), depth: 0 },
        interval: Interval::new(Timestamp(5), Timestamp(9)),
        run_timeout: Some(Millis(60_000)),
        parent: Some(Parent { run: RunNo(6), id: "above".parse().unwrap(), task: 2, depth: 1 }),
        not_selected: vec![(0, 2), (5, 6)],
        cause: None,
        request_digest: 0x0123_4567_89ab_cdef,
        at,
    };
    let audit = Audit { at, verb: "verb".into(), subject: "load[3]".into(), by: "ada".into(), note: "wrong day".into() };
    let task_ended = TaskEnded {
        run,
        task: 3,
        state: State::Failed,
        reason: Some(Reason::QueueTimeout),
        detail: "why".into(),
        outputs: Outputs([("run_id".to_owned(), "\"x\"".to_owned())].into()),
        audit: Some(audit.clone()),
        not_before: Some(Timestamp(13)),
        at,
    };
    vec![
        ("term_started", Event::TermStarted { epoch, node: "c1".parse().unwrap(), at }),
        (
            "pipeline_registered",
            Event::PipelineRegistered { pipeline: "p".parse().unwrap(), version: 2, digest: Digest::of(b"p"), dropped: vec![1], at },
        ),
        ("run_created", Event::RunCreated(Box::new(created.clone()))),
        ("run_started", Event::RunStarted { run, at }),
        (
            "attempt_leased",
            Event::AttemptLeased {
                run,
                task: 3,
                number: 2,
                fence: Fence(900),
                worker: "w1".parse().unwrap(),
                session: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
                at,
            },
        ),
        (
            "attempt_ended",
            Event::AttemptEnded { run, task: 3, fence: Fence(900), ended: ended(State::Failed, Some(Reason::Lost)), held: true },
        ),
        ("attempt_waiting", Event::AttemptWaiting { run, task: 3, fence: Fence(900), until: Timestamp(5), detail: "no file".into(), at }),
        ("task_waiting", Event::TaskWaiting { run, task: 3, child: Some("below".parse().unwrap()), at }),
        ("task_stopping", Event::TaskStopping { run, task: 3, reason: Reason::Timeout, detail: "too long".into(), at }),
        ("task_expanded", Event::TaskExpanded { run, task: 3, count: 100_000, at }),
        (
            "task_retrying",
            Event::TaskRetrying { run, task: 3, fence: Fence(900), ended: ended(State::Failed, Some(Reason::Lost)), not_before: at },
        ),
        ("task_ended", Event::TaskEnded(Box::new(task_ended))),
        ("tasks_skipped", Event::TasksSkipped { run, ranges: vec![(1, 3), (5, 6)], reason: Reason::UpstreamFailed, at }),
        ("tasks_cancelled", Event::TasksCancelled { run, reason: Reason::User, teardowns: true, at }),
        ("cancel_requested", Event::CancelRequested { run, reason: Reason::User, audit: audit.clone() }),
        ("run_paused", Event::RunPaused { run, paused: true, audit: audit.clone() }),
        ("run_reopened", Event::RunReopened { run, digest: Digest::of(b"run"), at }),
        ("pipeline_unregistered", Event::PipelineUnregistered { pipeline: "p".parse().unwrap(), audit: audit.clone() }),
        ("pipeline_paused", Event::PipelinePaused { pipeline: "p".parse().unwrap(), paused: true, audit: audit.clone() }),
        ("pool_set", Event::PoolSet { pool: "warehouse".parse().unwrap(), slots: Some(5), audit: audit.clone() }),
        ("pool_removed", Event::PoolSet { pool: "warehouse".parse().unwrap(), slots: None, audit: audit.clone() }),
        ("run_ended", Event::RunEnded { run, state: State::Failed, reason: Some(Reason::TaskFailed), at }),
        ("generation_opened", Event::GenerationOpened { run, generation: 2, ranges: vec![(0, 4)], audit: audit.clone() }),
        ("run_archived", Event::RunArchived { run, at }),
        ("worker_drained", Event::WorkerDrained { worker: "w1".parse().unwrap(), drained: true, by: "ada".into(), at }),
        ("request_answered", Event::RequestAnswered { request: "r1".parse().unwrap(), digest: 5, answer: "2".into(), at }),
        ("answers_forgotten", Event::AnswersForgotten { before: at, archived_before: Timestamp(3) }),
    ]
    .into_iter()
    .chain(of_time(&created, &audit))
    .collect()
}

/// Schedules, triggers and backfills.
fn of_time(created: &RunCreated, audit: &Audit) -> Vec<(&'static str, Event)> {
    let (at, audit) = (created.at, audit.clone());
    let (pipeline, trigger): (PipelineName, TriggerName) = ("p".parse().unwrap(), "landed".parse().unwrap());
    let (event, backfill): (EventNo, BackfillId) = (EventNo(12), "b1".parse().unwrap());
    let interval = |from, to| Interval::new(Timestamp(from), Timestamp(to)).unwrap();
    let caused = |kind, source: &str, cause| {
        let trigger = Trigger { kind, by: Arc::from("landed"), source: Arc::from(source), depth: 0 };
        Event::RunCreated(Box::new(RunCreated { trigger, cause: Some(cause), ..created.clone() }))
    };
    let happened = |what| Event::Happened { event, happening: Box::new(Happening { what, event: Arc::from("{}"), at }) };
    let record = BackfillRecord {
        id: backfill.clone(),
        pipeline: pipeline.clone(),
        intervals: vec![interval(86_400_000, 172_800_000), interval(0, 86_400_000)],
        only: vec![Arc::from("load+")],
        params: Arc::from("{}"),
        max_active: 4,
        request_digest: 0,
        created: audit.clone(),
        cascade: true,
        next: 2,
        ended: [(0, State::Success), (1, State::Failed)].into(),
        paused: Some(audit.clone()),
        cancelled: Some(audit.clone()),
        state: State::Running,
        ended_at: Some(at),
    };
    let (of, to) = (pipeline.clone(), trigger.clone());
    let saw = |saw| Event::TriggerSaw { event, pipeline: of.clone(), trigger: to.clone(), saw, at };
    vec![
        ("run_created_by_schedule", caused(TriggerKind::Schedule, "", Cause::Schedule)),
        ("run_created_by_event", caused(TriggerKind::Event, "e1", Cause::Event { event, trigger: trigger.clone() })),
        ("run_created_by_files", caused(TriggerKind::File, "/in/a.csv", Cause::Gathered(trigger.clone()))),
        ("run_created_by_backfill", caused(TriggerKind::Backfill, "b1", Cause::Backfill(backfill.clone()))),
        ("schedule_moved", Event::ScheduleMoved { pipeline: pipeline.clone(), to: Some(at), audit: audit.clone() }),
        ("schedule_removed", Event::ScheduleMoved { pipeline: pipeline.clone(), to: None, audit: audit.clone() }),
        (
            "trigger_paused",
            Event::TriggerPaused { pipeline: pipeline.clone(), trigger: trigger.clone(), paused: true, audit: audit.clone() },
        ),
        (
            "intervals_skipped",
            Event::IntervalsSkipped { pipeline: pipeline.clone(), interval: interval(5, 9), count: 4, reason: SkipReason::Catchup, at },
        ),
        ("event_emitted", happened(What::Emitted { name: "claims.ready".into(), id: "e1".into() })),
        (
            "run_ended_elsewhere",
            happened(What::Ended {
                pipeline: pipeline.clone(),
                run: "up.1".parse().unwrap(),
                state: State::Success,
                interval: Some(interval(5, 9)),
                depth: 0,
            }),
        ),
        (
            "file_found",
            happened(What::File { pipeline: pipeline.clone(), trigger: trigger.clone(), path: "/in/a.csv".into(), version: "12-5".into() }),
        ),
        ("trigger_gathers", saw(Saw::Gathers(at))),
        ("trigger_missed", saw(Saw::Missed("it is paused".into()))),
        ("event_handled", Event::EventHandled { event, dead: None }),
        ("event_dead", Event::EventHandled { event, dead: Some("nobody takes it".into()) }),
        ("gathered_missed", Event::GatheredMissed { pipeline: pipeline.clone(), trigger: trigger.clone(), why: "it is paused".into(), at }),
        (
            "run_ended_deep",
            happened(What::Ended {
                pipeline: pipeline.clone(),
                run: "up.1".parse().unwrap(),
                state: State::Success,
                interval: None,
                depth: 7,
            }),
        ),
        (
            "outputs_recalled",
            Event::OutputsRecalled { run: RunNo(7), task: 3, outputs: Outputs([("k".to_owned(), "1".to_owned())].into()), at },
        ),
        ("trigger_forgotten", Event::TriggerForgotten { pipeline: pipeline.clone(), trigger: trigger.clone(), whole: true, at }),
        (
            "files_seen",
            Event::FilesSeen {
                pipeline: pipeline.clone(),
                trigger: trigger.clone(),
                files: vec![("/in/a.csv".into(), Some("12-5".into())), ("/in/b.csv".into(), None)],
                partial: true,
            },
        ),
        ("trigger_token_set", Event::TriggerTokenSet { pipeline, trigger, digest: Some(Digest::of(b"token")), audit: audit.clone() }),
        ("backfill_created", Event::BackfillCreated(Box::new(record))),
        ("backfill_paused", Event::BackfillPaused { backfill: backfill.clone(), paused: true, audit: audit.clone() }),
        ("backfill_cancelled", Event::BackfillCancelled { backfill: backfill.clone(), audit }),
        ("backfill_ended", Event::BackfillEnded { backfill, state: State::Failed, at }),
    ]
}

#[test]
fn every_record_has_the_bytes_it_always_had() {
    let mut lines = String::new();
    for (name, event) in one_of_each() {
        let bytes = encode_events([event.clone()]);
        assert_eq!(decode_events(&bytes).unwrap(), [event], "{name} does not read back");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(lines, "{name} {hex}").unwrap();
    }
    let golden = include_str!("golden/format-2.txt");
    assert_eq!(lines, golden, "what is written has changed: keep the old format, or raise FORMAT");
}

#[test]
fn what_is_unknown_or_broken_is_refused_and_never_skipped() {
    assert!(decode_events(&[0x0a, 0x03, 0xfa, 0x06, 0x00]).is_err(), "an event of an unknown kind");
    assert!(decode_events(&[0xff, 0xff]).is_err(), "no protobuf");
    let mut truncated = encode_events([Event::RunStarted { run: RunNo(1), at: Timestamp(2) }]);
    truncated.pop();
    assert!(decode_events(&truncated).is_err(), "half an event");
}
