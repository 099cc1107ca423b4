//! A cluster without a network: one leader, replicas, and modelled workers that speak the protocol of `protocol.md` 6.
//!
//! Decisions are held like a driver holds them: events reach followers and effects reach workers only when they are committed, and a
//! failover drops what is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{Dependency, Pipeline, Retries, Task};
use penstock_common::record::{Ended, Report, TriggerKind};
use penstock_common::{Epoch, Event, Fence, Millis, Now, PipelineName, Reason, RunId, RunNo, Seq, SessionId, State, TaskId, Timestamp};

use super::invariants::{Attached, Checker};
use crate::input::{Hello, Submit};
use crate::{Announced, Answer, Effect, Input, Plan, Rejection, Scheduler};

/// Noon of some day: a time that is not 0, so that a forgotten time is seen.
pub(super) const START: i64 = 1_700_000_000_000;

pub(super) fn s(seconds: u64) -> Millis {
    Millis(seconds * 1_000)
}

pub(super) fn task_id(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

pub(super) fn run_id(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

/// A task below others.
pub(super) fn below(upstreams: &[&str]) -> Task {
    let depends_on = upstreams.iter().map(|u| Dependency { task: task_id(u), when: None, paired: false }).collect();
    Task { depends_on, ..Task::noop() }
}

pub(super) fn retries(max: u32) -> Retries {
    Retries { max, ..Retries::default() }
}

pub(super) fn pipeline(name: &str, tasks: impl IntoIterator<Item = (String, Task)>) -> Pipeline {
    Pipeline::of(PipelineName::parse(name).unwrap(), tasks.into_iter().map(|(id, task)| (task_id(&id), task)).collect())
}

/// Pipeline `p` of these tasks.
pub(super) fn p<const N: usize>(tasks: [(&str, Task); N]) -> Pipeline {
    pipeline("p", tasks.map(|(id, task)| (id.to_owned(), task)))
}

/// How a modelled program ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Success,
    Output(usize),
    Exit(i32),
    /// The task said that trying again is of no use.
    Fail,
    Skip,
    /// Stopped by its worker, asked or not.
    Cancelled,
}

pub(super) fn ended(outcome: &Outcome, at: i64) -> Ended {
    let (state, reason) = match outcome {
        Outcome::Success | Outcome::Output(_) => (State::Success, None),
        Outcome::Exit(_) => (State::Failed, Some(Reason::ExitCode)),
        Outcome::Fail => (State::Failed, Some(Reason::Task)),
        Outcome::Skip => (State::Skipped, Some(Reason::Task)),
        Outcome::Cancelled => (State::Cancelled, Some(Reason::User)),
    };
    let outputs = match outcome {
        Outcome::Output(bytes) => Outputs(BTreeMap::from([("k".to_owned(), "x".repeat(*bytes))])),
        _ => Outputs::default(),
    };
    let exit_code = if let Outcome::Exit(code) = outcome { Some(*code) } else { None };
    Ended {
        state,
        reason,
        detail: Arc::from(""),
        exit_code,
        started_at: Timestamp(at),
        ended_at: Timestamp(at),
        metrics: Metrics::default(),
        outputs,
        items: None,
        worker_died: false,
    }
}

/// A modelled worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Worker {
    /// Its present life; `None` while its process is not there.
    pub(super) session: Option<SessionId>,
    /// Its stream to the present leader is open.
    pub(super) connected: bool,
    pub(super) leaving: bool,
    pub(super) slots: u32,
    pub(super) queues: Vec<&'static str>,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) running: BTreeMap<Fence, Lease>,
    /// Of those, the ones it was asked to stop.
    pub(super) stopping: BTreeSet<Fence>,
    /// Ended, and the report not acknowledged.
    pub(super) finished: BTreeMap<Fence, Ended>,
    /// Every lease of this life.
    pub(super) seen: BTreeSet<Fence>,
    lives: u32,
}

/// A decision that is not durable yet.
#[derive(Debug)]
struct Batch {
    events: Vec<Event>,
    now: i64,
    effects: Vec<Effect>,
    answer: Answer,
    about: About,
}

/// Whom an answer concerns.
#[derive(Debug, Clone)]
enum About {
    Nobody,
    Submit(RunId),
    Report(SessionId, Fence),
}

