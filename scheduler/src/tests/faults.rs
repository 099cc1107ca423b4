//! What must never happen, made to happen: a broken event or record sets one run aside, alike on every replica, and the rest
//! goes on; what a worker says is never trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::event::TaskEnded;
use penstock_common::limits::{MAX_DETAIL_BYTES, MAX_METRICS_PER_TASK};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Task;
use penstock_common::record::{Audit, Ended, Report};
use penstock_common::{Event, Fence, Reason, RunNo, State, Timestamp};

use super::model::{Outcome, below, ended, p, report, retries, run_id};
use super::world::World;
use crate::{Answer, Input, Rejection, Scheduler};

const AT: Timestamp = Timestamp(0);
const BAD: RunNo = RunNo(1);

/// Runs `bad` and `good`: in each, `a` runs on worker `w` (fences 1 and 2), and `b` waits for it.
fn two_runs() -> World {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"]))]), 2);
    w.submit("bad");
    w.submit("good");
    w.forget_log();
    w
}

fn audit() -> Audit {
    let text = || Arc::from("");
    Audit { at: AT, verb: text(), subject: text(), by: text(), note: text() }
}

fn task_ended(task: u32, state: State) -> Event {
    Event::TaskEnded(Box::new(TaskEnded {
        run: BAD,
        task,
        state,
        reason: Some(Reason::QueueTimeout),
        detail: Arc::from(""),
        outputs: Outputs::default(),
        audit: None,
        not_before: None,
        at: AT,
    }))
}

fn corrupt() -> Vec<Event> {
    let ended = Box::new(ended(&Outcome::Success, 0));
    let lease = |task, number, fence| Event::AttemptLeased {
        run: BAD,
        task,
        number,
        fence: Fence(fence),
        worker: "w".parse().unwrap(),
        session: "w.1".parse().unwrap(),
        at: AT,
    };
    let generation = |ranges| Event::GenerationOpened { run: BAD, generation: 2, ranges, audit: audit() };
    let failed = Box::new(super::model::ended(&Outcome::Exit(1), 0));
    let retrying = |task, fence, ended: &Ended| Event::TaskRetrying {
        run: BAD,
        task,
        fence: Fence(fence),
        ended: Box::new(ended.clone()),
        not_before: AT,
    };
    vec![
        Event::AttemptEnded { run: BAD, task: 0, fence: Fence(2), ended: ended.clone(), held: false },
        Event::AttemptEnded { run: BAD, task: 1, fence: Fence(1), ended: ended.clone(), held: false },
        Event::AttemptEnded { run: BAD, task: 99, fence: Fence(1), ended: ended.clone(), held: false },
        Event::AttemptEnded {
            run: BAD,
            task: 0,
            fence: Fence(1),
            ended: Box::new(Ended { state: State::Running, ..*ended.clone() }),
            held: false,
        },
        lease(1, 1, 2),
        lease(1, 7, 3),
        lease(0, 2, 3),
        lease(2, 1, 3),
        Event::AttemptEnded { run: BAD, task: 0, fence: Fence(1), ended: failed.clone(), held: true },
        retrying(0, 1, &ended),
        retrying(0, 2, &failed),
        retrying(1, 1, &failed),
        task_ended(0, State::Failed),
        task_ended(1, State::Running),
        task_ended(9, State::Failed),
        Event::AttemptWaiting { run: BAD, task: 0, fence: Fence(1), until: AT, detail: Arc::from(""), at: AT },
        Event::AttemptWaiting { run: BAD, task: 1, fence: Fence(1), until: AT, detail: Arc::from(""), at: AT },
        Event::TaskWaiting { run: BAD, task: 0, child: None, at: AT },
        Event::TaskWaiting { run: BAD, task: 1, child: None, at: AT },
        Event::TaskExpanded { run: BAD, task: 1, count: 3, at: AT },
        Event::TaskExpanded { run: BAD, task: 0, count: 3, at: AT },
        Event::TasksSkipped { run: BAD, ranges: vec![(1, 2), (0, 1)], reason: Reason::UpstreamFailed, at: AT },
        Event::TasksSkipped { run: BAD, ranges: vec![(1, 9)], reason: Reason::UpstreamFailed, at: AT },
        Event::TasksCancelled { run: BAD, reason: Reason::User, teardowns: false, at: AT },
        Event::RunStarted { run: BAD, at: AT },
        Event::RunEnded { run: BAD, state: State::Success, reason: None, at: AT },
        generation(vec![(0, 2)]),
    ]
}

