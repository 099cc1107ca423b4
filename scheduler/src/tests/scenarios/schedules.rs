//! What becomes of intervals that fall due.

use penstock_common::pipeline::{Catchup, Overlap, Pipeline, ScheduleSpec, Task};
use penstock_common::record::SkipReason;
use penstock_common::schedule::{Cron, Definition, Every, Schedule, Timing, Zone};
use penstock_common::{Interval, Millis, PipelineName, State, Timestamp};

use super::super::model::{Outcome, below, p, s};
use super::super::world::{START, World};
use crate::{Answer, Input};

pub(super) const HOUR: Millis = Millis(3_600_000);

pub(super) fn spec(timing: Timing) -> ScheduleSpec {
    let definition = Definition { timing, timezone: Zone::utc(), start: None, end: None, delay: Millis(0) };
    ScheduleSpec {
        times: Schedule::new(definition).unwrap(),
        catchup: Catchup::Latest,
        overlap: Overlap::Queue,
        grace: ScheduleSpec::GRACE,
        max_queued: ScheduleSpec::MAX_QUEUED,
    }
}

pub(super) fn cron(text: &str) -> ScheduleSpec {
    spec(Timing::Cron(vec![Cron::parse(text).unwrap()]))
}

pub(super) fn every(period: Millis) -> ScheduleSpec {
    spec(Timing::Every(Every::new(period).unwrap()))
}

/// Pipeline `p` of one task `a`.
pub(super) fn scheduled(schedule: ScheduleSpec) -> Pipeline {
    Pipeline { schedule: Some(schedule), ..p([("a", below(&[]))]) }
}

pub(super) fn name() -> PipelineName {
    PipelineName::parse("p").unwrap()
}

/// Intervals of all runs there are, by creation, and how each stands.
pub(super) fn runs(w: &World) -> Vec<(Interval, State)> {
    w.checker.runs.values().filter_map(|run| Some((w.leader.run(&run.id)?.interval?, w.leader.run(&run.id)?.state))).collect()
}

fn hours_ago(w: &World) -> Vec<u64> {
    runs(w).iter().map(|(interval, _)| Timestamp(w.now).since(interval.end()).0 / 3_600_000).collect()
}

fn skipped(w: &World, reason: SkipReason) -> u64 {
    w.leader.state().pipelines[&name()].timetable.skipped.get(&reason).copied().unwrap_or(0)
}

/// The leader is away for a time, and another begins.
fn away(w: &mut World, time: Millis) {
    w.commit_all();
    w.now += time.0 as i64;
    w.fail_over();
    w.settle();
}

#[test]
fn the_interval_in_progress_is_the_first_and_starts_when_it_has_ended() {
    // 2023-11-14T22:13:20Z
    let mut w = World::with(scheduled(cron("0 2 * * *")), 1);
    w.pass(Millis(HOUR.0 * 3));
    assert!(w.log().iter().all(|line| !line.contains("created")));
    w.pass(HOUR);
    assert_eq!(w.log(), ["p.2023-11-14.1: created", "p.2023-11-14.1: started", "p.2023-11-14.1: a#1 fence 1 to w.1"]);
    let (interval, _) = runs(&w)[0];
    assert_eq!(
        (interval.start().to_string().as_str(), interval.end().to_string().as_str()),
        ("2023-11-14T02:00:00.000Z", "2023-11-15T02:00:00.000Z")
    );
    let record = w.leader.run(&"p.2023-11-14.1".parse().unwrap()).unwrap();
    assert_eq!((record.trigger.kind.as_str(), &*record.trigger.by), ("schedule", "schedule"));
}

#[test]
fn an_interval_that_fell_due_within_grace_runs_whatever_the_policy_says() {
    for catchup in [Catchup::None, Catchup::Latest, Catchup::All] {
        let mut w = World::with(scheduled(ScheduleSpec { catchup, ..every(s(60)) }), 99);
        w.pass(s(60));
        away(&mut w, s(240));
        assert_eq!(runs(&w).len(), 5, "{catchup:?}");
    }
}

#[test]
fn what_fell_due_before_that_runs_as_catchup_says() {
    for (catchup, runs_of, skips) in
        [(Catchup::None, vec![], 10), (Catchup::Latest, vec![0], 9), (Catchup::All, (0..10).rev().collect(), 0)]
    {
        let mut w = World::with(scheduled(ScheduleSpec { catchup, ..every(HOUR) }), 99);
        // To 22:30, then ten hours.
        w.pass(s(1_000));
        away(&mut w, Millis(10 * HOUR.0));
        assert_eq!(hours_ago(&w), runs_of, "{catchup:?}");
        assert_eq!(skipped(&w, SkipReason::Catchup), skips, "{catchup:?}");
    }
}