pub(super) struct World {
    pub(super) leader: Scheduler,
    /// Replays every decided event at once.
    mirror: Scheduler,
    /// Replays what is committed.
    pub(super) follower: Scheduler,
    pub(super) checker: Checker,
    pub(super) committed: Vec<(i64, Event)>,
    held: VecDeque<Batch>,
    /// How many decisions may wait to be committed.
    pub(super) hold: usize,
    pub(super) now: i64,
    draws: u64,
    seq: u64,
    term: u64,
    pub(super) workers: BTreeMap<&'static str, Worker>,
    /// Runs whose history is being written.
    pub(super) archives: Vec<RunNo>,
    /// Runs whose submit was acknowledged.
    pub(super) acknowledged: BTreeSet<RunId>,
    /// What has been decided since it was last read, in short.
    log: Vec<String>,
    /// Effects delivered since they were last read.
    delivered: Vec<Effect>,
    steps: u64,
}

impl World {
    /// A cluster with a leader that has started its term.
    pub(super) fn new() -> Self {
        let mut world = Self {
            leader: Scheduler::default(),
            mirror: Scheduler::default(),
            follower: Scheduler::default(),
            checker: Checker::new(),
            committed: Vec::new(),
            held: VecDeque::new(),
            hold: 0,
            now: START,
            draws: 0,
            seq: 0,
            term: 0,
            workers: BTreeMap::new(),
            archives: Vec::new(),
            acknowledged: BTreeSet::new(),
            log: Vec::new(),
            delivered: Vec::new(),
            steps: 0,
        };
        world.start_term();
        world.log.clear();
        world
    }

    /// A cluster with pipeline `p` registered and its worker `w` of so many slots attached.
    pub(super) fn with(pipeline: Pipeline, slots: u32) -> Self {
        let mut world = Self::new();
        world.register(pipeline);
        world.attach("w", slots);
        world.log.clear();
        world
    }

    fn start_term(&mut self) {
        self.term += 1;
        let now = self.clock();
        self.leader.lead(now);
        let epoch = Epoch { incarnation: 1, revision: self.term };
        self.feed(Input::StartTerm { epoch, node: "n".parse().unwrap() }).unwrap();
        let owed = self.leader.owed();
        owed.into_iter().for_each(|effect| self.deliver(effect));
    }

