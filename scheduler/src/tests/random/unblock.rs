//! `explain` taken at its word: every waiting task has a chain of reasons, each is so, and whoever does what the first of them asks for
//! gets somewhere; in the end everything has run.

use penstock_common::record::TaskRecord;
use penstock_common::{Fence, RunId, State, TaskKey};
use proptest::prelude::*;

use super::super::model::{Outcome, Worker};
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

/// What was done about a link, and so what must have come of it.
enum Did {
    /// It asks for nothing, or for nothing that there is.
    Nothing,
    /// What it asks for: the chain is another one now.
    Asked,
    /// What it asks for: the chain is another one now, or an event says that somebody whose turn comes first took what was freed.
    Freed(Box<dyn Fn(&str) -> bool>),
    /// What it names was unblocked in turn, and something came of that.
    Followed,
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
        let chain = self.world.leader.explain(run, task).unwrap();
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
            self.unblock(&run, &task);
        }
        panic!("it comes to no end: {:?}", self.waiting());
    }

    /// Does what the first link that asks for something asks for, and sees that it was not in vain.
    fn unblock(&mut self, run: &RunId, task: &TaskKey) {
        let chain = self.explain(run, task);
        for why in &chain {
            self.world.log.clear();
            let did = self.acts_on(run, task, why);
            self.world.settle();
            let same = || self.world.leader.explain(run, task).as_ref() == Some(&chain);
            let moved = match did {
                Did::Nothing => continue,
                Did::Asked => !same(),
                Did::Freed(takes) => self.world.log.iter().any(|line| takes(line)) || !same(),
                Did::Followed => true,
            };
            return assert!(moved, "{run}/{task}: what {why:?} of {chain:?} asks for changed nothing: {:#?}", self.world.log);
        }
        let all: Vec<_> = self.waiting().into_iter().map(|(r, t)| format!("{r}/{t}: {:?}", self.world.leader.explain(&r, &t))).collect();
        panic!(
            "{run}/{task}: nothing in {chain:?} can be acted on; {all:#?} {:?} {:?}",
            self.world.leader.pools(),
            self.world.leader.workers()
        );
    }

    fn acts_on(&mut self, run: &RunId, task: &TaskKey, why: &Why) -> Did {
        match why {
            Why::Instances { .. } => return Did::Nothing,
            Why::Upstream { task: above, .. } => {
                let (chain, its) = (self.explain(run, task), self.explain(run, above));
                assert!(its.iter().all(|why| chain.contains(why)), "{run}/{task}: {chain:?} does not go on with {above}: {its:?}");
                self.unblock(run, above);
                return Did::Followed;
            }
            Why::Running { worker, attempt, .. } => {
                let model = &self.world.workers[worker.as_str()];
                let fences: Vec<Fence> =
                    model.running.iter().filter(|(_, l)| l.run == *run && l.number == *attempt).map(|(f, _)| *f).collect();
                let worker = NAMES.into_iter().find(|n| *n == worker.as_str()).unwrap();
                fences.into_iter().for_each(|fence| self.finish(worker, fence));
            }
            Why::RunQueued { active, .. } => match self.world.leader.run(&active[0]).unwrap().cancel {
                Some(_) => return self.unblock_one_of(&active[0]),
                None => {
                    drop(self.world.cancel_now(active[0].as_str()).unwrap());
                    self.world.settle();
                    // It keeps its place until what runs of it has stopped.
                    if self.world.leader.run(&active[0]).is_some_and(|run| run.cancel.is_some() && !run.state.is_terminal()) {
                        return Did::Followed;
                    }
                }
            },
            Why::RunPaused { run, .. } => drop(self.world.pause(run.as_str(), false).unwrap()),
            Why::PipelinePaused { pipeline, .. } => drop(self.world.pause_pipeline(&pipeline.to_string(), false).unwrap()),
            // If nothing of it runs, teardowns go on: what these wait for comes next in the chain.
            Why::Cancelling { .. } | Why::MaxActiveTasks { .. } => {
                let Some((worker, fence)) = self.running_of(run) else { return Did::Nothing };
                self.finish(worker, fence);
                let of = format!("{run}: ");
                return Did::Freed(Box::new(move |line| line.starts_with(&of) && line.contains(" fence ")));
            }
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
            Why::MaxParallel { .. } => {
                let all = self.world.leader.tasks(run, 0, usize::MAX);
                let runs = |t: &&TaskRecord| t.id.task == task.task && t.instance.is_some() && t.state == State::Running;
                let one = all.iter().find(runs).unwrap().id.clone();
                self.unblock(run, &one);
                // A sensor between two probes, or a child run that goes on, keeps its place: then the chain may be as it was.
                if self.world.leader.task(run, &one).is_some_and(|one| one.state == State::Running) {
                    return Did::Followed;
                }
                let (own, siblings) = (format!("{run}: {one}"), format!("{run}: {}[", one.task));
                return Did::Freed(Box::new(move |line| line.starts_with(&siblings) && !line.starts_with(&own)));
            }
            Why::PoolFull { holders, .. } => {
                let (worker, fence) = self.fence_of(&holders[0].0, &holders[0].1).unwrap();
                self.finish(worker, fence);
            }
            Why::PoolReserved { run, task, .. } => {
                self.unblock(run, task);
                return Did::Followed;
            }
            Why::PoolTooSmall { pool, wants, .. } => drop(self.world.pool(pool.as_str(), *wants).unwrap()),
            Why::NoWorker { queue, labels } => {
                let queue = ["default", "big"].into_iter().find(|q| *q == queue.as_str()).unwrap();
                let labels = if labels.is_empty() { Vec::new() } else { vec![("gpu", "yes")] };
                self.attach(1, vec![queue], labels);
            }
            Why::WorkersClosed { .. } => drop(self.world.drain("w0", false).unwrap()),
            Why::NoSlot { queue, labels, .. } => {
                let running = self.open(queue.as_str(), labels).find_map(|(name, w)| Some((name, *w.running.keys().next()?)));
                match running {
                    Some((worker, fence)) => {
                        self.finish(worker, fence);
                        let to = format!(" to {worker}.");
                        return Did::Freed(Box::new(move |line| line.contains(" fence ") && line.contains(&to)));
                    }
                    // A worker of no slots: another one is asked for.
                    None => self.attach(1, vec!["default", "big"], vec![("gpu", "yes")]),
                }
            }
            // No pipeline of these worlds has a schedule, and nobody backfills.
            Why::Past { .. } | Why::NotCovered { .. } | Why::BackfillShare { .. } => panic!("{why:?} of {run}"),
            Why::MoreUpstreams { .. } | Why::Ended { .. } | Why::Quarantined { .. } => panic!("{run}/{task} waits and {why:?}"),
        }
        Did::Asked
    }

    fn fence_of(&self, run: &RunId, task: &TaskKey) -> Option<(&'static str, Fence)> {
        let all = self.world.workers.iter().flat_map(|(name, w)| w.running.iter().map(move |(fence, lease)| (*name, *fence, lease)));
        all.filter(|(_, _, lease)| lease.run == *run && lease.task == *task).map(|(name, fence, _)| (name, fence)).next()
    }

    /// A task of a run that waits is unblocked, or else one that runs ends.
    fn unblock_one_of(&mut self, run: &RunId) -> Did {
        let waiting = self.waiting().into_iter().find(|(of, _)| of == run).map(|(_, task)| task);
        let running = || self.running_of(run).map(|(worker, fence)| self.world.workers[worker].running[&fence].task.clone());
        let Some(task) = waiting.or_else(running) else { return Did::Nothing };
        self.unblock(run, &task);
        Did::Followed
    }

    fn running_of(&self, run: &RunId) -> Option<(&'static str, Fence)> {
        let all = self.world.workers.iter().flat_map(|(name, w)| w.running.iter().map(move |(fence, lease)| (*name, *fence, lease)));
        all.filter(|(_, _, lease)| lease.run == *run).map(|(name, fence, _)| (name, fence)).next()
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
            Why::NoWorker { queue, labels } => self.serving(queue.as_str(), labels).count() == 0,
            Why::WorkersClosed { queue, labels, workers } => {
                *workers > 0 && self.serving(queue.as_str(), labels).count() == *workers && self.open(queue.as_str(), labels).count() == 0
            }
            Why::NoSlot { queue, labels, workers, .. } => {
                let open: Vec<_> = self.open(queue.as_str(), labels).collect();
                *workers > 0 && open.len() == *workers && open.iter().all(|(_, w)| w.running.len() == w.slots as usize)
            }
            Why::Ended { .. } | Why::Quarantined { .. } | Why::Past { .. } | Why::NotCovered { .. } | Why::BackfillShare { .. } => false,
        };
        assert!(right, "{run}: {why:?} is not so");
    }

    fn serving(&self, queue: &str, labels: &[(String, String)]) -> impl Iterator<Item = (&'static str, &Worker)> {
        let serves = move |w: &Worker| {
            let has = |(k, v): &(String, String)| w.labels.contains(&(k.as_str(), v.as_str()));
            w.queues.contains(&queue) && labels.iter().all(has)
        };
        self.world.workers.iter().filter(move |(_, w)| serves(w)).map(|(name, w)| (*name, w))
    }

    /// Of those that serve it, who take something new.
    fn open(&self, queue: &str, labels: &[(String, String)]) -> impl Iterator<Item = (&'static str, &Worker)> {
        let closed: Vec<_> = self.world.leader.workers().into_iter().filter(|view| view.closed).map(|view| view.worker).collect();
        self.serving(queue, labels).filter(move |(name, _)| !closed.iter().any(|worker| worker.as_str() == *name))
    }
}