#[test]
fn all_of_a_long_absence_runs_at_last_although_few_may_queue() {
    let mut pipeline = scheduled(ScheduleSpec { catchup: Catchup::All, max_queued: 3, ..every(HOUR) });
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 1);
    w.pass(s(1_000));
    away(&mut w, Millis(20 * HOUR.0));
    w.attach("v", 1);
    let mut ended = 0;
    while w.any_running().is_some() {
        let (worker, fence) = w.any_running().unwrap();
        w.finish(worker, fence, &Outcome::Success);
        ended += 1;
        let waiting = runs(&w).iter().filter(|(_, state)| *state == State::Pending).count();
        assert!(waiting <= 3, "{waiting} are queued");
        w.pass(s(10));
    }
    assert_eq!((ended, skipped(&w, SkipReason::MaxQueued)), (20, 0));
}

#[test]
fn beyond_max_queued_intervals_are_skipped_and_counted() {
    let mut pipeline = scheduled(ScheduleSpec { max_queued: 2, ..every(s(60)) });
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 1);
    w.pass(s(600));
    assert_eq!((runs(&w).len(), skipped(&w, SkipReason::MaxQueued)), (3, 7));
}

#[test]
fn a_run_beside_another_is_queued_skipped_or_takes_its_place() {
    let after = |overlap| {
        let mut w = World::with(scheduled(ScheduleSpec { overlap, ..every(s(60)) }), 9);
        w.pass(s(180));
        w
    };
    let mut w = after(Overlap::Skip);
    assert_eq!((runs(&w).len(), skipped(&w, SkipReason::Overlap)), (1, 2));
    w.end("a", &Outcome::Success);
    w.pass(s(60));
    assert_eq!((runs(&w).len(), skipped(&w, SkipReason::Overlap)), (2, 2));
    assert_eq!(after(Overlap::Queue).workers["w"].running.len(), 3);
    let mut w = after(Overlap::CancelRunning);
    for _ in 0..2 {
        let fence = *w.workers["w"].stopping.first().unwrap();
        w.finish("w", fence, &Outcome::Cancelled);
    }
    let states: Vec<State> = w.checker.runs.values().map(|run| w.leader.run(&run.id).unwrap().state).collect();
    assert_eq!(states, [State::Cancelled, State::Cancelled, State::Running]);
}

#[test]
fn while_paused_intervals_are_skipped_and_resume_goes_on_with_the_next() {
    let pause = |w: &mut World, paused| {
        let trigger = "schedule".parse().unwrap();
        w.feed(Input::PauseTrigger { pipeline: name(), trigger, paused, by: "me".into(), note: "".into() })
    };
    let mut w = World::with(scheduled(every(s(60))), 9);
    assert_eq!(pause(&mut w, true), Ok(Answer::Changed(true)));
    assert_eq!(pause(&mut w, true), Ok(Answer::Changed(false)));
    w.pass(s(300));
    assert_eq!((runs(&w).len(), skipped(&w, SkipReason::Paused)), (0, 5));
    pause(&mut w, false).unwrap();
    w.pass(s(60));
    assert_eq!(runs(&w).len(), 1);
    w.pause_pipeline("p", true).unwrap();
    w.pass(s(120));
    w.pause_pipeline("p", false).unwrap();
    w.pass(s(60));
    assert_eq!((runs(&w).len(), skipped(&w, SkipReason::Paused)), (2, 7));
}

#[test]
fn a_clock_that_steps_makes_no_interval_run_twice_and_loses_none() {
    for catchup in [Catchup::None, Catchup::All] {
        let mut pipeline = scheduled(ScheduleSpec { catchup, max_queued: 10_000, ..every(s(1)) });
        pipeline.max_active_runs = Some(1);
        let mut w = World::with(pipeline, 1);
        w.checker.deep = false;
        w.pass(s(10));
        w.skew = -3_600_000;
        w.pass(s(10));
        assert_eq!(runs(&w).len(), 10, "it waits until the clock has caught up");
        w.skew = 0;
        w.pass(s(10));
        assert_eq!(runs(&w).len(), 30, "the clock was right again");
    }
}

#[test]
fn what_waits_for_room_waits_by_the_clock_that_was_set_back() {
    let mut pipeline = scheduled(ScheduleSpec { catchup: Catchup::All, max_queued: 1, ..every(HOUR) });
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 1);
    w.pass(Millis(5 * HOUR.0));
    assert_eq!(runs(&w).len(), 2);
    w.skew = -(HOUR.0 as i64);
    w.pass(s(20));
    w.end("a", &Outcome::Success);
    w.pass(s(20));
    assert_eq!(runs(&w).len(), 3);
}

