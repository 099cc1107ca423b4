//! The bytes of every journal record stay what they are: what one version wrote, every later one reads.
//!
//! A new kind of event is a new row here and in `golden/format-2.txt`; a row that is there is never changed.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::Arc;

use penstock_common::event::{RunCreated, TaskEnded};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::record::{Audit, Ended, Parent, Trigger, TriggerKind};
use penstock_common::{Digest, Epoch, Event, Fence, Interval, Millis, Reason, RunNo, State, Timestamp};
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
        trigger: Trigger { kind: TriggerKind::Manual, by: Arc::from("ada") },
        interval: Interval::new(Timestamp(5), Timestamp(9)),
        run_timeout: Some(Millis(60_000)),
        parent: Some(Parent { run: RunNo(6), id: "above".parse().unwrap(), task: 2, depth: 1 }),
        not_selected: vec![(0, 2), (5, 6)],
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
        ("run_created", Event::RunCreated(Box::new(created))),
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
        ("generation_opened", Event::GenerationOpened { run, generation: 2, ranges: vec![(0, 4)], audit }),
        ("run_archived", Event::RunArchived { run, at }),
        ("worker_drained", Event::WorkerDrained { worker: "w1".parse().unwrap(), drained: true, by: "ada".into(), at }),
        ("request_answered", Event::RequestAnswered { request: "r1".parse().unwrap(), digest: 5, answer: "2".into(), at }),
        ("answers_forgotten", Event::AnswersForgotten { before: at, archived_before: Timestamp(3) }),
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
