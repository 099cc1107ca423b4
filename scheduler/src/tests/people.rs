//! What clients ask of a [`World`], and what they see of it.

use std::sync::Arc;

use penstock_common::pipeline::Pipeline;
use penstock_common::record::{TaskRecord, TriggerKind};
use penstock_common::{Digest, Interval, PipelineName, Reason, State, Timestamp};

use super::model::{key, run_id, selectors};
use super::world::World;
use crate::input::{Mark, Submit};
use crate::{Answer, Effect, Input, Plan, Recalled, Rejection, SnapshotRun, outputs_in};

fn me() -> Arc<str> {
    Arc::from("me")
}

/// A run `r` that is asked for with nothing special.
pub(super) fn submit(run: &str, pipeline: &str) -> Submit {
    let pipeline = PipelineName::parse(pipeline).unwrap();
    Submit { digest: pipeline.full().len() as u64, ..Submit::of(run_id(run), pipeline, TriggerKind::Manual, me()) }
}

/// The day of a number, as an interval.
pub(super) fn day(number: i64) -> Interval {
    let at = |n: i64| Timestamp(super::world::START + n * 86_400_000);
    Interval::new(at(number), at(number + 1)).unwrap()
}

impl World {
    /// A cluster with pipeline `p` registered and its worker `w` of so many slots attached.
    pub(super) fn with(pipeline: Pipeline, slots: u32) -> Self {
        let mut world = Self::new();
        world.register(pipeline);
        world.attach("w", slots);
        world.forget_log();
        world
    }

    pub(super) fn try_register(&mut self, pipeline: Pipeline) -> Result<Arc<Plan>, Rejection> {
        let plan = Arc::new(Plan::compile(pipeline).unwrap());
        self.mirror.learn(plan.clone());
        self.follower.learn(plan.clone());
        self.checker.definitions.insert(plan.digest, plan.clone());
        self.feed(Input::Register { plan: plan.clone() }).map(|_| plan)
    }

    pub(super) fn register(&mut self, pipeline: Pipeline) -> Arc<Plan> {
        self.try_register(pipeline).unwrap()
    }

    pub(super) fn submit_as(&mut self, submit: Submit) -> Result<Answer, Rejection> {
        self.feed(Input::Submit(Box::new(submit)))
    }

    pub(super) fn submit_to(&mut self, run: &str, pipeline: &str) -> Result<Answer, Rejection> {
        self.submit_as(submit(run, pipeline))
    }

    /// A run of pipeline `p`.
    pub(super) fn submit(&mut self, run: &str) {
        self.submit_to(run, "p").unwrap();
    }

    pub(super) fn cancel(&mut self, run: &str) -> Result<Answer, Rejection> {
        self.feed(Input::Cancel { run: run_id(run), now: false, by: me(), note: Arc::from("") })
    }

    pub(super) fn cancel_now(&mut self, run: &str) -> Result<Answer, Rejection> {
        self.feed(Input::Cancel { run: run_id(run), now: true, by: me(), note: Arc::from("") })
    }

    pub(super) fn rerun(&mut self, run: &str, request: &str) -> Result<Answer, Rejection> {
        self.rerun_of(run, request, &[])
    }

    pub(super) fn rerun_of(&mut self, run: &str, request: &str, tasks: &[&str]) -> Result<Answer, Rejection> {
        let (run, tasks) = (run_id(run), selectors(tasks));
        self.feed(Input::Rerun { run, tasks, request: request.parse().unwrap(), by: me(), note: Arc::from("") })
    }

    pub(super) fn mark(&mut self, run: &str, request: &str, tasks: &[&str], state: State) -> Result<Answer, Rejection> {
        let (run, tasks) = (run_id(run), selectors(tasks));
        self.feed(Input::Mark(Box::new(Mark { run, tasks, state, request: request.parse().unwrap(), by: me(), note: "so it is".into() })))
    }