#[test]
fn a_corrupt_event_sets_only_its_run_aside_and_replicas_agree() {
    for event in corrupt() {
        let mut w = two_runs();
        let mut replica = w.checker.reloads(&mut w.follower);
        w.follower.replay(&event);
        replica.replay(&event);
        assert!(replica.state() == w.follower.state(), "replicas differ after {event:?}");
        assert!(w.checker.reloads(&mut w.follower).state() == replica.state(), "X5");
        let record = w.follower.run(&run_id("bad")).unwrap();
        assert_eq!((record.state, record.reason), (State::Failed, Some(Reason::Quarantined)), "{event:?}");
        assert!(record.quarantined.as_ref().is_some_and(|why| why.len() <= MAX_DETAIL_BYTES && why.contains("entry")), "{record:?}");
        assert_eq!(w.follower.changes(&event).len(), 1, "{event:?} is shown as what it did");
        assert_eq!(w.follower.live(), (2, 2), "tasks of the other run");
        goes_on(&mut w.follower);
        // What follows of the set-aside run changes nothing.
        corrupt().iter().for_each(|event| replica.replay(event));
        assert_eq!(replica.run(&run_id("bad")).unwrap().reason, Some(Reason::Quarantined));
    }
}

#[test]
fn an_event_that_breaks_half_way_leaves_a_run_that_reloads_as_it_is() {
    let mut w = two_runs();
    let fence = w.fence("w", "a");
    w.finish("w", fence, &Outcome::Exit(1));
    let ranges = vec![(0, 1), (7, 8)];
    let broken = Event::GenerationOpened { run: BAD, generation: 2, ranges, audit: audit() };
    w.follower.replay(&broken);
    assert_eq!(w.follower.run(&run_id("bad")).unwrap().reason, Some(Reason::Quarantined));
    assert_eq!(w.follower.live(), (2, 2));
    w.checker.reloads(&mut w.follower);
}

/// A leader that finds a set-aside run kills what is left of it and serves the others.
fn goes_on(leader: &mut Scheduler) {
    let now = penstock_common::Now { now: AT, wall: AT, random: 0, may_fire: true };
    leader.lead(now);
    let hello = crate::input::Hello {
        session: "w.1".parse().unwrap(),
        worker: "w".parse().unwrap(),
        slots: 2,
        queues: ["default".parse().unwrap()].into(),
        labels: BTreeMap::new(),
        leaving: false,
        announced: crate::Announced { running: [Fence(1), Fence(2)].into(), ..crate::Announced::default() },
    };
    let decision = leader.decide(Input::Hello(Box::new(hello)), now).unwrap();
    assert!(matches!(decision.effects[..], [crate::Effect::Kill { fence: Fence(1), .. }]), "{:?}", decision.effects);
    for fence in 2..4 {
        let report = Input::Report { session: "w.1".parse().unwrap(), fence: Fence(fence), report: Box::new(report(&Outcome::Success, 0)) };
        leader.decide(report, now).unwrap();
    }
    assert_eq!(leader.run(&run_id("good")).unwrap().state, State::Success);
    let cancel = Input::Cancel { run: run_id("bad"), now: false, by: Arc::from(""), note: Arc::from("") };
    assert_eq!(leader.decide(cancel, now).unwrap().answer, Answer::Cancelled(State::Failed));
    let rerun =
        Input::Rerun { run: run_id("bad"), tasks: Vec::new(), request: "q".parse().unwrap(), by: Arc::from(""), note: Arc::from("") };
    assert!(matches!(leader.decide(rerun, now), Err(Rejection::Quarantined { .. })));
}

