//! `explain` taken at its word: every waiting task has a chain of reasons, each is so, and whoever does what the first of them asks for
//! gets somewhere; in the end everything has run.

use std::collections::BTreeSet;

use penstock_common::record::TaskRecord;
use penstock_common::{Fence, RunId, State, TaskKey};
use proptest::prelude::*;

use super::super::model::Outcome;
use super::super::world::World;
use super::cases;
use super::driver::success;
use super::shapes::{POOLS, Shape, built, kids, shape};
use crate::explain::Why;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(32), max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_explain_asks_for_unblocks(shapes in prop::collection::vec(shape(), 1..3), pools in (0..4u32, 0..6u32), slots in 0..4u32, draws: u64) {
        let shapes: Vec<Shape> = shapes.into_iter().map(Shape::without_clocks).collect();
        let mut unblocking = Unblocking::new(&shapes, pools, slots, draws);
        unblocking.run();
    }
}

struct Unblocking {
    world: World,
    draws: u64,
    attached: usize,
}

const NAMES: [&str; 12] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10", "w11"];

impl Unblocking {
    fn new(shapes: &[Shape], pools: (u32, u32), slots: u32, draws: u64) -> Self {
        let mut world = World::new();
        world.pool(POOLS[0], pools.0).unwrap();
        world.pool(POOLS[1], pools.1).unwrap();
        kids().into_iter().for_each(|kid| drop(world.register(kid)));
        let mut unblocking = Self { world, draws, attached: 0 };
        unblocking.attach(slots, vec!["default"], Vec::new());
        for (which, shape) in shapes.iter().enumerate() {
            let w = &mut unblocking.world;
            w.register(built(which, shape));
            for run in 0..3 {
                w.submit_to(&format!("r{which}{run}"), &format!("p{which}")).unwrap();
            }
            if draws & 1 == 1 {
                // Where it has not ended already, with nothing to do.
                drop(w.pause(&format!("r{which}1"), true));
            }
        }
        if draws & 2 == 2 {
            unblocking.world.pause_pipeline("kid0", true).unwrap();
        }
        if draws & 4 == 4 {
            unblocking.world.drain("w0", true).unwrap();
        }
        unblocking
    }

