//! How fast and how large, printed and not judged: `cargo test --release -p penstock-scheduler measure -- --nocapture`.

use std::time::Instant;

use penstock_common::pipeline::Task;
use penstock_common::{Event, Now, Timestamp};

use super::model::{Outcome, report};
use super::scale::fan_out;
use crate::input::Hello;
use crate::{Announced, Effect, Input, Plan, Scheduler};

fn submit(run: &str) -> Input {
    Input::Submit(Box::new(super::people::submit(run, "p")))
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn a_fan_out_of_ten_thousand_is_timed() {
    let mut leader = Scheduler::default();
    let now = Now { now: Timestamp(1), wall: Timestamp(1), random: 7, may_fire: true };
    let session = || "s".parse().unwrap();
    leader.lead(now);
    let plan = Plan::compile(fan_out(10_000, &Task::noop())).unwrap().into();
    leader.decide(Input::Register { plan }, now).unwrap();
    let hello = Hello {
        session: session(),
        worker: "w".parse().unwrap(),
        slots: 100,
        queues: ["default".parse().unwrap()].into(),
        labels: Default::default(),
        leaving: false,
        announced: Announced::default(),
    };
    leader.decide(Input::Hello(Box::new(hello)), now).unwrap();
    let started = Instant::now();
    let mut inputs = std::collections::VecDeque::from([submit("r")]);
    let (mut decided, mut events, mut slowest): (u32, Vec<Event>, f64) = (0, Vec::new(), 0.0);
    while let Some(input) = inputs.pop_front() {
        let before = Instant::now();
        let decision = leader.decide(input, now).unwrap();
        slowest = slowest.max(before.elapsed().as_secs_f64());
        decided += 1;
        events.extend(decision.events);
        for effect in decision.effects {
            if let Effect::Lease { lease, .. } = effect {
                inputs.push_back(Input::Report { session: session(), fence: lease.fence, report: Box::new(report(&Outcome::Success, 1)) });
            }
        }
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(events.len(), 3 + 2 * 10_001);
    let mut follower = Scheduler::default();
    follower.learn(leader.plan(&"p".parse().unwrap(), None).unwrap().1);
    let registered = Event::PipelineRegistered {
        pipeline: "p".parse().unwrap(),
        version: 1,
        digest: leader.plan(&"p".parse().unwrap(), None).unwrap().1.digest,
        dropped: Vec::new(),
        at: Timestamp(1),
    };
    follower.replay(&registered);
    let started = Instant::now();
    events.iter().for_each(|event| follower.replay(event));
    let replayed = started.elapsed().as_secs_f64();
    println!(
        "fan-out of 10,000: {:.0} inputs/s, {:.0} events/s, slowest decision {:.2} ms; replay {:.0} events/s",
        f64::from(decided) / took,
        events.len() as f64 / took,
        slowest * 1e3,
        events.len() as f64 / replayed,
    );
}

/// Resident bytes of this process, where the kernel tells. Other tests that run beside this one blur it.
pub(super) fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4_096)
}

#[test]
fn a_waiting_task_is_weighed() {
    let mut leader = Scheduler::default();
    let now = Now { now: Timestamp(1), wall: Timestamp(1), random: 7, may_fire: true };
    leader.lead(now);
    let plan = Plan::compile(fan_out(50_000, &Task::noop())).unwrap().into();
    leader.decide(Input::Register { plan }, now).unwrap();
    leader.decide(submit("r0"), now).unwrap();
    let before = resident();
    for run in 1..=10 {
        leader.decide(submit(&format!("r{run}")), now).unwrap();
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        println!(
            "a waiting task: {} bytes of struct, {} bytes resident",
            size_of::<crate::machine::task::Task>(),
            after.saturating_sub(before) / 500_010
        );
    }
}
