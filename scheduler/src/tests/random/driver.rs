//! Who makes the steps: clients, workers, time and failovers.

use std::collections::BTreeMap;

use penstock_common::limits::KEEP_UNSUCCESSFUL_MS;
use penstock_common::pipeline::{Action, Pipeline, Task};
use penstock_common::{Fence, Millis, Reason, RunNo, State};

use super::super::model::{Outcome, report, run_id, s};
use super::super::people::submit;
use super::super::world::World;
use super::shapes::{POOLS, Shape, built, kids, name};
use super::steps::Step;
use crate::{Answer, Input, Rejection};

const WORKERS: [&str; 4] = ["w0", "w1", "w2", "w3"];

pub(super) struct Driver {
    pub(super) world: World,
    shapes: Vec<Shape>,
    submitted: Vec<String>,
    /// Fences that were reported once, by worker.
    reported: BTreeMap<&'static str, Vec<Fence>>,
    draws: u64,
}

impl Driver {
    pub(super) fn new(shapes: Vec<Shape>, hold: usize) -> Self {
        let mut world = World::new();
        world.pool(POOLS[0], 3).unwrap();
        world.pool(POOLS[1], 6).unwrap();
        kids().into_iter().for_each(|kid| drop(world.register(kid)));
        for (which, shape) in shapes.iter().enumerate() {
            world.register(built(which, shape));
        }
        world.hold = hold;
        world.define(WORKERS[0], 3, &["default"], &[]);
        world.define(WORKERS[1], 2, &["default", "big"], &[]);
        world.define(WORKERS[2], 4, &["default", "big"], &[("gpu", "yes"), ("zone", "1")]);
        world.define(WORKERS[3], 2, &["big"], &[("gpu", "no")]);
        world.hello(WORKERS[0]);
        world.hello(WORKERS[2]);
        Self { world, shapes, submitted: Vec::new(), reported: BTreeMap::new(), draws: 0 }
    }

    /// A run that was asked for, or one that a task started.
    fn run(&self, n: u8) -> Option<String> {
        let live: Vec<String> = self.world.leader.list(&Default::default(), 100).into_iter().map(|r| r.id.to_string()).collect();
        let all: Vec<&String> = self.submitted.iter().chain(live.iter().filter(|id| !self.submitted.contains(id))).collect();
        (!all.is_empty()).then(|| all[n as usize % all.len()].clone())
    }

    /// Selectors of tasks that a run has, instances among them.
    fn selectors(&self, run: &str, tasks: &[(u8, u8)]) -> Vec<String> {
        let there = self.world.leader.tasks(&run_id(run), 0, usize::MAX);
        let of = |(task, plus): &(u8, u8)| {
            let task = &there.get(*task as usize % there.len().max(1))?.id;
            Some(format!("{}{task}{}", if plus & 1 == 1 { "+" } else { "" }, if plus & 2 == 2 { "+" } else { "" }))
        };
        tasks.iter().filter_map(of).collect()
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.world.now += 1;
        match step {
            Step::Finish { which, outcome, lost } => self.finish(*which, outcome, *lost),
            Step::Hello(_)
            | Step::Leave(_)
            | Step::Die { .. }
            | Step::Restart(_)
            | Step::Silence(_)
            | Step::Unplug(_)
            | Step::GiveUp
            | Step::ReportAgain(_)
            | Step::ReportStale(..) => self.worker_step(step),
            Step::Tick | Step::Wait(_) | Step::Commit(_) | Step::FailOver(_) | Step::Archived | Step::ArchivedWrongly(_) => {
                self.leader_step(step);
            }
            _ => self.person_step(step),
        }
    }