    fn draw(&mut self) -> usize {
        self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 33) as usize
    }

    fn attach(&mut self, slots: u32, queues: Vec<&'static str>, labels: Vec<(&'static str, &'static str)>) {
        let name = NAMES[self.attached];
        self.attached += 1;
        self.world.attach_with(name, slots, &queues, &labels);
    }

    /// Tasks that have not ended and hold no lease.
    fn waiting(&self) -> Vec<(RunId, TaskKey)> {
        let mut waiting = Vec::new();
        for run in self.world.leader.list(&Default::default(), 1_000).into_iter().filter(|run| !run.state.is_terminal()) {
            for task in self.world.leader.tasks(&run.id, 0, usize::MAX) {
                let runs = task.attempts.last().is_some_and(|a| a.state == State::Running && a.reason.is_none());
                if !task.state.is_terminal() && !runs {
                    waiting.push((run.id.clone(), task.id));
                }
            }
        }
        waiting
    }

    fn explain(&self, run: &RunId, task: &TaskKey) -> Vec<Why> {
        let chain = self.world.leader.explain(run, Some(task)).unwrap();
        assert!(!chain.is_empty(), "{run}/{task} waits and nobody knows why");
        chain.iter().for_each(|why| self.is_so(run, why));
        chain
    }

    fn run(&mut self) {
        for _ in 0..3_000 {
            self.world.settle();
            let waiting = self.waiting();
            for (run, task) in &waiting {
                self.explain(run, task);
            }
            if waiting.is_empty() {
                let Some((name, fence)) = self.world.any_running() else { return };
                self.finish(name, fence);
                continue;
            }
            let (run, task) = waiting[self.draw() % waiting.len()].clone();
            let (before, then) = (self.world.leader.explain(&run, Some(&task)), self.world.now);
            self.world.log.clear();
            self.unblock(&run, &task);
            self.world.settle();
            // A probe that is due may wait for its turn now: then time has passed and nothing else.
            let moved = !self.world.log.is_empty() || self.world.now > then;
            let moved = moved || self.world.leader.explain(&run, Some(&task)) != before;
            assert!(moved, "what {run}/{task} asked for changed nothing: {before:?}");
        }
        panic!("it comes to no end: {:?}", self.waiting());
    }

    /// Does what the first link that asks for something asks for.
    fn unblock(&mut self, run: &RunId, task: &TaskKey) {
        let chain = self.explain(run, task);
        for why in &chain {
            if self.acts_on(run, why) {
                return;
            }
        }
        let all: Vec<_> =
            self.waiting().into_iter().map(|(r, t)| format!("{r}/{t}: {:?}", self.world.leader.explain(&r, Some(&t)))).collect();
        panic!(
            "{run}/{task}: nothing in {chain:?} can be acted on; {all:#?} {:?} {:?}",
            self.world.leader.pools(),
            self.world.leader.workers()
        );
    }

    fn acts_on(&mut self, run: &RunId, why: &Why) -> bool {
        match why {
            Why::Upstream { .. } | Why::MoreUpstreams { .. } | Why::Instances { .. } => return false,
            Why::Running { worker, attempt, .. } => {
                let model = &self.world.workers[worker.as_str()];
                let fences: Vec<Fence> =
                    model.running.iter().filter(|(_, l)| l.run == *run && l.number == *attempt).map(|(f, _)| *f).collect();
                let worker = NAMES.into_iter().find(|n| *n == worker.as_str()).unwrap();
                fences.into_iter().for_each(|fence| self.finish(worker, fence));
            }
            Why::RunQueued { active, .. } => match self.world.leader.run(&active[0]).unwrap().cancel {
                Some(_) => return self.unblock_one_of(&active[0]),
                None => drop(self.world.cancel_now(active[0].as_str()).unwrap()),
            },
            Why::RunPaused { run, .. } => drop(self.world.pause(run.as_str(), false).unwrap()),
            Why::PipelinePaused { pipeline, .. } => drop(self.world.pause_pipeline(&pipeline.to_string(), false).unwrap()),
            // If nothing of it runs, teardowns go on: what these wait for comes next in the chain.
            Why::Cancelling { .. } => return self.end_one_of(run),
            Why::RetryAt { at, .. } | Why::ProbeAt { at, .. } => {
                self.world.now = at.0;
                self.world.tick();
            }
            Why::Person { run, task, .. } | Why::Held { run, task, .. } => {
                drop(self.world.says(run.as_str(), &task.to_string(), true).unwrap());
            }
            Why::Child { run, .. } => {
                let child = run.clone();
                return self.unblock_one_of(&child);
            }
            Why::MaxParallel { running, .. } => {
                let all = self.world.leader.tasks(run, 0, usize::MAX);
                let running: Vec<_> =
                    all.iter().filter(|t| t.mapped.as_ref().is_some_and(|m| m.counts[State::Running as usize] == *running)).collect();
                let of_one =
                    |t: &&TaskRecord| running.iter().any(|m| m.id.task == t.id.task) && t.instance.is_some() && t.state == State::Running;
                let one = all.iter().find(of_one).unwrap().id.clone();
                match self.fence_of(run, &one) {
                    Some((worker, fence)) => self.finish(worker, fence),
                    None => self.unblock(run, &one),
                }
            }
            Why::MaxActiveTasks { .. } => return self.end_one_of(run),
            Why::PoolFull { holders, .. } => {
                let (worker, fence) = self.fence_of(&holders[0].0, &holders[0].1).unwrap();
                self.finish(worker, fence);
            }
            Why::PoolReserved { run, task, .. } => self.unblock(run, task),
            Why::PoolTooSmall { pool, wants, .. } => drop(self.world.pool(pool.as_str(), *wants).unwrap()),
            Why::NoWorker { queue, labels } => {
                let queue = ["default", "big"].into_iter().find(|q| *q == queue.as_str()).unwrap();
                let labels = if labels.is_empty() { Vec::new() } else { vec![("gpu", "yes")] };
                self.attach(1, vec![queue], labels);
            }
            Why::WorkersClosed { .. } => drop(self.world.drain("w0", false).unwrap()),
            Why::NoSlot { queue, .. } => {
                let serving = self.world.workers.iter().filter(|(_, w)| w.queues.contains(&queue.as_str()));
                let running: Vec<_> = serving.filter_map(|(name, w)| Some((*name, *w.running.keys().next()?))).collect();
                match running.first() {
                    Some((worker, fence)) => self.finish(worker, *fence),
                    // A worker of no slots: another one is asked for.
                    None => self.attach(1, vec!["default", "big"], vec![("gpu", "yes")]),
                }
            }
            Why::Ended { .. } | Why::Quarantined { .. } => panic!("a task of {run} waits and {why:?}"),
        }
        true
    }

    fn fence_of(&self, run: &RunId, task: &TaskKey) -> Option<(&'static str, Fence)> {
        let all = self.world.workers.iter().flat_map(|(name, w)| w.running.iter().map(move |(fence, lease)| (*name, *fence, lease)));
        all.filter(|(_, _, lease)| lease.run == *run && lease.task == *task).map(|(name, fence, _)| (name, fence)).next()
    }

    fn unblock_one_of(&mut self, run: &RunId) -> bool {
        match self.waiting().into_iter().find(|(of, _)| of == run) {
            Some((run, task)) => self.unblock(&run, &task),
            None => return self.end_one_of(run),
        }
        true
    }

    fn end_one_of(&mut self, run: &RunId) -> bool {
        let all = self.world.workers.iter().flat_map(|(name, w)| w.running.iter().map(move |(fence, lease)| (*name, *fence, lease)));
        let one = all.filter(|(_, _, lease)| lease.run == *run).map(|(name, fence, _)| (name, fence)).next();
        one.map(|(worker, fence)| self.finish(worker, fence)).is_some()
    }

    fn finish(&mut self, worker: &'static str, fence: Fence) {
        let draw = self.draw() as u64;
        let w = &mut self.world;
        let spec = w.workers[worker].running[&fence].spec.clone();
        let stopped = w.workers[worker].stopping.contains(&fence);
        let outcome = match draw % 8 {
            _ if stopped => Outcome::Cancelled,
            0 => Outcome::Exit(1),
            1 => Outcome::Skip,
            _ => success(w, fence, &spec, draw / 8),
        };
        w.now += 1;
        w.finish(worker, fence, &outcome);
    }

    /// Each link says what is so.
    fn is_so(&self, run: &RunId, why: &Why) {
        let w = &self.world;
        let record = w.leader.run(run).unwrap();
        let right = match why {
            Why::Upstream { task, state, .. } => {
                let above = w.leader.task(run, task).unwrap();
                above.state == *state && !state.is_terminal()
            }
            Why::MoreUpstreams { count } => *count > 0,
            Why::Instances { open, of } => *open > 0 && open <= of,
            Why::Running { worker, attempt, .. } => {
                w.workers[worker.as_str()].running.values().any(|lease| lease.run == *run && lease.number == *attempt)
            }
            Why::RunQueued { limit, active, .. } => record.state == State::Pending && active.len() >= *limit as usize,
            Why::RunPaused { by, .. } => record.paused && by.as_ref().is_some_and(|by| &*by.by == "me"),
            Why::PipelinePaused { .. } => true,
            Why::Cancelling { reason, .. } => record.cancel == Some(*reason),
            Why::RetryAt { at, .. } | Why::ProbeAt { at, .. } => at.0 > w.now,
            Why::Person { run, task, .. } | Why::Held { run, task, .. } => w.asked().contains(&(run.to_string(), task.to_string())),
            Why::Child { run, state, stopping } => {
                let child = w.leader.run(run).unwrap();
                Some(child.state) == *state && !child.state.is_terminal() && (stopping.is_none() || child.cancel.is_some())
            }
            Why::MaxParallel { limit, running } | Why::MaxActiveTasks { limit, running } => running >= limit,
            Why::PoolFull { slots, used, wants, holders, .. } => used + wants > *slots && wants <= slots && !holders.is_empty(),
            Why::PoolReserved { pool, wants, .. } => {
                let view = w.leader.pools().into_iter().find(|p| p.name == *pool).unwrap();
                view.slots - view.used < *wants && *wants <= view.slots
            }
            Why::PoolTooSmall { slots, wants, .. } => wants > slots,
            Why::NoWorker { queue, labels } => self.serving(queue.as_str(), labels).is_empty(),
            Why::WorkersClosed { queue, workers } => {
                let serving = self.serving(queue.as_str(), &[]);
                *workers > 0 && serving.contains("w0") && w.leader.workers().iter().any(|v| v.worker.as_str() == "w0" && v.closed)
            }
            Why::NoSlot { workers, .. } => *workers > 0,
            Why::Ended { .. } | Why::Quarantined { .. } => false,
        };
        assert!(right, "{run}: {why:?} is not so");
    }

    fn serving(&self, queue: &str, labels: &[(String, String)]) -> BTreeSet<&'static str> {
        let serves = |w: &super::super::model::Worker| {
            let has = |(k, v): &(String, String)| w.labels.contains(&(k.as_str(), v.as_str()));
            w.queues.contains(&queue) && labels.iter().all(has)
        };
        self.world.workers.iter().filter(|(_, w)| serves(w)).map(|(name, _)| *name).collect()
    }
}
