//! Exactly which events follow from which inputs, by topic.

mod attempts;
mod backfills;
mod children;
mod generations;
mod happenings;
mod mapping;
mod people;
mod pools;
mod rules;
mod runs;
mod schedules;
mod waiting;
mod workers;

use penstock_common::pipeline::Task;

use super::model::p;
use super::world::World;

/// A run `r` of one task `a`.
pub(super) fn one(task: Task) -> World {
    let mut world = World::with(p([("a", task)]), 1);
    world.submit("r");
    world.forget_log();
    world
}
