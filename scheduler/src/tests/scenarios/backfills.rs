//! Backfills: what they run, in which order, beside what, and how they end.

use penstock_common::pipeline::{Action, Catchup, Pipeline, ScheduleSpec, Task};
use penstock_common::record::Outcome as Became;
use penstock_common::{Interval, Millis, State, Timestamp};

use super::super::model::{Outcome, below, p, range, s, selectors, task_id};
use super::super::world::{START, World};
use super::schedules::{HOUR, cron, every, name, runs, scheduled};
use crate::{Answer, BackfillAsked, Input, Planned, Rejection, Reprocess};

const DAY: i64 = 86_400_000;

/// The first `days` days that ended before the world began.
fn asked(id: &str, days: i64) -> BackfillAsked {
    BackfillAsked {
        id: id.parse().unwrap(),
        pipeline: name(),
        from: Timestamp(START - START % DAY - days * DAY),
        until: Timestamp(START - START % DAY - 1),
        every: None,
        reprocess: Reprocess::None,
        only: Vec::new(),
        params: serde_json::Map::new(),
        max_active: None,
        newest_first: false,
        cascade: false,
        shown: None,
        by: "me".into(),
        note: "".into(),
        digest: 1,
    }
}

fn create(w: &mut World, asked: BackfillAsked) -> Result<Answer, Rejection> {
    w.feed(Input::Backfill(Box::new(asked)))
}

fn daily() -> Pipeline {
    scheduled(cron("0 0 * * *"))
}

fn state(w: &World, id: &str) -> State {
    w.leader.state().backfills[id].record.state
}

#[test]
fn its_intervals_run_in_turn_so_many_at_once() {
    let mut w = World::with(daily(), 9);
    assert_eq!(create(&mut w, BackfillAsked { max_active: Some(2), ..asked("b", 5) }), Ok(Answer::Changed(true)));
    assert_eq!(create(&mut w, asked("b", 5)), Ok(Answer::Changed(false)), "the same id again");
    let mut order = Vec::new();
    while let Some((worker, fence)) = w.any_running() {
        assert!(w.workers["w"].running.len() <= 2);
        order.push(w.workers["w"].running[&fence].interval.unwrap().start());
        w.finish(worker, fence, &Outcome::Success);
    }
    assert_eq!(order.len(), 5);
    assert!(order.is_sorted());
    assert_eq!(state(&w, "b"), State::Success);
    // A second finds nothing to do.
    assert!(matches!(create(&mut w, asked("c", 5)), Err(Rejection::NothingToBackfill(_))));
    let planned = w.leader.plan_backfill(&asked("c", 6), Timestamp(w.now)).unwrap();
    assert_eq!(planned[0].1, Planned::Run(None));
    assert!(planned[1..].iter().all(|(_, fate)| *fate == Planned::Left(Became::Success)));
}

#[test]
fn one_that_failed_ends_failed_and_only_what_is_asked_for_runs_again() {
    let mut w = World::with(daily(), 9);
    create(&mut w, BackfillAsked { newest_first: true, max_active: Some(1), ..asked("b", 3) }).unwrap();
    w.end("a", &Outcome::Success);
    w.end("a", &Outcome::Exit(1));
    w.end("a", &Outcome::Success);
    assert_eq!(state(&w, "b"), State::Failed);
    let fates = |w: &World, reprocess| {
        let planned = w.leader.plan_backfill(&BackfillAsked { reprocess, ..asked("c", 3) }, Timestamp(w.now)).unwrap();
        planned.into_iter().map(|(_, fate)| fate.runs()).collect::<Vec<_>>()
    };
    assert_eq!(fates(&w, Reprocess::None), [false, false, false]);
    assert_eq!(fates(&w, Reprocess::Failed), [false, true, false]);
    assert_eq!(fates(&w, Reprocess::All), [true, true, true]);
}

#[test]
fn an_interval_that_was_skipped_is_filled_and_one_that_has_not_ended_is_not_due() {
    let mut w = World::with(scheduled(every(HOUR)), 9);
    w.pause_pipeline("p", true).unwrap();
    w.pass(Millis(2 * HOUR.0));
    w.pause_pipeline("p", false).unwrap();
    let from = Timestamp(START - START % (HOUR.0 as i64));
    let whole = BackfillAsked { from, until: Timestamp(w.now), ..asked("b", 1) };
    let planned = w.leader.plan_backfill(&whole, Timestamp(w.now)).unwrap();
    let skipped = Became::Skipped(penstock_common::record::SkipReason::Paused);
    assert_eq!(
        planned.iter().map(|(_, fate)| fate.clone()).collect::<Vec<_>>(),
        [Planned::Run(Some(skipped)), Planned::Run(Some(skipped)), Planned::NotDue]
    );
}