#[test]
fn a_clock_that_is_not_trusted_fires_nothing_and_says_not_where_a_schedule_begins() {
    let mut w = World::with(scheduled(every(HOUR)), 9);
    (w.distrusted, w.skew) = (true, 24 * HOUR.0 as i64);
    let other = |w: &World| w.leader.state().pipelines[&"other".parse().unwrap()].timetable.watermark;
    w.register(Pipeline { name: "other".parse().unwrap(), ..scheduled(every(HOUR)) });
    w.pass(Millis(3 * HOUR.0));
    assert_eq!((runs(&w).len(), other(&w)), (0, None));
    w.fail_over();
    w.hello("w");
    (w.distrusted, w.skew) = (false, 0);
    w.pass(s(60));
    assert!(other(&w).is_some_and(|at| at.0 <= w.now && at.0 > w.now - HOUR.0 as i64), "the interval that is in progress");
    assert!(!runs(&w).is_empty());
}

#[test]
fn each_waits_for_the_success_of_the_one_before() {
    let mut pipeline = scheduled(every(HOUR));
    pipeline.depends_on_past = true;
    let mut w = World::with(pipeline, 9);
    w.pass(Millis(2 * HOUR.0));
    let states = |w: &World| runs(w).iter().map(|(_, state)| *state).collect::<Vec<_>>();
    let ids: Vec<_> = w.checker.runs.values().map(|run| run.id.clone()).collect();
    let says = |w: &World| {
        let why = w.leader.explain(&ids[1], &"a".parse().unwrap()).unwrap().remove(0);
        let sentence = why.to_string();
        (sentence.split_once("Z").unwrap().1.to_owned(), why.remedy())
    };
    let goes_on = format!("whose run {} has not ended", ids[0]);
    assert_eq!(states(&w), [State::Running, State::Pending]);
    assert_eq!(says(&w), (format!(", {goes_on}"), format!("penstock explain {}", ids[0])));
    w.end("a", &Outcome::Exit(1));
    assert_eq!(states(&w), [State::Failed, State::Pending]);
    let (sentence, remedy) = says(&w);
    assert!(sentence == ", which is FAILED" && remedy.starts_with("penstock backfill p "), "{sentence}: {remedy}");
    w.rerun(ids[0].as_str(), "again").unwrap();
    assert_eq!(says(&w), (format!(", which is FAILED and {goes_on}"), format!("penstock explain {}", ids[0])));
    w.end("a", &Outcome::Success);
    assert_eq!(states(&w).last(), Some(&State::Running));
}

#[test]
fn what_a_person_starts_covers_the_last_interval_that_has_ended() {
    let mut w = World::with(scheduled(cron("0 2 * * *")), 9);
    w.submit("by_hand");
    let interval = w.leader.run(&"by_hand".parse().unwrap()).unwrap().interval.unwrap();
    assert_eq!(
        (interval.start().to_string().as_str(), interval.end().to_string().as_str()),
        ("2023-11-13T02:00:00.000Z", "2023-11-14T02:00:00.000Z")
    );
}

#[test]
fn a_schedule_that_changes_goes_on_where_the_last_interval_ended() {
    let mut w = World::with(scheduled(every(HOUR)), 9);
    w.pass(HOUR);
    w.register(scheduled(cron("30 * * * *")));
    w.pass(HOUR);
    let all = runs(&w);
    assert_eq!(all[0].0.end(), all[1].0.start());
    assert_eq!(all[1].0.end().0 % 3_600_000, 1_800_000);
    w.register(p([("a", Task::noop())]));
    w.pass(Millis(24 * HOUR.0));
    assert_eq!(runs(&w).len(), 2, "it has no schedule any more");
    w.register(scheduled(every(HOUR)));
    w.pass(HOUR);
    assert_eq!(runs(&w).len(), 3, "it is as new");
}

#[test]
fn rewinding_makes_intervals_due_again_under_new_ids() {
    let mut w = World::with(scheduled(ScheduleSpec { catchup: Catchup::All, ..every(HOUR) }), 9);
    w.pass(Millis(3 * HOUR.0));
    assert_eq!(runs(&w).len(), 3);
    let to = Timestamp(w.now - 3 * HOUR.0 as i64);
    w.feed(Input::Rewind { pipeline: name(), to, by: "me".into(), note: "".into() }).unwrap();
    w.settle();
    assert_eq!(runs(&w).len(), 6);
}

#[test]
fn ten_thousand_intervals_that_were_missed_cost_few_steps() {
    let mut w = World::with(scheduled(ScheduleSpec { catchup: Catchup::None, ..every(s(1)) }), 9);
    w.checker.deep = false;
    w.pass(s(2));
    w.commit_all();
    w.now += 200_000_000;
    w.fail_over();
    let ticks = w.settle();
    assert!(ticks < 60, "{ticks}");
    assert_eq!(skipped(&w, SkipReason::Catchup), 200_000 - 301);
    let _ = START;
}
