//! A hundred thousand tasks of one run: what they cost grows with their number and not with its square. Times are printed; what is
//! judged is the ratio to a tenth of the tasks, generously, since other tests run beside.

use std::collections::VecDeque;
use std::time::Instant;

use penstock_common::pipeline::{MaxFailed, Pipeline, Task};
use penstock_common::{Now, State, Timestamp};

use super::measure::resident;
use super::model::{Outcome, below, p, pipeline, range, report, run_id};
use super::people::submit;
use crate::input::Hello;
use crate::{Announced, Effect, Input, Plan, Scheduler};

/// A leader and a worker that reports as soon as it gets a lease; nobody checks.
struct Bare {
    leader: Scheduler,
    now: Now,
    /// Leases that are to be reported.
    leases: VecDeque<penstock_common::Fence>,
    events: usize,
}

const SESSION: &str = "w.1";

impl Bare {
    fn new(pipeline: Pipeline, slots: u32) -> Self {
        let now = Now { now: Timestamp(1), wall: Timestamp(1), random: 7, may_fire: true };
        let mut bare = Self { leader: Scheduler::default(), now, leases: VecDeque::new(), events: 0 };
        bare.leader.lead(now);
        bare.feed(Input::SetPool { pool: "db".parse().unwrap(), slots: Some(10), by: "me".into(), note: "".into() });
        bare.feed(Input::Register { plan: Plan::compile(pipeline).unwrap().into() });
        // As many workers as it takes: one offers at most so many slots.
        for (number, from) in (0..slots).step_by(10_000).enumerate() {
            let hello = Hello {
                session: if number == 0 { SESSION.to_owned() } else { format!("w{number}.1") }.parse().unwrap(),
                worker: format!("w{number}").parse().unwrap(),
                slots: (slots - from).min(10_000),
                queues: ["default".parse().unwrap()].into(),
                labels: Default::default(),
                leaving: false,
                announced: Announced::default(),
            };
            bare.feed(Input::Hello(Box::new(hello)));
        }
        bare
    }

    fn feed(&mut self, input: Input) {
        let decision = self.leader.decide(input, self.now).unwrap();
        self.events += decision.events.len();
        let leases = decision.effects.into_iter().filter_map(|effect| match effect {
            Effect::Lease { lease, .. } => Some(lease.fence),
            _ => None,
        });
        self.leases.extend(leases);
    }

    fn settle(&mut self) {
        while self.leader.next_deadline().is_some_and(|at| at <= self.now.now) {
            self.feed(Input::Tick);
        }
    }

    /// Runs `r` to its end; every task ends so.
    fn run(&mut self, outcome: &Outcome) {
        self.feed(Input::Submit(Box::new(submit("r", "p"))));
        loop {
            self.settle();
            let Some(fence) = self.leases.pop_front() else { return };
            self.feed(Input::Report { session: SESSION.parse().unwrap(), fence, report: Box::new(report(outcome, 1)) });
        }
    }

    fn state(&self) -> State {
        self.leader.run(&run_id("r")).unwrap().state
    }
}

const SMALL: u32 = 10_000;
const LARGE: u32 = 100_000;

/// Times what a number of tasks costs, and the tenfold of it.
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn grows_with_the_number(what: &str, cost: impl Fn(u32)) {
    let time = |number| {
        let started = Instant::now();
        cost(number);
        started.elapsed().as_secs_f64()
    };
    let (small, large) = (time(SMALL), time(LARGE));
    println!("{what}: {SMALL} in {small:.2} s, {LARGE} in {large:.2} s");
    // A square would be a hundred.
    assert!(large < 40.0 * small.max(0.05), "{what}: {small:.2} s and {large:.2} s");
}

fn mapped(number: u32, task: Task) -> Pipeline {
    p([("m", Task { for_each: range(number, &[]).for_each, ..task }), ("n", below(&["m"]))])
}