#[test]
fn it_can_be_paused_resumed_and_cancelled() {
    let mut w = World::with(daily(), 9);
    create(&mut w, BackfillAsked { max_active: Some(1), ..asked("b", 5) }).unwrap();
    let pause = |w: &mut World, paused| {
        w.feed(Input::PauseBackfill { backfill: "b".parse().unwrap(), paused, by: "me".into(), note: "".into() }).unwrap()
    };
    assert_eq!(pause(&mut w, true), Answer::Changed(true));
    w.end("a", &Outcome::Success);
    assert_eq!(w.any_running(), None);
    w.fail_over();
    w.settle();
    w.attach("v", 9);
    assert_eq!(w.any_running(), None, "over a failover too");
    pause(&mut w, false);
    assert!(w.any_running().is_some());
    w.feed(Input::CancelBackfill { backfill: "b".parse().unwrap(), by: "me".into(), note: "".into() }).unwrap();
    let (worker, fence) = w.any_running().unwrap();
    w.finish(worker, fence, &Outcome::Cancelled);
    assert_eq!((state(&w, "b"), w.any_running()), (State::Cancelled, None));
}

#[test]
fn what_a_schedule_starts_goes_before_it() {
    let mut pipeline = daily();
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 9);
    create(&mut w, asked("b", 5)).unwrap();
    w.pass(Millis(2 * HOUR.0));
    w.end("a", &Outcome::Success);
    let (_, fence) = w.any_running().unwrap();
    let lease = &w.workers["w"].running[&fence];
    assert_eq!(lease.trigger.as_str(), "schedule", "although four runs of the backfill were queued before");
}

#[test]
fn only_the_tasks_that_are_asked_for_run_and_the_question_is_about_them() {
    let mut w = World::with(Pipeline { schedule: daily().schedule, ..p([("a", below(&[])), ("b", below(&["a"]))]) }, 9);
    create(&mut w, asked("first", 2)).unwrap();
    w.succeed_all();
    assert_eq!(state(&w, "first"), State::Success);
    // A new version has a task that never ran.
    let tasks = p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["a"]))]);
    w.register(Pipeline { schedule: daily().schedule, ..tasks });
    let only = BackfillAsked { only: selectors(&["c"]), ..asked("second", 3) };
    let planned = w.leader.plan_backfill(&only, Timestamp(w.now)).unwrap();
    assert!(planned.iter().all(|(_, fate)| fate.runs()), "{planned:?}");
    create(&mut w, BackfillAsked { only: selectors(&["b"]), ..asked("third", 2) }).unwrap_err();
    create(&mut w, only).unwrap();
    w.recall();
    while let Some((worker, fence)) = w.any_running() {
        assert_eq!(w.workers["w"].running[&fence].task.to_string(), "c");
        w.finish(worker, fence, &Outcome::Success);
    }
    assert_eq!(state(&w, "second"), State::Success);
    let whole = w.leader.plan_backfill(&asked("x", 3), Timestamp(w.now)).unwrap();
    assert_eq!(whole[0].1, Planned::Run(None), "of the whole pipeline that interval never ran");
}

#[test]
fn tasks_that_are_not_asked_for_count_as_done_with_what_the_newest_success_put_out() {
    let tasks = [("a", below(&[])), ("m", range(3, &[])), ("b", below(&["a"]))];
    let mut w = World::with(Pipeline { schedule: daily().schedule, ..p(tasks) }, 9);
    let of_two_days = |id: &str| BackfillAsked { max_active: Some(1), ..asked(id, 2) };
    create(&mut w, of_two_days("first")).unwrap();
    let day = |w: &World, fence| w.workers["w"].running[&fence].interval.unwrap().start().0 / DAY;
    let first = (START / DAY) - 2;
    while let Some((worker, fence)) = w.any_running() {
        let (lease, day) = (w.workers["w"].running[&fence].clone(), day(&w, fence));
        let outcome = match lease.task.task.as_str() {
            "b" if day > first => Outcome::Exit(1),
            "b" => Outcome::Success,
            "m" if lease.instance == Some(1) => Outcome::Success,
            _ => Outcome::Put("k", format!("{}", day - first)),
        };
        w.finish(worker, fence, &outcome);
    }
    let ended: Vec<State> = runs(&w).iter().map(|(_, state)| *state).collect();
    assert_eq!(ended, [State::Success, State::Failed], "the first is in history, the second is kept in state");
    let tasks = [("a", below(&[])), ("m", range(3, &[])), ("b", below(&["a"])), ("c", Task { action: reads(), ..below(&["a", "m"]) })];
    w.register(Pipeline { schedule: daily().schedule, ..p(tasks) });
    create(&mut w, BackfillAsked { only: selectors(&["c"]), max_active: Some(2), ..asked("second", 2) }).unwrap();
    assert_eq!(w.any_running(), None, "it is looked up first");
    w.fail_over();
    w.hello("w");
    w.settle();
    w.recall();
    let mut seen = Vec::new();
    while let Some((worker, fence)) = w.any_running() {
        let lease = &w.workers["w"].running[&fence];
        let of = |id: &str| lease.outputs[&task_id(id)].0["k"].clone();
        seen.push((of("a"), of("m")));
        w.finish(worker, fence, &Outcome::Success);
        w.recall();
    }
    seen.sort();
    assert_eq!(seen, [("0".to_owned(), "[0,null,0]".to_owned()), ("1".to_owned(), "[1,null,1]".to_owned())]);
    assert_eq!(state(&w, "second"), State::Success);
}

