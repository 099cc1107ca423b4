//! Random pipelines over the whole language, such as the parser would let through.

use std::collections::BTreeMap;

use penstock_common::pipeline::{
    Action, Condition, Dependency, Expect, ExpectAction, ForEach, Jitter, MaxFailed, Param, ParamType, Pipeline, Retries, Task, TriggerRule,
};
use penstock_common::{PoolName, TaskId};
use proptest::prelude::*;

use super::super::model::{approve, child, pipeline, s, waiting_for};

/// A task's knobs, each drawn apart so that they shrink apart. Where one cannot be with another, [`built`] leaves it out.
#[derive(Debug, Clone)]
pub(super) struct Knobs {
    /// One bit for each of the tasks before it that could be an upstream.
    upstreams: u64,
    budgets: Budgets,
    place: Place,
    flow: Flow,
    mapped: Mapping,
    kind: Kind,
}

#[derive(Debug, Clone)]
struct Budgets {
    retries: u32,
    jitter: bool,
    max_lost: u32,
    timeout: Option<u64>,
    queue_timeout: Option<u64>,
}

#[derive(Debug, Clone)]
struct Place {
    priority: i32,
    big: bool,
    gpu: bool,
    /// Which pool, and how many of its slots.
    pool: Option<(bool, u32)>,
}

#[derive(Debug, Clone)]
struct Flow {
    rule: TriggerRule,
    /// Two bits an edge.
    conditions: Option<u64>,
    condition: u8,
    branch: bool,
    teardown: bool,
    allow_failure: bool,
    expect: Option<ExpectAction>,
}

#[derive(Debug, Clone)]
struct Mapping {
    by: u8,
    count: u32,
    max_parallel: Option<u32>,
    max_failed: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Sensor,
    Person,
    Child,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    tasks: Vec<Knobs>,
    max_active_runs: Option<u32>,
    max_active_tasks: Option<u32>,
    pub(super) run_timeout: Option<u64>,
}

impl Shape {
    /// Without what time ends by itself.
    pub(super) fn without_clocks(mut self) -> Self {
        self.run_timeout = None;
        for knobs in &mut self.tasks {
            (knobs.budgets.timeout, knobs.budgets.queue_timeout) = (None, None);
        }
        self
    }

    /// Without what makes a final state depend on who is faster.
    pub(super) fn timeless(mut self) -> Self {
        self = self.without_clocks();
        for knobs in &mut self.tasks {
            knobs.budgets.max_lost = 5;
            if matches!(knobs.flow.rule, TriggerRule::OneDone | TriggerRule::OneFailed | TriggerRule::OneSuccess | TriggerRule::Always) {
                knobs.flow.rule = TriggerRule::AllDone;
            }
        }
        self
    }
}

fn mostly<T: Clone + std::fmt::Debug + 'static>(often: T, others: impl Strategy<Value = T> + 'static) -> impl Strategy<Value = T> {
    prop_oneof![5 => Just(often), 2 => others]
}