#[test]
fn a_hundred_thousand_instances_run_on_a_thousand_slots() {
    let before = resident();
    let mut bare = Bare::new(mapped(LARGE, Task::noop()), 1_000);
    bare.feed(Input::Submit(Box::new(submit("r", "p"))));
    bare.settle();
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("an instance that waits: about {} bytes resident", after.saturating_sub(before) / LARGE as usize);
    }
    assert_eq!((bare.leader.leases(), bare.leader.live().1), (1_000, LARGE as usize + 1));
    grows_with_the_number("instances on a thousand slots", |number| {
        let mut bare = Bare::new(mapped(number, Task::noop()), 1_000);
        bare.run(&Outcome::Success);
        assert_eq!((bare.state(), bare.events), (State::Success, 2 * number as usize + 8));
    });
}

#[test]
fn limits_that_let_a_few_of_a_hundred_thousand_run_cost_no_rescan() {
    grows_with_the_number("max_parallel: 10", |number| {
        let mut bare = Bare::new(mapped(number, Task { max_parallel: Some(10), ..Task::noop() }), 1_000);
        bare.run(&Outcome::Success);
        assert_eq!(bare.state(), State::Success);
    });
    grows_with_the_number("max_active_tasks: 10, in a pool of 10", |number| {
        let task = Task { pool: Some("db".parse().unwrap()), ..Task::noop() };
        let mut bare = Bare::new(Pipeline { max_active_tasks: Some(10), ..mapped(number, task) }, 1_000);
        bare.run(&Outcome::Success);
        assert_eq!(bare.state(), State::Success);
    });
}

#[test]
fn a_hundred_thousand_failures_are_told_once() {
    grows_with_the_number("instances that fail and are tolerated", |number| {
        let mut bare = Bare::new(mapped(number, Task { max_failed: Some(MaxFailed::Percent(100.0)), ..Task::noop() }), 1_000);
        bare.run(&Outcome::Exit(1));
        assert_eq!(bare.state(), State::Failed, "n fails too");
        assert_eq!(bare.leader.task(&run_id("r"), &"m".parse().unwrap()).unwrap().state, State::Success);
    });
}

#[test]
fn a_hundred_thousand_pairs_cost_as_much_as_their_tasks() {
    grows_with_the_number("pairs", |number| {
        let load = Task { for_each: range(number, &[]).for_each, ..Task::noop() };
        let mut bare = Bare::new(p([("check", below(&["load[*]"])), ("load", load)]), 1_000);
        bare.run(&Outcome::Success);
        assert_eq!(bare.state(), State::Success);
    });
}

#[test]
fn a_chain_of_a_hundred_thousand_runs_link_by_link() {
    let name = |i: u32| format!("t{i:06}");
    grows_with_the_number("a chain", |number| {
        let link = |i: u32| (name(i), if i == 0 { below(&[]) } else { below(&[&name(i - 1)]) });
        let mut bare = Bare::new(pipeline("p", (0..number).map(link)), 10);
        bare.run(&Outcome::Success);
        assert_eq!(bare.state(), State::Success);
    });
}

#[test]
fn a_cancel_of_a_hundred_thousand_is_a_few_events() {
    let cancel = || Input::Cancel { run: run_id("r"), now: false, by: "me".into(), note: "".into() };
    grows_with_the_number("cancel, a thousand running", |number| {
        let mut bare = Bare::new(mapped(number, Task { max_parallel: Some(1_000), ..Task::noop() }), 1_000);
        bare.feed(Input::Submit(Box::new(submit("r", "p"))));
        bare.settle();
        let before = bare.events;
        bare.feed(cancel());
        assert_eq!(bare.events - before, 2);
        bare.settle();
        while let Some(fence) = bare.leases.pop_front() {
            bare.feed(Input::Report { session: SESSION.parse().unwrap(), fence, report: Box::new(report(&Outcome::Cancelled, 1)) });
        }
        bare.settle();
        assert_eq!((bare.state(), bare.leader.leases()), (State::Cancelled, 0));
    });
}