fn reads() -> Action {
    Action::Run(vec!["{{ outputs.a.k }}".to_owned(), "{{ outputs.m.k }}".to_owned()])
}

#[test]
fn a_pipeline_without_a_schedule_needs_to_be_told_how_long_intervals_are() {
    let mut w = World::with(p([("a", below(&[]))]), 9);
    let refused = create(&mut w, asked("b", 3)).unwrap_err();
    assert!(refused.to_string().contains("--every 1d"), "{refused}");
    create(&mut w, BackfillAsked { every: Some(Millis(DAY as u64)), ..asked("b", 3) }).unwrap();
    w.succeed_all();
    let intervals: Vec<Interval> = runs(&w).into_iter().map(|(interval, _)| interval).collect();
    assert_eq!(intervals.len(), 3);
    let _ = (s(1), ScheduleSpec::GRACE);
}

#[test]
fn it_holds_at_most_half_of_the_slots_so_that_what_falls_due_starts_at_once() {
    let mut w = World::with(daily(), 4);
    create(&mut w, BackfillAsked { max_active: Some(50), ..asked("b", 30) }).unwrap();
    assert_eq!(w.workers["w"].running.len(), 2);
    w.submit("by_hand");
    assert_eq!(w.workers["w"].running.len(), 3);
    w.pass(Millis(2 * HOUR.0));
    assert_eq!(w.workers["w"].running.len(), 4, "the scheduled run of today too");
    w.fail_over();
    w.hello("w");
    assert_eq!(w.workers["w"].running.len(), 4);
    w.succeed_all();
    assert_eq!(state(&w, "b"), State::Success);
}

#[test]
fn the_same_id_is_the_same_backfill_or_none() {
    let mut w = World::with(daily(), 1);
    assert_eq!(create(&mut w, asked("b", 2)), Ok(Answer::Changed(true)));
    assert_eq!(create(&mut w, asked("b", 2)), Ok(Answer::Changed(false)));
    let other = BackfillAsked { digest: 2, ..asked("b", 3) };
    assert_eq!(create(&mut w, other), Err(Rejection::BackfillExists("b".parse().unwrap())));
}

#[test]
fn what_the_schedule_is_still_to_start_is_left_to_it() {
    let mut pipeline = daily();
    if let Some(schedule) = &mut pipeline.schedule {
        schedule.catchup = Catchup::All;
        schedule.max_queued = 1;
    }
    pipeline.max_active_runs = Some(1);
    let mut w = World::with(pipeline, 1);
    w.pass(Millis(5 * DAY as u64));
    let days = || BackfillAsked { until: Timestamp(w.now), ..asked("b", 1) };
    let fates: Vec<Planned> = w.leader.plan_backfill(&days(), Timestamp(w.now)).unwrap().into_iter().map(|(_, fate)| fate).collect();
    let count = |is: fn(&Planned) -> bool| fates.iter().filter(|fate| is(fate)).count();
    let (live, left) = (count(|f| matches!(f, Planned::Live(_))), count(|f| matches!(f, Planned::Scheduled)));
    assert_eq!((count(Planned::runs), live, left), (1, 2, 3), "{fates:?}");
    let trigger = ScheduleSpec::TRIGGER.parse().unwrap();
    w.feed(Input::PauseTrigger { pipeline: name(), trigger, paused: true, by: "me".into(), note: "".into() }).unwrap();
    let days = BackfillAsked { until: Timestamp(w.now), ..asked("b", 1) };
    let fates = w.leader.plan_backfill(&days, Timestamp(w.now)).unwrap();
    assert_eq!(fates.iter().filter(|(_, fate)| fate.runs()).count(), 4, "a schedule that is paused starts none");
}