fn knobs() -> impl Strategy<Value = Knobs> {
    let edges = prop_oneof![1 => Just(0), 4 => any::<u64>().prop_map(|a| a & a.rotate_left(13) & a.rotate_left(29))];
    let times = (prop::option::weighted(0.2, 1..90u64), prop::option::weighted(0.1, 1..90u64));
    let budgets = (0..3u32, any::<bool>(), prop_oneof![Just(5u32), 0..3u32], times)
        .prop_map(|(retries, jitter, max_lost, (timeout, queue_timeout))| Budgets { retries, jitter, max_lost, timeout, queue_timeout });
    let pool = prop::option::weighted(0.3, (any::<bool>(), 1..=5u32));
    let place = (-1..2i32, prop::bool::weighted(0.2), prop::bool::weighted(0.15), pool);
    let place = place.prop_map(|(priority, big, gpu, pool)| Place { priority, big, gpu, pool });
    let rule = mostly(TriggerRule::AllSuccess, (0..TriggerRule::WORDS.len()).prop_map(|i| TriggerRule::WORDS[i].1));
    let expect = prop::option::weighted(0.12, prop_oneof![Just(ExpectAction::Fail), Just(ExpectAction::Hold), Just(ExpectAction::Alert)]);
    let switches = (prop::bool::weighted(0.12), prop::bool::weighted(0.12), prop::bool::weighted(0.12));
    let flow = (rule, prop::option::weighted(0.2, any::<u64>()), mostly(0, 0..4u8), switches, expect).prop_map(
        |(rule, conditions, condition, (branch, teardown, allow_failure), expect)| Flow {
            rule,
            conditions,
            condition,
            branch,
            teardown,
            allow_failure,
            expect,
        },
    );
    let mapped = (mostly(0, 1..6u8), 0..6u32, prop::option::weighted(0.4, 1..3u32), prop::option::weighted(0.4, 0..3u32));
    let mapped = mapped.prop_map(|(by, count, max_parallel, max_failed)| Mapping { by, count, max_parallel, max_failed });
    let kind = prop_oneof![10 => Just(Kind::Program), 1 => Just(Kind::Sensor), 1 => Just(Kind::Person), 1 => Just(Kind::Child)];
    (edges, budgets, place, flow, mapped, kind).prop_map(|(upstreams, budgets, place, flow, mapped, kind)| Knobs {
        upstreams,
        budgets,
        place,
        flow,
        mapped,
        kind,
    })
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let tasks = prop_oneof![prop::collection::vec(knobs(), 1..6), prop::collection::vec(knobs(), 1..=24)];
    let limits = (prop::option::of(1..3u32), prop::option::weighted(0.3, 1..4u32));
    (tasks, limits, prop::option::weighted(0.2, 30..300u64)).prop_map(|(tasks, (max_active_runs, max_active_tasks), run_timeout)| Shape {
        tasks,
        max_active_runs,
        max_active_tasks,
        run_timeout,
    })
}

pub(super) fn name(index: usize) -> String {
    format!("t{index:02}")
}

fn id(index: usize) -> TaskId {
    name(index).parse().unwrap()
}

pub(super) const POOLS: [&str; 2] = ["narrow", "wide"];

/// The pipelines that `pipeline` tasks run.
pub(super) fn kids() -> [Pipeline; 2] {
    let of = |name: &str, limit| Pipeline { max_active_runs: limit, ..pipeline(name, [("t00".to_owned(), Task::noop())]) };
    let second = [("t00".to_owned(), Task::noop()), ("t01".to_owned(), super::super::model::below(&["t00"]))];
    [of("kid0", Some(2)), pipeline("kid1", second)]
}

pub(super) fn built(which: usize, shape: &Shape) -> Pipeline {
    let mut tasks: Vec<Task> = Vec::new();
    for (index, knobs) in shape.tasks.iter().enumerate() {
        let task = task(index, knobs, &tasks);
        tasks.push(task);
    }
    let go = Param { kind: ParamType::Bool, default: Some(true.into()), values: Vec::new(), description: String::new() };
    Pipeline {
        max_active_runs: shape.max_active_runs,
        max_active_tasks: shape.max_active_tasks,
        run_timeout: shape.run_timeout.map(s),
        params: BTreeMap::from([("go".to_owned(), go)]),
        ..pipeline(&format!("p{which}"), tasks.into_iter().enumerate().map(|(i, task)| (name(i), task)))
    }
}