    fn person_step(&mut self, step: &Step) {
        let (w, shapes) = (&mut self.world, &self.shapes);
        let which = |n: &u8| *n as usize % shapes.len();
        match step {
            Step::Register(pipeline, version) => {
                let which = which(pipeline);
                let description = format!("{}", version % 4);
                let max_active_runs = [None, Some(1), Some(2)][*version as usize % 3];
                allow(w.try_register(Pipeline { description, max_active_runs, ..built(which, &shapes[which]) }), |r| {
                    matches!(r, Rejection::UnknownPool { .. })
                });
            }
            Step::Unregister(pipeline) => drop(w.unregister(&format!("p{}", which(pipeline))).unwrap()),
            Step::Submit { pipeline, run, only, go } => {
                let (which, run) = (which(pipeline), format!("r{}", run % 12));
                let mut asked = submit(&run, &format!("p{which}"));
                asked.params.insert("go".to_owned(), (*go).into());
                let count = built(which, &shapes[which]).tasks.len();
                let plus = |on: bool| if on { "+" } else { "" };
                let only = only.map(|(t, p)| format!("{}{}{}", plus(p & 1 == 1), name(t as usize % count), plus(p & 2 == 2)));
                asked.only = only.iter().map(|text| text.parse().unwrap()).collect();
                match w.submit_as(asked) {
                    Ok(_) => self.submitted.push(run),
                    Err(Rejection::RunExists(_) | Rejection::Unregistered { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Pool(pool, slots) => {
                allow(w.pool(POOLS[*pool as usize % 2], *slots), |r| matches!(r, Rejection::PoolInUse { .. }));
            }
            Step::PausePipeline(pipeline, paused) => {
                let names = ["p0", "kid0", "p1"];
                let name = names[*pipeline as usize % 3];
                allow(w.pause_pipeline(name, *paused), |r| matches!(r, Rejection::UnknownPipeline(_)));
            }
            Step::Drain(worker, drained) => allow(w.drain(of(*worker), *drained), |r| matches!(r, Rejection::UnknownWorker(_))),
            Step::Verdict(which, yes) => {
                let asked = w.asked();
                if let Some((run, task)) = asked.get(*which as usize % asked.len().max(1)) {
                    w.says(run, task, *yes).unwrap();
                }
            }
            Step::Reopen(n) => {
                let gone: Vec<String> = w.checker.runs.values().filter(|r| r.archived.is_some()).map(|r| r.id.to_string()).collect();
                let known: Vec<&String> = gone.iter().filter(|id| w.history.contains_key(&run_id(id))).collect();
                if let Some(run) = known.get(*n as usize % known.len().max(1)) {
                    allow(w.reopen(&(*run).clone()), |r| matches!(r, Rejection::Refused(_)));
                }
            }
            Step::Cancel(n, _) | Step::Rerun(n, _) | Step::RerunOf(n, ..) | Step::Mark { run: n, .. } | Step::Pause(n, _) => {
                if let Some(run) = self.run(*n) {
                    self.run_step(step, &run);
                }
            }
            _ => unreachable!("no person's step"),
        }
    }

    fn run_step(&mut self, step: &Step, run: &str) {
        use Rejection::{NotEnded, NothingToRerun, Refused, RequestReused, UnknownRun, WrongState};
        let unknown = |r: &Rejection| matches!(r, UnknownRun(_) | RequestReused(_) | Refused(_));
        let of = |tasks: &[(u8, u8)]| self.selectors(run, tasks);
        match step {
            Step::Cancel(_, now) => {
                let answer = if *now { self.world.cancel_now(run) } else { self.world.cancel(run) };
                allow(answer, unknown);
            }
            Step::Rerun(_, request) => {
                let refused = |r: &Rejection| unknown(r) || matches!(r, NotEnded { .. } | NothingToRerun(_));
                allow(self.world.rerun(run, &format!("q{}", request % 16)), refused);
            }
            Step::RerunOf(_, request, tasks) => {
                let tasks = of(tasks);
                let names: Vec<&str> = tasks.iter().map(String::as_str).collect();
                let refused = |r: &Rejection| unknown(r) || matches!(r, NotEnded { .. } | NothingToRerun(_));
                allow(self.world.rerun_of(run, &format!("q{}", request % 16), &names), refused);
            }
            Step::Mark { request, tasks, state, .. } => {
                let tasks = of(tasks);
                let names: Vec<&str> = tasks.iter().map(String::as_str).collect();
                let state = [State::Success, State::Failed, State::Skipped][*state as usize % 3];
                let refused = |r: &Rejection| unknown(r) || matches!(r, NotEnded { .. } | WrongState { .. });
                allow(self.world.mark(run, &format!("q{}", request % 16), &names, state), refused);
            }
            Step::Pause(_, paused) => allow(self.world.pause(run, *paused), unknown),
            _ => unreachable!("no step of a run"),
        }
    }

    /// What a program that succeeds leaves: numbers, a list, a choice, and as many records as may be too few.
    fn success(&mut self, fence: Fence, spec: &Task) -> Outcome {
        self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        success(&self.world, fence, spec, self.draws >> 33)
    }

    fn finish(&mut self, which: u8, outcome: &Outcome, lost: bool) {
        let w = &mut self.world;
        let running: Vec<_> = w.workers.iter().flat_map(|(name, model)| model.running.keys().map(|f| (*name, *f))).collect();
        let Some(&(name, fence)) = running.get(which as usize % running.len().max(1)) else { return };
        let model = w.workers.get_mut(name).unwrap();
        // What a worker was asked to stop it stops, now and then too late.
        let stopped = model.stopping.contains(&fence) && !which.is_multiple_of(4);
        if lost {
            model.connected = false;
        }
        let spec = model.running[&fence].spec.clone();
        let outcome = match outcome {
            _ if stopped => Outcome::Cancelled,
            Outcome::Success => self.success(fence, &spec),
            other => other.clone(),
        };
        self.world.finish(name, fence, &outcome);
        self.reported.entry(name).or_default().push(fence);
    }

    fn worker_step(&mut self, step: &Step) {
        let w = &mut self.world;
        match step {
            Step::Hello(worker) => w.hello(of(*worker)),
            Step::Leave(worker) => {
                let model = w.workers.get_mut(of(*worker)).unwrap();
                model.leaving = model.session.is_some();
                if let (Some(session), true) = (model.session.clone(), model.connected) {
                    w.feed(Input::Leaving { session }).unwrap();
                }
            }
            Step::Die { worker, seen: true } => w.kill(of(*worker)),
            Step::Die { worker, seen: false } => drop(w.die(of(*worker))),
            Step::Restart(worker) => {
                w.die(of(*worker));
                w.hello(of(*worker));
            }
            Step::Silence(worker) => w.silence(of(*worker)),
            Step::Unplug(worker) => w.workers.get_mut(of(*worker)).unwrap().connected = false,
            Step::GiveUp => give_up(w),
            Step::ReportAgain(worker) => {
                let fence = w.workers[of(*worker)].finished.keys().next().copied();
                if let Some(fence) = fence {
                    w.report(of(*worker), fence);
                }
            }
            Step::ReportStale(worker, which) => {
                let name = of(*worker);
                let old = self.reported.get(name).map_or(Fence(u64::from(*which)), |list| list[*which as usize % list.len()]);
                // A fence of another worker, an old one, one that never was; but not one that this worker runs.
                if let Some(session) = w.workers[name].session.clone()
                    && !w.leader.state().held.get(&session).is_some_and(|held| held.contains(&old))
                {
                    let report = Box::new(report(&Outcome::Success, w.now));
                    let answer = w.feed(Input::Report { session, fence: old, report }).unwrap();
                    assert_eq!(answer, Answer::Reported { current: false }, "T5");
                }
            }
            _ => unreachable!("no worker's step"),
        }
    }

    fn leader_step(&mut self, step: &Step) {
        let w = &mut self.world;
        match step {
            Step::Tick => {
                let at = w.leader.next_deadline().map_or(w.now, |at| at.0);
                w.now = w.now.max(at.min(w.now + 5_000));
                w.tick();
            }
            Step::Wait(ms) => w.pass(Millis(*ms)),
            Step::Commit(n) => (0..n % 8).for_each(|_| w.commit()),
            Step::FailOver(n) => {
                (0..n % 8).for_each(|_| w.commit());
                w.fail_over();
                self.reported.clear();
            }
            Step::Archived => {
                if let Some(run) = w.archives.pop() {
                    w.feed(Input::Archived { run }).unwrap();
                }
            }
            Step::ArchivedWrongly(run) => {
                // The driver of this leader says it only for what this leader asked for; a run that lives again survives it.
                let run = RunNo(u64::from(*run));
                if w.leader.state().runs.get(&run).is_none_or(|r| !r.record.state.is_terminal()) {
                    w.feed(Input::Archived { run }).unwrap();
                }
            }
            _ => unreachable!("no step of time"),
        }
    }

    /// The faults stop: everything that is accepted ends, and nothing is left behind.
    pub(super) fn heal(mut self) {
        self.calm();
        for _ in 0..20_000 {
            let w = &mut self.world;
            if w.leader.leases() == 0 && w.leader.state().runs.values().all(|r| r.record.state.is_terminal()) {
                break;
            }
            let asked = w.asked();
            if let Some((name, fence)) = w.any_running() {
                w.now += 1;
                let spec = w.workers[name].running[&fence].spec.clone();
                let outcome = if matches!(spec.action, Action::Wait(_)) { Outcome::Success } else { self.success(fence, &spec) };
                self.world.finish(name, fence, &outcome);
            } else if let Some((run, task)) = asked.first() {
                w.says(run, task, true).unwrap();
            } else {
                w.now = w.now.max(w.leader.next_deadline().unwrap().0);
                w.tick();
            }
        }
        let w = &mut self.world;
        for (no, run) in &w.leader.state().runs {
            assert!(
                run.record.state.is_terminal(),
                "liveness: run {no} is {}: {:?}",
                run.record.state,
                w.leader.explain_run(&run.record.id)
            );
        }
        for run in &w.acknowledged {
            let known = w.leader.run(run).is_some() || w.checker.runs.values().any(|r| r.id == *run);
            assert!(known, "R5: run {run} was acknowledged and is lost");
        }
        for worker in w.workers.values() {
            assert_eq!(worker.running.len(), 0, "a worker runs what nobody holds");
        }
        w.checker.reloads(&mut w.leader);
        nothing_is_left(w);
    }

    /// What was broken, paused, drained or made too small is as it should be.
    pub(super) fn calm(&mut self) {
        let w = &mut self.world;
        w.commit_all();
        w.hold = 0;
        POOLS.iter().for_each(|pool| drop(w.pool(pool, 9).unwrap()));
        let pipelines: Vec<String> = w.leader.pipelines().iter().map(|p| p.name.to_string()).collect();
        pipelines.iter().for_each(|name| drop(w.pause_pipeline(name, false).unwrap()));
        let paused: Vec<String> = w
            .leader
            .list(&Default::default(), 1_000)
            .iter()
            .filter(|r| r.paused && !r.state.is_terminal())
            .map(|r| r.id.to_string())
            .collect();
        paused.iter().for_each(|run| drop(w.pause(run, false).unwrap()));
        for name in WORKERS {
            allow(w.drain(name, false), |r| matches!(r, Rejection::UnknownWorker(_)));
            if w.workers[name].leaving {
                w.kill(name);
            }
            w.hello(name);
            let unreported: Vec<_> = w.workers[name].finished.keys().copied().collect();
            for fence in unreported {
                w.report(name, fence);
            }
        }
        give_up(w);
    }
}

/// Memory returns to where it was.
fn nothing_is_left(w: &mut World) {
    w.pass(Millis(KEEP_UNSUCCESSFUL_MS));
    w.pass(s(240));
    while let Some(run) = w.archives.pop() {
        w.feed(Input::Archived { run }).unwrap();
    }
    w.pass(Millis(KEEP_UNSUCCESSFUL_MS));
    let (state, term) = (w.leader.state(), &w.leader.term);
    assert_eq!(
        (state.runs.len(), state.run_ids.len(), state.live_tasks, state.held.len(), state.answers.len(), state.archived.len()),
        (0, 0, 0, 0, 0, 0)
    );
    assert_eq!((state.children.len(), state.pool_used.len(), state.leases.len()), (0, 0, 0));
    assert_eq!(
        (term.lanes.queued().len(), term.doomed.len(), term.kept.len(), term.archiving.len(), term.timers.all().len()),
        (0, 0, 0, 0, 1)
    );
    assert_eq!((term.opening.len(), term.acting.len(), term.ending.len(), term.stopping.len()), (0, 0, 0, 0));
    assert_eq!(term.gates.known(), std::collections::BTreeSet::new());
}

/// What a program that succeeds leaves, by chance.
pub(super) fn success(w: &World, fence: Fence, spec: &Task, draw: u64) -> Outcome {
    if matches!(spec.action, Action::Wait(_)) && !draw.is_multiple_of(3) {
        return Outcome::NotYet(draw % 9 * 1_000);
    }
    let list: Vec<u64> = (0..draw / 7 % 4).collect();
    let mut outputs = vec![("n", (draw % 6).to_string()), ("list", serde_json::to_string(&list).unwrap())];
    if let Some(holder) = w.leader.state().leases.get(&fence).filter(|_| spec.branch) {
        let run = &w.checker.runs[&holder.run];
        let mut names: Vec<String> = run.directly_below(run.node(holder.task)).into_iter().map(|t| run.name(t)).collect();
        names.retain(|name| (draw / 11).is_multiple_of(4) || (draw >> (name.len() + name.as_bytes()[2] as usize % 16)) & 1 == 1);
        if draw.is_multiple_of(29) {
            names.push("nobody".to_owned());
        }
        outputs.push(("branch", serde_json::to_string(&names).unwrap()));
    }
    Outcome::Full { outputs, items: Some((draw / 13 % 4) as u32), records: (draw / 17 % 9) as f64 }
}

pub(super) fn of(worker: u8) -> &'static str {
    WORKERS[worker as usize % WORKERS.len()]
}

fn allow<T>(result: Result<T, Rejection>, expected: impl Fn(&Rejection) -> bool) {
    if let Err(rejection) = result {
        assert!(expected(&rejection), "{rejection}");
    }
}

/// Sessions that hold leases, or are attached, and whose worker is not connected.
fn give_up(w: &mut World) {
    let known: Vec<_> = w.leader.holding_sessions().into_iter().chain(w.checker.sessions.keys().cloned()).collect();
    for session in known {
        let worker = w.workers.values().find(|m| m.session.as_ref() == Some(&session));
        if worker.is_none_or(|m| !m.connected) {
            w.gone(&session, worker.is_none());
        }
    }
}

impl World {
    /// Tasks that a person is asked about.
    pub(in crate::tests) fn asked(&self) -> Vec<(String, String)> {
        let live = self.leader.state().runs.values().filter(|run| run.record.state == State::Running);
        let mut asked = Vec::new();
        for run in live {
            for index in 0..run.slots() {
                let person = run.spec(index).action.kind() == "approve" && run.task(index).reason == Some(Reason::Waiting);
                if !run.is_gone(index) && (person || run.task(index).reason == Some(Reason::Held)) {
                    asked.push((run.record.id.to_string(), run.key(index).to_string()));
                }
            }
        }
        asked
    }
}