    fn clock(&mut self) -> Now {
        self.draws += 1;
        Now { now: Timestamp(self.now), wall: Timestamp(self.now), random: self.draws.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }

    /// One step: decide, and check everything that must hold after it.
    pub(super) fn feed(&mut self, input: Input) -> Result<Answer, Rejection> {
        let about = match &input {
            Input::Submit(submit) => About::Submit(submit.run.clone()),
            Input::Report { session, fence, .. } => About::Report(session.clone(), *fence),
            _ => About::Nobody,
        };
        let noted = input.clone();
        let now = self.clock();
        self.leader.at(Seq(self.seq + 1));
        self.mirror.at(Seq(self.seq + 1));
        let decision = match self.leader.decide(input, now) {
            Ok(decision) => decision,
            Err(rejection) => {
                assert!(self.leader.state() == self.mirror.state(), "a rejection changed state: {rejection}");
                return Err(rejection);
            }
        };
        self.note_workers(noted);
        self.checker.observe(&decision.events, now.now);
        decision.events.iter().for_each(|event| self.mirror.replay(event));
        let all_done = self.leader.next_deadline().is_none_or(|at| at > now.now);
        if self.checker.deep {
            assert!(self.leader.state() == self.mirror.state(), "a replica differs after {:?}", decision.events);
            if all_done {
                self.checker.judge(&self.leader, now.now);
            }
            self.steps += 1;
            if self.steps.is_multiple_of(8) {
                self.checker.reloads(&mut self.leader);
            }
        }
        for event in &decision.events {
            let line = self.brief(event);
            self.log.push(line);
        }
        self.seq += u64::from(!decision.events.is_empty());
        let answer = decision.answer.clone();
        self.held.push_back(Batch { events: decision.events, now: self.now, effects: decision.effects, answer: decision.answer, about });
        while self.held.len() > self.hold {
            self.commit();
        }
        Ok(answer)
    }

    /// What the leader's term must know of workers after an input.
    fn note_workers(&mut self, input: Input) {
        let sessions = &mut self.checker.sessions;
        match input {
            Input::Hello(hello) => {
                let Hello { session, worker, slots, queues, labels, leaving, .. } = *hello;
                sessions.insert(session, Attached { worker, slots, queues, labels, leaving });
            }
            Input::Leaving { session } => sessions.get_mut(&session).unwrap().leaving = true,
            Input::Gone { session, .. } => {
                sessions.remove(&session);
            }
            Input::Register { plan } => {
                self.checker.definitions.insert(plan.digest, plan);
            }
            _ => {}
        }
    }

    /// The oldest decision that is held becomes durable.
    pub(super) fn commit(&mut self) {
        let Some(batch) = self.held.pop_front() else { return };
        for event in batch.events {
            if let Event::PipelineRegistered { digest, .. } = &event {
                self.follower.learn(self.checker.definitions[digest].clone());
            }
            self.follower.replay(&event);
            self.committed.push((batch.now, event));
        }
        batch.effects.into_iter().for_each(|effect| self.deliver(effect));
        match (batch.about, batch.answer) {
            (About::Submit(run), Answer::Run { .. }) => {
                self.acknowledged.insert(run);
            }
            (About::Report(session, fence), Answer::Reported { .. }) => {
                if let Some(worker) = self.of_session(&session) {
                    worker.finished.remove(&fence);
                }
            }
            _ => {}
        }
        if self.held.is_empty() && self.checker.deep {
            assert!(self.follower.state() == self.leader.state(), "the follower differs");
        }
    }

    pub(super) fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    fn of_session(&mut self, session: &SessionId) -> Option<&mut Worker> {
        self.workers.values_mut().find(|w| w.session.as_ref() == Some(session))
    }

    fn deliver(&mut self, effect: Effect) {
        self.delivered.push(effect.clone());
        match effect {
            Effect::Lease { session, lease } => {
                let worker = self.of_session(&session).filter(|w| w.connected);
                if let Some(worker) = worker
                    && worker.seen.insert(lease.fence)
                {
                    worker.running.insert(lease.fence, *lease);
                }
            }
            Effect::Cancel { session, fence, .. } => {
                if let Some(worker) = self.of_session(&session).filter(|w| w.connected && w.running.contains_key(&fence)) {
                    worker.stopping.insert(fence);
                }
            }
            Effect::Kill { session, fence } => {
                if let Some(worker) = self.of_session(&session).filter(|w| w.connected) {
                    worker.running.remove(&fence);
                    worker.stopping.remove(&fence);
                }
            }
            Effect::Archive(cut) => self.archives.push(cut.record.no),
        }
    }

    /// The leader is lost with all that is not committed; the follower takes over. Workers have not said Hello yet.
    pub(super) fn fail_over(&mut self) {
        self.held.clear();
        self.archives.clear();
        self.workers.values_mut().for_each(|w| w.connected = false);
        self.checker = self.checker.reread(&self.committed);
        // The new follower starts from a checkpoint, so replay after a restore is compared too.
        self.mirror = self.checker.reloads(&mut self.follower);
        let follower = self.checker.reloads(&mut self.follower);
        self.leader = std::mem::replace(&mut self.follower, follower);
        self.start_term();
        self.commit_all();
    }

    // What clients do.

    pub(super) fn register(&mut self, pipeline: Pipeline) -> Arc<Plan> {
        let plan = Arc::new(Plan::compile(pipeline).unwrap());
        self.mirror.learn(plan.clone());
        self.follower.learn(plan.clone());
        self.checker.definitions.insert(plan.digest, plan.clone());
        self.feed(Input::Register { plan: plan.clone() }).unwrap();
        plan
    }

    pub(super) fn submit_to(&mut self, run: &str, pipeline: &str) -> Result<Answer, Rejection> {
        let pipeline = PipelineName::parse(pipeline).unwrap();
        self.feed(Input::Submit(Box::new(Submit {
            run: run_id(run),
            digest: pipeline.full().len() as u64,
            pipeline,
            version: None,
            params: serde_json::Map::new(),
            interval: None,
            trigger: TriggerKind::Manual,
            by: Arc::from("me"),
        })))
    }

    /// A run of pipeline `p`.
    pub(super) fn submit(&mut self, run: &str) {
        self.submit_to(run, "p").unwrap();
    }

    pub(super) fn cancel(&mut self, run: &str) -> Result<Answer, Rejection> {
        self.feed(Input::Cancel { run: run_id(run), by: Arc::from("me"), note: Arc::from("") })
    }

    pub(super) fn rerun(&mut self, run: &str, request: &str) -> Result<Answer, Rejection> {
        self.feed(Input::Rerun { run: run_id(run), request: request.parse().unwrap(), by: Arc::from("me"), note: Arc::from("") })
    }

    pub(super) fn drain(&mut self, worker: &str, drained: bool) -> Result<Answer, Rejection> {
        self.feed(Input::Drain { worker: worker.parse().unwrap(), drained, by: Arc::from("me") })
    }

    // What time does.

    pub(super) fn tick(&mut self) {
        self.feed(Input::Tick).unwrap();
    }

    /// Time passes, and the leader is woken at each deadline on the way.
    pub(super) fn pass(&mut self, time: Millis) {
        let until = Timestamp(self.now).after(time);
        while let Some(at) = self.leader.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at.0);
            self.tick();
        }
        self.now = until.0;
    }

    /// Ticks until nothing is left over; returns how many it took.
    pub(super) fn settle(&mut self) -> usize {
        let mut ticks = 0;
        while self.leader.next_deadline().is_some_and(|at| at.0 <= self.now) {
            self.tick();
            ticks += 1;
        }
        ticks
    }

    // What workers do.

    /// Defines a worker that serves the default queue, and attaches it.
    pub(super) fn attach(&mut self, name: &'static str, slots: u32) {
        self.attach_with(name, slots, &["default"], &[]);
    }

    pub(super) fn attach_with(&mut self, name: &'static str, slots: u32, queues: &[&'static str], labels: &[(&'static str, &'static str)]) {
        self.define(name, slots, queues, labels);
        self.hello(name);
    }

    pub(super) fn define(&mut self, name: &'static str, slots: u32, queues: &[&'static str], labels: &[(&'static str, &'static str)]) {
        let worker = self.workers.entry(name).or_default();
        (worker.slots, worker.queues, worker.labels) = (slots, queues.to_vec(), labels.to_vec());
    }

    /// A worker says Hello, in a new life if it has none. If its name is taken by its former life, that is over.
    pub(super) fn hello(&mut self, name: &'static str) {
        let worker = self.workers.get_mut(name).unwrap();
        if worker.session.is_none() {
            let Worker { slots, queues, labels, lives, .. } = std::mem::take(worker);
            let session = Some(format!("{name}.{}", lives + 1).parse().unwrap());
            *worker = Worker { session, slots, queues, labels, lives: lives + 1, ..Worker::default() };
        }
        worker.connected = true;
        let session = worker.session.clone().unwrap();
        let hello = Hello {
            session,
            worker: name.parse().unwrap(),
            slots: worker.slots,
            queues: worker.queues.iter().map(|q| q.parse().unwrap()).collect(),
            labels: worker.labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            leaving: worker.leaving,
            announced: Announced { running: worker.running.keys().copied().collect(), finished: worker.finished.keys().copied().collect() },
        };
        if let Err(rejection) = self.feed(Input::Hello(Box::new(hello.clone()))) {
            let Rejection::WorkerNameTaken { other, .. } = rejection else { panic!("{rejection}") };
            self.gone(&other, true);
            self.feed(Input::Hello(Box::new(hello))).unwrap();
        }
    }

    pub(super) fn gone(&mut self, session: &SessionId, died: bool) {
        self.feed(Input::Gone { session: session.clone(), died, detail: Arc::from("gone") }).unwrap();
    }

    /// The worker's process ends, and with it its attempts; the leader is not told.
    pub(super) fn die(&mut self, name: &str) -> Option<SessionId> {
        let worker = self.workers.get_mut(name).unwrap();
        worker.connected = false;
        worker.running.clear();
        worker.finished.clear();
        worker.session.take()
    }

    /// The worker's process ends, and the leader sees it.
    pub(super) fn kill(&mut self, name: &str) {
        if let Some(session) = self.die(name) {
            self.gone(&session, true);
        }
    }

    /// The worker runs on but its stream is cut; its session is over for the leader.
    pub(super) fn silence(&mut self, name: &str) {
        let worker = self.workers.get_mut(name).unwrap();
        worker.connected = false;
        if let Some(session) = worker.session.clone() {
            self.gone(&session, false);
        }
    }

    /// The fence under which a worker runs a task.
    pub(super) fn fence(&self, worker: &str, task: &str) -> Fence {
        let running = &self.workers[worker].running;
        *running.iter().find(|(_, l)| l.task.as_str() == task).unwrap_or_else(|| panic!("{worker} does not run {task}: {running:?}")).0
    }

    /// A program ends, and its worker reports it if it can.
    pub(super) fn finish(&mut self, worker: &str, fence: Fence, outcome: &Outcome) -> Option<Answer> {
        let ended = ended(outcome, self.now);
        let model = self.workers.get_mut(worker).unwrap();
        model.running.remove(&fence);
        model.stopping.remove(&fence);
        model.finished.insert(fence, ended);
        self.report(worker, fence)
    }

    /// A worker reports, first or again, an attempt that ended.
    pub(super) fn report(&mut self, worker: &str, fence: Fence) -> Option<Answer> {
        let model = &self.workers[worker];
        let (Some(session), true) = (model.session.clone(), model.connected) else { return None };
        let ended = model.finished.get(&fence).cloned()?;
        Some(self.feed(Input::Report { session, fence, ended }).unwrap())
    }

    /// The program of a task ends on worker `w`.
    pub(super) fn end(&mut self, task: &str, outcome: &Outcome) {
        self.end_on("w", task, outcome);
    }

    pub(super) fn end_on(&mut self, worker: &str, task: &str, outcome: &Outcome) {
        let fence = self.fence(worker, task);
        self.finish(worker, fence, outcome).unwrap();
    }

    /// Every program that runs succeeds, until none runs.
    pub(super) fn succeed_all(&mut self) {
        while let Some((name, fence)) = self.any_running() {
            self.finish(name, fence, &Outcome::Success);
            self.settle();
        }
    }

    /// An attempt that a connected worker runs.
    pub(super) fn any_running(&self) -> Option<(&'static str, Fence)> {
        let connected = self.workers.iter().filter(|(_, w)| w.connected);
        connected.filter_map(|(name, w)| w.running.keys().next().map(|f| (*name, *f))).next()
    }

    // What is seen.

    /// What was decided since the last call.
    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The effects that were delivered since the last call, in short.
    pub(super) fn effects(&mut self) -> Vec<String> {
        let brief = |effect: &Effect| match effect {
            Effect::Lease { session, lease } => format!("lease {}#{} fence {} to {session}", lease.task, lease.number, lease.fence),
            Effect::Cancel { session, fence, reason } => format!("cancel fence {fence} on {session}: {reason}"),
            Effect::Kill { session, fence } => format!("kill fence {fence} on {session}"),
            Effect::Archive(cut) => format!("archive {}", cut.record.id),
        };
        std::mem::take(&mut self.delivered).iter().map(brief).collect()
    }

    pub(super) fn forget_log(&mut self) {
        self.log.clear();
        self.delivered.clear();
    }

    /// A run's state and reason.
    pub(super) fn run(&self, run: &str) -> (State, Option<Reason>) {
        let record = self.leader.run(&run_id(run)).unwrap();
        (record.state, record.reason)
    }

    fn brief(&self, event: &Event) -> String {
        let Some(no) = event.run() else {
            return match event {
                Event::TermStarted { epoch, .. } => format!("term {epoch}"),
                Event::PipelineRegistered { pipeline, version, .. } => format!("registered {pipeline} {version}"),
                Event::WorkerDrained { worker, drained, .. } => format!("{} {worker}", if *drained { "drained" } else { "undrained" }),
                Event::RequestAnswered { request, answer, .. } => format!("answered {request}: {answer}"),
                Event::AnswersForgotten { .. } => "answers forgotten".to_owned(),
                _ => unreachable!("every other event belongs to a run"),
            };
        };
        let run = &self.checker.runs[&no];
        let name = |task: u32| run.plan.task(task).id.as_str().to_owned();
        let reasoned = |state: State, reason: Option<Reason>| reason.map_or(state.to_string(), |reason| format!("{state}({reason})"));
        let span = |ranges: &[(u32, u32)]| {
            let one = |&(from, to): &(u32, u32)| if to == from + 1 { name(from) } else { format!("{}..{}", name(from), name(to - 1)) };
            ranges.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        let id = &run.id;
        match event {
            Event::RunCreated(_) => format!("{id}: created"),
            Event::RunStarted { .. } => format!("{id}: started"),
            Event::AttemptLeased { task, number, fence, session, .. } => {
                format!("{id}: {}#{number} fence {fence} to {session}", name(*task))
            }
            Event::AttemptEnded { task, ended, .. } => format!("{id}: {} {}", name(*task), reasoned(ended.state, ended.reason)),
            Event::TaskRetrying { task, not_before, lost, .. } => {
                let why = if *lost { " after a loss" } else { "" };
                format!("{id}: {} RETRY in {}{why}", name(*task), not_before.since(Timestamp(self.now)))
            }
            Event::TaskFailed { task, reason, .. } => format!("{id}: {} FAILED({reason})", name(*task)),
            Event::TasksSkipped { ranges, reason, .. } => format!("{id}: {} SKIPPED({reason})", span(ranges)),
            Event::TasksCancelled { reason, .. } => format!("{id}: the rest CANCELLED({reason})"),
            Event::CancelRequested { reason, .. } => format!("{id}: cancel for {reason}"),
            Event::RunEnded { state, reason, .. } => format!("{id}: {}", reasoned(*state, *reason)),
            Event::GenerationOpened { generation, ranges, .. } => format!("{id}: generation {generation} of {}", span(ranges)),
            Event::RunArchived { .. } => format!("{id}: archived"),
            _ => unreachable!("an event of a run"),
        }
    }
}