    /// Brings back a run that was archived.
    pub(super) fn reopen(&mut self, run: &str) -> Result<Answer, Rejection> {
        let run = self.history[&run_id(run)].clone();
        let items = run.tasks.iter().filter_map(|task| task.items).map(|digest| self.checker.items[&digest].clone()).collect();
        let digest = Digest::of(format!("{run:?}").as_bytes());
        self.feed(Input::Reopen { run: Box::new(run), items, digest })
    }

    /// A person says yes or no.
    pub(super) fn says(&mut self, run: &str, task: &str, approve: bool) -> Result<Answer, Rejection> {
        self.feed(Input::Verdict { run: run_id(run), task: key(task), approve, by: me(), note: Arc::from("") })
    }

    pub(super) fn pause(&mut self, run: &str, paused: bool) -> Result<Answer, Rejection> {
        self.feed(Input::PauseRun { run: run_id(run), paused, by: me(), note: Arc::from("") })
    }

    pub(super) fn pause_pipeline(&mut self, pipeline: &str, paused: bool) -> Result<Answer, Rejection> {
        let pipeline = PipelineName::parse(pipeline).unwrap();
        self.feed(Input::PausePipeline { pipeline, paused, by: me(), note: Arc::from("") })
    }

    pub(super) fn unregister(&mut self, pipeline: &str) -> Result<Answer, Rejection> {
        self.feed(Input::Unregister { pipeline: PipelineName::parse(pipeline).unwrap(), by: me(), note: Arc::from("") })
    }

    pub(super) fn pool(&mut self, pool: &str, slots: impl Into<Option<u32>>) -> Result<Answer, Rejection> {
        self.feed(Input::SetPool { pool: pool.parse().unwrap(), slots: slots.into(), by: me(), note: Arc::from("") })
    }

    pub(super) fn drain(&mut self, worker: &str, drained: bool) -> Result<Answer, Rejection> {
        self.feed(Input::Drain { worker: worker.parse().unwrap(), drained, by: me() })
    }

    /// What is to be looked up in history is, and told.
    pub(super) fn recall(&mut self) {
        for recall in std::mem::take(&mut self.recalls) {
            let of = |run: &&SnapshotRun| run.record.pipeline == recall.pipeline && run.record.interval == Some(recall.interval);
            let mut runs: Vec<&SnapshotRun> = self.history.values().filter(of).collect();
            runs.sort_by_key(|run| run.record.no);
            let mut found = Recalled::new();
            for run in runs {
                let outputs = recall.tasks.iter().filter_map(|id| Some((id.clone(), (run.record.no, outputs_in(&run.tasks, id)?))));
                found.extend(outputs);
            }
            self.feed(Input::Recalled { run: recall.run, found }).unwrap();
        }
    }

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
            Effect::Recall(recall) => format!("recall for run {}", recall.run),
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

    /// A task of a run, as users see it.
    pub(super) fn task(&self, run: &str, task: &str) -> TaskRecord {
        self.leader.task(&run_id(run), &key(task)).unwrap_or_else(|| panic!("{run} has no {task}"))
    }

    /// Every task of a run as `name STATE(reason)`, in the order of their indices.
    pub(super) fn tasks(&self, run: &str) -> Vec<String> {
        let tasks = self.leader.tasks(&run_id(run), 0, usize::MAX).into_iter();
        tasks.map(|task| format!("{} {}", task.id, reasoned(task.state, task.reason))).collect()
    }

    /// How a run stands, as `STATE(reason)`.
    pub(super) fn how(&self, run: &str) -> String {
        let (state, reason) = self.run(run);
        reasoned(state, reason)
    }

    /// How a task stands, as `STATE(reason)`.
    pub(super) fn how_is(&self, run: &str, task: &str) -> String {
        let task = self.task(run, task);
        reasoned(task.state, task.reason)
    }
}

pub(super) fn reasoned(state: State, reason: Option<Reason>) -> String {
    reason.map_or(state.to_string(), |reason| format!("{state}({reason})"))
}
