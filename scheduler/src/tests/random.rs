//! Chance chooses pipelines and steps; every invariant is checked after each step, and then the faults stop and everything ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::limits::KEEP_UNSUCCESSFUL_MS;
use penstock_common::pipeline::{Jitter, Pipeline, Retries, Task};
use penstock_common::{Fence, Millis, Reason, State};
use proptest::prelude::*;

use super::support::{Outcome, World, ended, pipeline, run_id, s};
use crate::{Input, Rejection};

/// A task's knobs, each drawn apart so that they shrink apart.
#[derive(Debug, Clone)]
struct Knobs {
    /// One bit for each of the tasks before it that could be an upstream.
    upstreams: u64,
    retries: u32,
    jitter: bool,
    max_lost: u32,
    timeout: Option<u64>,
    queue_timeout: Option<u64>,
    priority: i32,
    big: bool,
    gpu: bool,
}

#[derive(Debug, Clone)]
struct Shape {
    tasks: Vec<Knobs>,
    max_active_runs: Option<u32>,
    run_timeout: Option<u64>,
}

fn knobs() -> impl Strategy<Value = Knobs> {
    let edges = prop_oneof![Just(0), any::<u64>().prop_map(|a| a & a.rotate_left(13) & a.rotate_left(29))];
    let budgets = (0..3u32, any::<bool>(), prop_oneof![Just(5u32), 0..3u32]);
    let times = (prop::option::weighted(0.2, 1..90u64), prop::option::weighted(0.1, 1..90u64));
    let place = (-1..2i32, prop::bool::weighted(0.2), prop::bool::weighted(0.15));
    (edges, budgets, times, place).prop_map(|(upstreams, (retries, jitter, max_lost), (timeout, queue_timeout), (priority, big, gpu))| {
        Knobs { upstreams, retries, jitter, max_lost, timeout, queue_timeout, priority, big, gpu }
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    let tasks = prop_oneof![prop::collection::vec(knobs(), 1..6), prop::collection::vec(knobs(), 1..=40)];
    (tasks, prop::option::of(1..3u32), prop::option::weighted(0.2, 30..300u64)).prop_map(|(tasks, max_active_runs, run_timeout)| Shape {
        tasks,
        max_active_runs,
        run_timeout,
    })
}

fn name(index: usize) -> String {
    format!("t{index:02}")
}

fn built(which: usize, shape: &Shape) -> Pipeline {
    let task = |(index, knobs): (usize, &Knobs)| {
        let upstreams = (0..index).filter(|i| knobs.upstreams >> i & 1 == 1);
        let jitter = if knobs.jitter { Jitter::Full } else { Jitter::None };
        let task = Task {
            depends_on: upstreams.map(|i| name(i).parse().unwrap()).collect(),
            retries: Retries { max: knobs.retries, delay: s(2), jitter, ..Retries::default() },
            max_lost: knobs.max_lost,
            timeout: knobs.timeout.map(s),
            queue_timeout: knobs.queue_timeout.map(s),
            priority: knobs.priority,
            queue: if knobs.big { "big" } else { "default" }.parse().unwrap(),
            labels: if knobs.gpu { [("gpu".to_owned(), "yes".to_owned())].into() } else { BTreeMap::new() },
            ..Task::noop()
        };
        (name(index), task)
    };
    Pipeline {
        max_active_runs: shape.max_active_runs,
        run_timeout: shape.run_timeout.map(s),
        ..pipeline(&format!("p{which}"), shape.tasks.iter().enumerate().map(task))
    }
}

/// One step. Numbers choose among what there is, modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Register(u8, u8),
    Submit(u8, u8),
    Cancel(u8),
    Rerun(u8, u8),
    Drain(u8, bool),
    Hello(u8),
    Leave(u8),
    Die {
        worker: u8,
        seen: bool,
    },
    Restart(u8),
    Silence(u8),
    Unplug(u8),
    /// The leader's timers give up sessions that did not come back.
    GiveUp,
    Finish {
        which: u8,
        outcome: Outcome,
        lost: bool,
    },
    ReportAgain(u8),
    ReportStale(u8, u8),
    Tick,
    Wait(u64),
    Commit(u8),
    FailOver(u8),
    Archived,
    ArchivedWrongly(u8),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        20 => Just(Outcome::Success),
        1 => (0..2_000usize).prop_map(Outcome::Output),
        1 => Just(Outcome::Output(70_000)),
        6 => (1..3).prop_map(Outcome::Exit),
        1 => Just(Outcome::Fail),
        2 => Just(Outcome::Skip),
        1 => Just(Outcome::Cancelled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    prop_oneof![
        1 => (n(), n()).prop_map(|(p, v)| Step::Register(p, v)),
        6 => (n(), n()).prop_map(|(p, r)| Step::Submit(p, r)),
        1 => n().prop_map(Step::Cancel),
        5 => (n(), n()).prop_map(|(r, q)| Step::Rerun(r, q)),
        2 => (n(), prop::bool::weighted(0.4)).prop_map(|(w, d)| Step::Drain(w, d)),
        8 => n().prop_map(Step::Hello),
        1 => n().prop_map(Step::Leave),
        3 => (n(), any::<bool>()).prop_map(|(worker, seen)| Step::Die { worker, seen }),
        3 => n().prop_map(Step::Restart),
        2 => n().prop_map(Step::Silence),
        2 => n().prop_map(Step::Unplug),
        2 => Just(Step::GiveUp),
        90 => (n(), outcome(), prop::bool::weighted(0.03)).prop_map(|(which, outcome, lost)| Step::Finish { which, outcome, lost }),
        2 => n().prop_map(Step::ReportAgain),
        2 => (n(), n()).prop_map(|(w, f)| Step::ReportStale(w, f)),
        8 => Just(Step::Tick),
        3 => (0..20_000u64).prop_map(Step::Wait),
        1 => (0..200_000u64).prop_map(Step::Wait),
        14 => n().prop_map(Step::Commit),
        1 => n().prop_map(Step::FailOver),
        4 => Just(Step::Archived),
        1 => n().prop_map(Step::ArchivedWrongly),
    ]
}

const WORKERS: [&str; 4] = ["w0", "w1", "w2", "w3"];

struct Driver {
    world: World,
    shapes: Vec<Shape>,
    submitted: Vec<String>,
    /// Fences that were reported once, by worker.
    reported: BTreeMap<&'static str, Vec<Fence>>,
}

impl Driver {
    fn new(shapes: Vec<Shape>, hold: usize) -> Self {
        let mut world = World::new();
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
        Self { world, shapes, submitted: Vec::new(), reported: BTreeMap::new() }
    }

    fn run(&self, n: u8) -> Option<String> {
        (!self.submitted.is_empty()).then(|| self.submitted[n as usize % self.submitted.len()].clone())
    }

    fn step(&mut self, step: &Step) {
        let w = &mut self.world;
        w.now += 1;
        match step {
            Step::Register(which, version) => {
                let which = *which as usize % self.shapes.len();
                let description = format!("{}", version % 4);
                w.register(Pipeline {
                    description,
                    max_active_runs: [None, Some(1), Some(2)][*version as usize % 3],
                    ..built(which, &self.shapes[which])
                });
            }
            Step::Submit(which, run) => {
                let (which, run) = (*which as usize % self.shapes.len(), format!("r{}", run % 12));
                match w.submit_to(&run, &format!("p{which}")) {
                    Ok(_) => self.submitted.push(run),
                    Err(Rejection::RunExists(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Cancel(run) => {
                if let Some(run) = self.run(*run) {
                    allow(self.world.cancel(&run), |r| matches!(r, Rejection::UnknownRun(_)));
                }
            }
            Step::Rerun(run, request) => {
                if let Some(run) = self.run(*run) {
                    let refused = |r: &Rejection| {
                        use Rejection::{NotEnded, NothingToRerun, RequestReused, UnknownRun};
                        matches!(r, UnknownRun(_) | RequestReused(_) | NotEnded { .. } | NothingToRerun(_))
                    };
                    allow(self.world.rerun(&run, &format!("q{}", request % 16)), refused);
                }
            }
            Step::Drain(worker, drained) => allow(w.drain(of(*worker), *drained), |r| matches!(r, Rejection::UnknownWorker(_))),
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
            Step::Finish { which, outcome, lost } => {
                let running: Vec<_> = w.workers.iter().flat_map(|(name, model)| model.running.keys().map(|f| (*name, *f))).collect();
                let Some(&(name, fence)) = running.get(*which as usize % running.len().max(1)) else { return };
                let model = &w.workers[name];
                // What a worker was asked to stop it stops, now and then too late.
                let stopped = model.stopping.contains(&fence) && which % 4 != 0;
                if *lost {
                    w.workers.get_mut(name).unwrap().connected = false;
                }
                w.finish(name, fence, if stopped { &Outcome::Cancelled } else { outcome });
                self.reported.entry(name).or_default().push(fence);
            }
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
                    let answer = w.feed(Input::Report { session, fence: old, ended: ended(&Outcome::Success, w.now) }).unwrap();
                    assert_eq!(answer, crate::Answer::Reported { current: false }, "T5");
                }
            }
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
                let run = penstock_common::RunNo(u64::from(*run));
                if w.leader.state().runs.get(&run).is_none_or(|r| !r.record.state.is_terminal()) {
                    w.feed(Input::Archived { run }).unwrap();
                }
            }
        }
    }

    /// The faults stop: everything that is accepted ends, and nothing is left behind.
    fn heal(mut self) {
        let w = &mut self.world;
        w.commit_all();
        w.hold = 0;
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
        for _ in 0..10_000 {
            if w.leader.leases() == 0 && w.leader.state().runs.values().all(|r| r.record.state.is_terminal()) {
                break;
            }
            if let Some((name, fence)) = w.any_running() {
                w.now += 1;
                w.finish(name, fence, &Outcome::Success);
            } else {
                w.now = w.now.max(w.leader.next_deadline().unwrap().0);
                w.tick();
            }
        }
        for (no, run) in &w.leader.state().runs {
            assert!(
                run.record.state.is_terminal(),
                "liveness: run {no} is {}: {:?}",
                run.record.state,
                w.leader.explain(&run.record.id, None)
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
        // Memory returns to where it was.
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
        assert_eq!(
            (term.lanes.queued().len(), term.doomed.len(), term.kept.len(), term.archiving.len(), term.timers.len()),
            (0, 0, 0, 0, 1)
        );
    }
}

fn of(worker: u8) -> &'static str {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_everything_ends(
        shapes in prop::collection::vec(shape(), 1..4),
        hold in 0..6usize,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut driver = Driver::new(shapes, hold);
        steps.iter().for_each(|step| driver.step(step));
        driver.heal();
    }

    /// T10: what each task does decides how everything ends, not who is faster.
    #[test]
    fn final_states_do_not_depend_on_the_order_of_completion(
        shape in shape(),
        outcomes in prop::collection::vec(prop::collection::vec(outcome(), 4), 40),
        orders in prop::collection::vec(any::<u64>(), 2..4),
    ) {
        let shape = Shape { run_timeout: None, ..shape };
        let ends: Vec<_> = orders.iter().map(|order| ends_of(&shape, &outcomes, *order)).collect();
        for other in &ends[1..] {
            prop_assert_eq!(&ends[0], other);
        }
    }
}

/// What chance never reaches it does not test: a fixed choice of steps must meet every kind of event and rejection.
#[test]
fn chance_reaches_every_kind_of_event() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = BTreeMap::<String, usize>::new();
    let given = (prop::collection::vec(shape(), 1..4), 0..6usize, prop::collection::vec(step(), 250..300));
    for _ in 0..60 {
        let (shapes, hold, steps) = given.new_tree(&mut runner).unwrap().current();
        let mut driver = Driver::new(shapes, hold);
        steps.iter().for_each(|step| driver.step(step));
        for line in driver.world.log() {
            let kind = line.split(' ').find(|w| w.starts_with(|c: char| c.is_ascii_uppercase()) || WORDS.contains(w));
            let lost = line.ends_with("loss");
            *met.entry(format!("{}{}", kind.unwrap_or("other"), if lost { " lost" } else { "" })).or_default() += 1;
        }
        for effect in driver.world.effects() {
            *met.entry(effect.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    println!("{met:#?}");
    for kind in WORDS.iter().chain(&REACHED) {
        assert!(met.contains_key(*kind), "{kind} was not met: {met:#?}");
    }
}

const WORDS: [&str; 10] =
    ["term", "registered", "drained", "undrained", "answered", "created", "started", "fence", "generation", "archived"];
const REACHED: [&str; 22] = [
    "SUCCESS",
    "RETRY",
    "RETRY lost",
    "FAILED(exit_code)",
    "FAILED(lost)",
    "FAILED(poison)",
    "FAILED(task)",
    "FAILED(task_failed)",
    "FAILED(timeout)",
    "FAILED(queue_timeout)",
    "FAILED(run_timeout)",
    "FAILED(output_too_large)",
    "SKIPPED(task)",
    "SKIPPED(upstream_failed)",
    "SKIPPED(upstream_skipped)",
    "CANCELLED(user)",
    "CANCELLED(run_timeout)",
    "cancel",
    "kill",
    "lease",
    "archive",
    "other",
];

type Ends = (Option<(State, Option<Reason>)>, Vec<(State, Option<Reason>, u32)>);

/// Runs a pipeline to its end; `order` chooses which of the running programs ends next.
fn ends_of(shape: &Shape, outcomes: &[Vec<Outcome>], mut order: u64) -> Ends {
    let mut w = World::new();
    let mut pipeline = built(0, shape);
    for task in pipeline.tasks.values_mut() {
        (task.queue_timeout, task.timeout) = (None, None);
        task.max_lost = 5;
    }
    w.register(pipeline);
    w.attach_with("w", 8, &["default", "big"], &[("gpu", "yes")]);
    w.submit_to("r", "p0").unwrap();
    loop {
        let running: Vec<(Fence, usize, u32)> =
            w.workers["w"].running.iter().map(|(f, l)| (*f, l.task.as_str()[1..].parse().unwrap(), l.number)).collect();
        if let Some(len) = std::num::NonZeroUsize::new(running.len()) {
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (fence, task, number) = running[(order >> 33) as usize % len.get()];
            w.finish("w", fence, &outcomes[task][(number as usize - 1) % 4]);
        } else if w.leader.run(&run_id("r")).unwrap().state.is_terminal() {
            break;
        } else {
            w.now = w.leader.next_deadline().unwrap().0;
            w.tick();
        }
    }
    let run = w.checker.runs.values().next().unwrap();
    let tasks = run.tasks.iter().map(|t| (t.state, t.reason, t.attempts)).collect();
    let plan = Arc::clone(&run.plan);
    assert_eq!(plan.len(), run.tasks.len());
    (Some((run.state, run.reason)), tasks)
}