fn task(index: usize, knobs: &Knobs, before: &[Task]) -> Task {
    let Knobs { upstreams, budgets, place, flow, mapped, kind } = knobs;
    let above: Vec<usize> = (0..index).filter(|i| upstreams >> i & 1 == 1).collect();
    let find = |good: &dyn Fn(&Task) -> bool| above.iter().copied().find(|&i| good(&before[i]));
    let program = |t: &Task| matches!(t.action, Action::Noop | Action::Wait(_));
    let unmapped = |t: &Task| t.for_each.is_none();
    let teardown = flow.teardown;
    let pair = find(&|t| t.for_each.is_some()).filter(|_| mapped.by == 1);
    let for_each = match (mapped.by, pair) {
        (1, Some(source)) => Some(ForEach::SameAs { task: id(source) }),
        (2, _) => Some(ForEach::Range { from: 0, to: i64::from(mapped.count), step: 1 }),
        (3, _) => Some(ForEach::Items(["x", "y", "z"].iter().take(mapped.count as usize).map(|&item| item.into()).collect())),
        (4, _) => find(&|t| program(t)).map(|source| ForEach::Output { task: id(source), key: "list".to_owned() }),
        (5, _) => find(&|t| program(t) && unmapped(t)).map(|source| ForEach::ItemsOf { task: id(source) }),
        _ => None,
    };
    let conditions = flow.conditions.filter(|_| !teardown);
    let when = |i: usize| {
        let all = [Condition::Success, Condition::Failed, Condition::Completed, Condition::Skipped];
        let draw = |bits: u64, at: usize| (bits.rotate_right(2 * at as u32) & 3) as usize;
        // Most edges ask for success.
        conditions.map(|bits| if draw(bits, i) == 1 { all[draw(bits, i + 10)] } else { Condition::Success })
    };
    let depends_on = above.iter().map(|&i| Dependency { task: id(i), when: when(i), paired: pair == Some(i) });
    let judged_together = !matches!(
        flow.rule,
        TriggerRule::AllSuccess
            | TriggerRule::AllDone
            | TriggerRule::AllFailed
            | TriggerRule::AllSkipped
            | TriggerRule::NoneFailed
            | TriggerRule::NoneSkipped
    );
    let plain = teardown || conditions.is_some() || (pair.is_some() && judged_together);
    let condition = match flow.condition {
        1 => Some("params.go".to_owned()),
        2 => find(&|t| program(t) && unmapped(t)).map(|source| format!("outputs.{}.n > 1", id(source))),
        3 if mapped.by == 2 => Some("item % 2 == 0".to_owned()),
        _ => None,
    };
    let is_program = matches!(kind, Kind::Program | Kind::Sensor);
    let jitter = if budgets.jitter { Jitter::Full } else { Jitter::None };
    Task {
        depends_on: depends_on.collect(),
        trigger_rule: if plain { TriggerRule::AllSuccess } else { flow.rule },
        condition,
        branch: flow.branch && for_each.is_none() && *kind == Kind::Program,
        max_parallel: mapped.max_parallel.filter(|_| for_each.is_some()),
        max_failed: mapped.max_failed.filter(|_| for_each.is_some()).map(MaxFailed::Count),
        for_each,
        teardown,
        setup: find(&|t| !t.teardown).filter(|&i| teardown && pair != Some(i)).map(id),
        allow_failure: flow.allow_failure,
        pool: place.pool.filter(|_| is_program).map(|(wide, _)| PoolName::parse(POOLS[usize::from(wide)]).unwrap()),
        pool_slots: place.pool.map_or(1, |(_, slots)| slots),
        expect: flow.expect.filter(|_| is_program).map(|action| Expect { min_records: Some(2.0), action, ..Expect::default() }),
        action: match kind {
            Kind::Program => Action::Noop,
            Kind::Sensor => waiting_for(budgets.timeout.map(|seconds| s(2 * seconds)), budgets.jitter),
            Kind::Person => approve("go on?"),
            Kind::Child => child(if index.is_multiple_of(2) { "kid0" } else { "kid1" }),
        },
        retries: Retries { max: budgets.retries, delay: s(2), jitter, ..Retries::default() },
        max_lost: budgets.max_lost,
        timeout: budgets.timeout.map(s),
        queue_timeout: budgets.queue_timeout.map(s),
        priority: place.priority,
        queue: if place.big { "big" } else { "default" }.parse().unwrap(),
        labels: if place.gpu { [("gpu".to_owned(), "yes".to_owned())].into() } else { BTreeMap::new() },
        ..Task::noop()
    }
}