#[test]
fn a_run_that_breaks_under_the_leader_frees_its_slots_and_its_attempts_are_killed() {
    let mut w = World::new();
    w.register(p([("a", below(&[])), ("c", below(&[]))]));
    w.attach("v", 1);
    w.attach("w", 1);
    w.submit("bad");
    w.submit("good");
    w.leader.state.runs.get_mut(&BAD).unwrap().task_mut(0, 0).attempts.clear();
    let report = Input::Report { session: "v.1".parse().unwrap(), fence: Fence(1), report: Box::new(report(&Outcome::Success, 0)) };
    let now = penstock_common::Now { now: Timestamp(w.now), wall: AT, random: 0, may_fire: true };
    let decision = w.leader.decide(report, now).unwrap();
    let brief = |effect: &crate::Effect| match effect {
        crate::Effect::Kill { fence, session } => format!("kill {fence} on {session}"),
        crate::Effect::Lease { session, lease } => format!("lease {} of {} to {session}", lease.fence, lease.run),
        other => format!("{other:?}"),
    };
    let effects: Vec<_> = decision.effects.iter().map(brief).collect();
    assert_eq!(effects, ["kill 1 on v.1", "kill 2 on w.1", "lease 3 of good to v.1", "lease 4 of good to w.1"]);
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_inside_one_run_sets_it_aside() {
    let mut w = two_runs();
    // An account that the next event overdraws.
    w.follower.state.runs.get_mut(&BAD).unwrap().leased = 0;
    w.follower.replay(&Event::AttemptEnded {
        run: BAD,
        task: 0,
        fence: Fence(1),
        ended: Box::new(ended(&Outcome::Success, 0)),
        held: false,
    });
    let why = w.follower.run(&run_id("bad")).unwrap().quarantined.clone().unwrap();
    assert!(why.starts_with("a panic while an event was applied"), "{why}");
    assert_eq!(w.follower.run(&run_id("good")).unwrap().state, State::Running);
}

fn hostile() -> Vec<Ended> {
    let honest = ended(&Outcome::Success, 0);
    let of = |state, reason| Ended { state, reason, ..honest.clone() };
    vec![
        of(State::Success, Some(Reason::Lost)),
        of(State::Success, Some(Reason::Poison)),
        of(State::Skipped, Some(Reason::Lost)),
        of(State::Skipped, Some(Reason::UpstreamFailed)),
        of(State::Skipped, None),
        of(State::Failed, None),
        of(State::Failed, Some(Reason::Poison)),
        of(State::Failed, Some(Reason::Quarantined)),
        of(State::Cancelled, None),
        of(State::Pending, None),
        of(State::Running, None),
        of(State::Retry, Some(Reason::Lost)),
        Ended { worker_died: true, ..of(State::Failed, Some(Reason::Lost)) },
        Ended { started_at: Timestamp(i64::MIN), ended_at: Timestamp(i64::MAX), ..honest.clone() },
        Ended { started_at: Timestamp(i64::MAX), ended_at: Timestamp(i64::MIN), ..honest.clone() },
        Ended { outputs: Outputs(BTreeMap::from([(String::new(), String::new())])), ..honest.clone() },
        Ended { outputs: Outputs(BTreeMap::from([("k".to_owned(), "v".repeat(20_000_000))])), ..of(State::Failed, Some(Reason::ExitCode)) },
    ]
}

#[test]
fn no_report_breaks_a_run() {
    for report in hostile() {
        for spec in [Task::noop(), Task { retries: retries(1), max_lost: 0, ..Task::noop() }] {
            let mut w = World::with(p([("a", spec), ("b", below(&["a"]))]), 1);
            w.submit("r");
            w.feed(Input::Report {
                session: "w.1".parse().unwrap(),
                fence: Fence(1),
                report: Box::new(Report::Ended { ended: report.clone(), items: None }),
            })
            .unwrap();
            w.checker.reloads(&mut w.leader);
            let task = w.leader.tasks(&run_id("r"), 0, 1).remove(0);
            assert_eq!(task.deaths, 0, "only the leader tells a death");
            assert_eq!(w.leader.run(&run_id("r")).unwrap().quarantined, None, "{report:?}");
        }
    }
}

#[test]
fn what_a_report_carries_is_bounded() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[]))]), 2);
    w.submit("r");
    let many = (0..1_000).map(|i| (format!("m{i:04}"), 1.0));
    let odd = [("nan".to_owned(), f64::NAN), ("inf".to_owned(), f64::INFINITY), ("x".repeat(1_000_000), 1.0), ("a\0b".to_owned(), 1.0)];
    let report =
        Ended { detail: "é".repeat(1_000_000).into(), metrics: Metrics(many.chain(odd).collect()), ..ended(&Outcome::Exit(1), 0) };
    w.feed(Input::Report {
        session: "w.1".parse().unwrap(),
        fence: Fence(1),
        report: Box::new(Report::Ended { ended: report, items: None }),
    })
    .unwrap();
    let attempt = w.leader.tasks(&run_id("r"), 0, 1).remove(0).attempts.remove(0);
    assert!(attempt.detail.len() <= MAX_DETAIL_BYTES && attempt.detail.starts_with('é'));
    assert_eq!(attempt.metrics.0.len(), MAX_METRICS_PER_TASK);
    assert!(attempt.metrics.0.keys().all(|name| name.starts_with('m')));
    w.end("b", &Outcome::Output(70_000));
    let b = w.leader.tasks(&run_id("r"), 1, 1).remove(0);
    assert_eq!((b.state, b.reason, b.outputs), (State::Failed, Some(Reason::OutputTooLarge), Outputs::default()));
    w.gone(&"w.1".parse().unwrap(), true);
}

#[test]
fn a_run_bounds_the_outputs_of_all_its_tasks() {
    let tasks = (0..300).map(|i| (format!("t{i:03}"), below(&[])));
    let mut w = World::with(super::model::pipeline("p", tasks), 300);
    w.checker.deep = false;
    w.submit("r");
    while let Some((name, fence)) = w.any_running() {
        w.finish(name, fence, &Outcome::Output(65_000));
    }
    let counts = w.leader.run(&run_id("r")).unwrap().counts;
    assert_eq!(counts[State::Success as usize], 16 * 1024 * 1024 / 65_001);
    w.checker.reloads(&mut w.leader);
}
