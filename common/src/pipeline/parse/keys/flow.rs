//! The keys of control flow that stand within those of a task: what items a task has, and what is expected of it.

use std::collections::BTreeMap;

use super::super::fields::{Key, Located};
use crate::TaskId;
use crate::pipeline::{Condition, ExpectAction, ForEach, Location, MaxFailed, TriggerRule, schema};

/// What a task says of when and how often it runs.
#[derive(Default)]
pub(in crate::pipeline) struct RawFlow {
    /// By the name of a task or a group.
    pub(in super::super) depends_on: BTreeMap<TaskId, RawEdge>,
    /// There are more upstreams, which could not be read.
    pub(in super::super) depends_on_unclear: bool,
    pub(in super::super) trigger_rule: Option<Located<TriggerRule>>,
    pub(in super::super) condition: Option<String>,
    pub(in super::super) branch: Option<Location>,
    /// Where it is written; `None` in it: something is wrong with it.
    pub(in super::super) for_each: Option<Located<Option<ForEach>>>,
    pub(in super::super) max_parallel: Option<Located<u32>>,
    pub(in super::super) max_failed: Option<Located<MaxFailed>>,
    pub(in super::super) group: Option<Located<TaskId>>,
    pub(in super::super) teardown: Option<Location>,
    pub(in super::super) setup: Option<Located<TaskId>>,
}

/// An item of `depends_on`.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct RawEdge {
    pub(in super::super) at: Location,
    pub(in super::super) when: Option<Condition>,
    pub(in super::super) paired: bool,
}

pub(in crate::pipeline) const CONDITIONS: &[(&str, Condition)] =
    &[("success", Condition::Success), ("failed", Condition::Failed), ("completed", Condition::Completed), ("skipped", Condition::Skipped)];

#[derive(Default)]
pub(in crate::pipeline) struct RawRange {
    pub(in super::super) range: Option<Located<i64>>,
    pub(in super::super) from: Option<Located<i64>>,
    pub(in super::super) to: Option<Located<i64>>,
    pub(in super::super) step: Option<Located<i64>>,
}

/// `for_each`, where it is a mapping
pub(in crate::pipeline) const RANGE: &[Key<RawRange>] = &[
    Key::new("range", "So many whole numbers, from 0 on.", schema::positive, |r, n, raw| raw.range = whole(r, n)),
    Key::new("from", "The first whole number; 0 if it is not written.", schema::whole_64, |r, n, raw| raw.from = whole(r, n)),
    Key::new("to", "The whole number that is not reached.", schema::whole_64, |r, n, raw| raw.to = whole(r, n)),
    Key::new("step", "From one number to the next; 1 if it is not written.", schema::whole_64, |r, n, raw| raw.step = whole(r, n)),
];

fn whole(r: &mut super::super::fields::Reader, n: &super::super::node::Node<'_>) -> Option<Located<i64>> {
    r.integer(n, i64::MIN, i64::MAX).map(|value| Located { at: n.at, value })
}

/// What is expected, as it is written. Bounds have places, since a task may contradict the defaults.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct RawExpect {
    pub(in super::super) records: Bounds,
    pub(in super::super) rejected: RawRejected,
    pub(in super::super) action: Option<Located<ExpectAction>>,
}

#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Bounds {
    pub(in super::super) min: Option<Located<f64>>,
    pub(in super::super) max: Option<Located<f64>>,
}

#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct RawRejected {
    pub(in super::super) max: Option<f64>,
    pub(in super::super) max_ratio: Option<f64>,
}

/// `expect`
pub(in crate::pipeline) const EXPECT: &[Key<RawExpect>] = &[
    Key::new("records", "The volume.", schema::records, |r, n, raw| {
        r.mapping(n, &[RECORDS], &mut raw.records);
    }),
    Key::new("rejected", "Records that were rejected.", schema::rejected, |r, n, raw| {
        r.mapping(n, &[REJECTED], &mut raw.rejected);
    }),
    Key::new("action", "What follows where it is not so.", schema::expect_action, |r, n, raw| {
        raw.action = r.one_of(n, EXPECT_ACTIONS).map(|value| Located { at: n.at, value });
    }),
];

/// `expect.records`
pub(in crate::pipeline) const RECORDS: &[Key<Bounds>] = &[
    Key::new("min", "At least so many.", schema::amount, |r, n, raw| {
        raw.min = r.amount(n, f64::MAX).map(|value| Located { at: n.at, value });
    }),
    Key::new("max", "At most so many.", schema::amount, |r, n, raw| {
        raw.max = r.amount(n, f64::MAX).map(|value| Located { at: n.at, value });
    }),
];

/// `expect.rejected`
pub(in crate::pipeline) const REJECTED: &[Key<RawRejected>] = &[
    Key::new("max", "At most so many.", schema::amount, |r, n, raw| raw.max = r.amount(n, f64::MAX)),
    Key::new("max_ratio", "At most this part of those read: 0.01 is one of a hundred.", schema::ratio, |r, n, raw| {
        raw.max_ratio = r.amount(n, 1.0);
    }),
];

pub(in crate::pipeline) const EXPECT_ACTIONS: &[(&str, ExpectAction)] =
    &[("alert", ExpectAction::Alert), ("fail", ExpectAction::Fail), ("hold", ExpectAction::Hold)];
