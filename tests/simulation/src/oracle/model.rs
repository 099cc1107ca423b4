//! What the journal says, event by event, and what it must not say. Written from `docs/invariants.md` and the table of states,
//! not from the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use penstock_proto::v1::event::Kind;
use penstock_proto::v1::{self, State};

use crate::user::Pipeline;

/// A task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Task {
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: String,
    /// The fence of each attempt, oldest first.
    pub fences: Vec<u64>,
    /// The fence whose attempt runs.
    pub live: Option<u64>,
    /// RETRY: not before this.
    pub not_before: i64,
    /// Attempts lost.
    pub lost: u32,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The id users know.
    pub id: String,
    /// Its pipeline.
    pub pipeline: String,
    /// Where it stands.
    pub state: State,
    /// A cancel was asked for.
    pub cancelled: bool,
    /// The entry that created it.
    pub created_seq: u64,
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// State has dropped it; it is history.
    pub archived: bool,
}

/// The cluster as the journal tells it, and what is wrong with that.
#[derive(Debug, Default)]
pub struct Model {
    /// Runs by number.
    pub runs: BTreeMap<u64, Run>,
    /// Who led, term by term.
    pub terms: Vec<((u64, u64), String)>,
    /// Leases given.
    pub leases: u64,
    /// Attempts lost.
    pub lost: u64,
    /// Violations, each with the number of its invariant first.
    pub wrong: Vec<String>,
    shapes: BTreeMap<String, Pipeline>,
    versions: BTreeMap<String, u32>,
    ids: BTreeSet<String>,
    last_fence: u64,
    seq: u64,
}

fn terminal(state: State) -> bool {
    matches!(state, State::Success | State::Failed | State::Skipped | State::Cancelled)
}

impl Model {
    /// Of a cluster that runs these pipelines.
    pub fn new(pipelines: &[Pipeline]) -> Self {
        Self { shapes: pipelines.iter().map(|p| (format!("default/{}", p.name), p.clone())).collect(), ..Self::default() }
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.runs.values().find(|run| run.id == id)
    }

    fn wrong(&mut self, number: &str, what: impl std::fmt::Display) {
        self.wrong.push(format!("{number} at entry {}: {what}", self.seq));
    }

    /// Takes the events of an entry, which was written in this term.
    pub fn take(&mut self, seq: u64, epoch: (u64, u64), events: &[Kind]) {
        self.seq = seq;
        for (place, event) in events.iter().enumerate() {
            if let Kind::TermStarted(term) = event {
                let started = term.epoch.unwrap_or_default();
                let started = (started.incarnation, started.revision);
                if let Some((last, _)) = self.terms.last().cloned().filter(|(last, _)| *last >= started) {
                    self.wrong("L1", format_args!("term {started:?} after {last:?}"));
                }
                if place != 0 || started != epoch {
                    self.wrong("L1", format_args!("term {started:?} starts in an entry of {epoch:?}, as event {place}"));
                }
                self.terms.push((started, term.node.clone()));
            } else {
                if self.terms.last().is_none_or(|(term, _)| *term != epoch) {
                    self.wrong("L1", format_args!("term {epoch:?} decides before it has started"));
                }
                self.event(event);
            }
        }
    }

    fn event(&mut self, event: &Kind) {
        match event {
            Kind::PipelineRegistered(e) => {
                let version = self.versions.entry(e.pipeline.clone()).or_default();
                *version += 1;
                if *version != e.version {
                    self.wrong("R2", format_args!("{} gets version {}", e.pipeline, e.version));
                }
            }
            Kind::RunCreated(e) => self.created(e),
            Kind::RunStarted(e) => self.with(e.run, |run| match run.state {
                State::Pending => {
                    run.state = State::Running;
                    Ok(())
                }
                state => Err(("R3", format!("{state:?} goes to Running"))),
            }),
            Kind::AttemptLeased(e) => self.leased(e),
            Kind::AttemptEnded(e) => self.ended(e.run, e.task, e.fence, e.ended.as_ref()),
            Kind::TaskRetrying(e) => {
                self.ended(e.run, e.task, e.fence, e.ended.as_ref());
                self.task(e.run, e.task, |_, task| {
                    if task.state != State::Failed {
                        return Err(("T1", format!("{:?} goes to Retry", task.state)));
                    }
                    task.state = State::Retry;
                    task.not_before = e.not_before_ms;
                    Ok(())
                });
            }
            Kind::TaskEnded(e) => self.task(e.run, e.task, |_, task| {
                if !matches!(task.state, State::Pending | State::Retry) || e.state() != State::Failed || e.reason.is_empty() {
                    return Err(("T1", format!("{:?} goes to {:?} for {:?}", task.state, e.state(), e.reason)));
                }
                task.state = State::Failed;
                task.reason.clone_from(&e.reason);
                Ok(())
            }),
            Kind::TasksSkipped(e) => {
                for range in e.ranges.chunks(2) {
                    for index in range[0]..range[1] {
                        self.task(e.run, index, |_, task| {
                            if task.state != State::Pending || e.reason.is_empty() {
                                return Err(("T1", format!("{:?} goes to Skipped for {:?}", task.state, e.reason)));
                            }
                            task.state = State::Skipped;
                            task.reason.clone_from(&e.reason);
                            Ok(())
                        });
                    }
                }
            }
            Kind::TasksCancelled(e) => self.with(e.run, |run| {
                for task in run.tasks.iter_mut().filter(|t| !terminal(t.state) && t.state != State::Running) {
                    task.state = State::Cancelled;
                    task.reason.clone_from(&e.reason);
                }
                if e.reason.is_empty() { Err(("T1", "tasks are Cancelled for no reason".to_owned())) } else { Ok(()) }
            }),
            Kind::CancelRequested(e) => self.with(e.run, |run| {
                run.cancelled = true;
                if terminal(run.state) { Err(("R3", format!("{:?} is cancelled", run.state))) } else { Ok(()) }
            }),
            Kind::RunEnded(e) => self.with(e.run, |run| run.ends(e)),
            Kind::RunArchived(e) => self.with(e.run, |run| {
                run.archived = true;
                if terminal(run.state) { Ok(()) } else { Err(("R4", format!("{:?} is archived", run.state))) }
            }),
            // What is not part of the workload is not modelled, and must not come.
            Kind::GenerationOpened(_)
            | Kind::WorkerDrained(_)
            | Kind::RequestAnswered(_)
            | Kind::TermStarted(_)
            | Kind::PipelineUnregistered(_)
            | Kind::PipelinePaused(_)
            // No pipeline of the simulation has a schedule or triggers yet.
            | Kind::ScheduleMoved(_)
            | Kind::TriggerPaused(_)
            | Kind::TriggerTokenSet(_)
            | Kind::IntervalsSkipped(_)
            | Kind::BackfillCreated(_)
            | Kind::BackfillPaused(_)
            | Kind::BackfillCancelled(_)
            | Kind::BackfillEnded(_)
            | Kind::Happened(_)
            | Kind::TriggerSaw(_)
            | Kind::EventHandled(_)
            | Kind::FilesSeen(_)
            | Kind::GatheredMissed(_)
            | Kind::TriggerForgotten(_)
            | Kind::PoolSet(_)
            | Kind::RunPaused(_)
            | Kind::RunReopened(_)
            | Kind::TaskExpanded(_)
            | Kind::AttemptWaiting(_)
            | Kind::TaskWaiting(_)
            | Kind::TaskStopping(_)
            | Kind::OutputsRecalled(_) => {
                self.wrong("R3", "an event that nobody asked for");
            }
            Kind::AnswersForgotten(_) => {}
        }
    }

    fn created(&mut self, e: &v1::RunCreated) {
        let expected = self.runs.keys().next_back().map_or(1, |last| last + 1);
        if e.run != expected || !self.ids.insert(e.run_id.clone()) {
            self.wrong("R1", format_args!("run {} is created as number {}, {expected} was next", e.run_id, e.run));
        }
        if self.versions.get(&e.pipeline).is_none_or(|newest| e.version == 0 || e.version > *newest) {
            self.wrong("R2", format_args!("run {} is bound to {} version {}", e.run_id, e.pipeline, e.version));
        }
        let tasks = self.shapes.get(&e.pipeline).map_or(0, |shape| shape.tasks.len());
        let (id, pipeline) = (e.run_id.clone(), e.pipeline.clone());
        let run = Run {
            id,
            pipeline,
            state: State::Pending,
            cancelled: false,
            created_seq: self.seq,
            tasks: vec![Task::default(); tasks],
            archived: false,
        };
        self.runs.insert(e.run, run);
    }

    fn leased(&mut self, e: &v1::AttemptLeased) {
        self.leases += 1;
        let before = self.last_fence;
        if e.fence <= before {
            self.wrong("T4", format_args!("fence {} is leased after {before}", e.fence));
        }
        self.last_fence = before.max(e.fence);
        let upstreams = self.upstreams(e.run, e.task);
        self.task(e.run, e.task, |run, task| {
            if run.cancelled {
                return Err(("T8", "a cancelled run leases".to_owned()));
            }
            if run.state != State::Running {
                return Err(("R3", format!("a run that is {:?} leases", run.state)));
            }
            if let Some(live) = task.live {
                return Err(("T4", format!("fence {} is leased while {live} lives", e.fence)));
            }
            if task.state == State::Success {
                return Err(("T9", "a success is executed again".to_owned()));
            }
            if !matches!(task.state, State::Pending | State::Retry) {
                return Err(("T1", format!("{:?} goes to Running", task.state)));
            }
            if e.number as usize != task.fences.len() + 1 {
                return Err(("T3", format!("attempt {} follows {}", e.number, task.fences.len())));
            }
            if let Some(upstream) = upstreams.iter().find(|u| run.tasks[**u].state != State::Success) {
                return Err(("T2", format!("leased while its upstream {upstream} is {:?}", run.tasks[*upstream].state)));
            }
            if task.state == State::Retry && e.at_ms < task.not_before {
                return Err(("T6", format!("leased at {} and not before {}", e.at_ms, task.not_before)));
            }
            task.fences.push(e.fence);
            task.live = Some(e.fence);
            task.state = State::Running;
            Ok(())
        });
    }

    fn ended(&mut self, run: u64, task: u32, fence: u64, ended: Option<&v1::Ended>) {
        let Some(ended) = ended else { return self.wrong("T1", "an attempt ends without saying how") };
        let lost = ended.reason == "lost";
        self.lost += u64::from(lost);
        self.task(run, task, |_, task| {
            if task.live != Some(fence) {
                return Err(("T5", format!("a report of fence {fence} is applied while {:?} is current", task.live)));
            }
            let state = ended.state();
            if task.state != State::Running || !terminal(state) || (ended.reason.is_empty() && state != State::Success) {
                return Err(("T1", format!("{:?} goes to {state:?} for {:?}", task.state, ended.reason)));
            }
            task.live = None;
            task.state = state;
            task.lost += u32::from(lost);
            task.reason.clone_from(&ended.reason);
            Ok(())
        });
    }

    fn upstreams(&self, run: u64, task: u32) -> Vec<usize> {
        let shape = self.runs.get(&run).and_then(|run| self.shapes.get(&run.pipeline));
        shape.and_then(|shape| shape.tasks.get(task as usize)).cloned().unwrap_or_default()
    }

    fn with(&mut self, no: u64, change: impl FnOnce(&mut Run) -> Result<(), (&'static str, String)>) {
        let Some(run) = self.runs.get_mut(&no) else { return self.wrong("R1", format_args!("run {no} was not created")) };
        let archived = run.archived;
        let id = run.id.clone();
        if let Err((number, what)) = change(run) {
            self.wrong(number, format_args!("run {id}: {what}"));
        }
        if archived {
            self.wrong("R3", format_args!("run {id} changes after it was archived"));
        }
    }

    fn task(&mut self, no: u64, index: u32, change: impl FnOnce(&Run, &mut Task) -> Result<(), (&'static str, String)>) {
        self.with(no, |run| {
            let index = index as usize;
            let Some(mut task) = run.tasks.get(index).cloned() else { return Err(("T1", format!("it has no task {index}"))) };
            let changed = change(run, &mut task).map_err(|(number, what)| (number, format!("task {index}: {what}")));
            run.tasks[index] = task;
            if terminal(run.state) {
                return Err(("R3", format!("task {index} changes though the run is {:?}", run.state)));
            }
            changed
        });
    }
}

impl Run {
    fn ends(&mut self, e: &v1::RunEnded) -> Result<(), (&'static str, String)> {
        let state = e.state();
        if terminal(self.state) || !terminal(state) {
            return Err(("R3", format!("{:?} goes to {state:?}", self.state)));
        }
        self.state = state;
        if let Some(open) = self.tasks.iter().position(|task| !terminal(task.state)) {
            return Err(("R4", format!("it ends while task {open} is {:?}", self.tasks[open].state)));
        }
        let failed = self.tasks.iter().any(|task| task.state == State::Failed);
        let succeeded = self.tasks.iter().all(|task| task.state == State::Success);
        let agrees = match state {
            State::Success => succeeded,
            State::Failed => failed,
            State::Cancelled => self.cancelled,
            _ => false,
        };
        if agrees {
            Ok(())
        } else {
            Err(("R4", format!("it ends {state:?} with tasks {:?}", self.tasks.iter().map(|t| t.state).collect::<Vec<_>>())))
        }
    }
}
