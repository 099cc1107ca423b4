//! What a person says: yes or no to a task, pause and resume, pools, a pipeline taken off.

use penstock_common::event::TaskEnded;
use penstock_common::limits::MAX_POOLS;
use penstock_common::metrics::Outputs;
use penstock_common::{Event, PipelineName, PoolName, Reason, RunId, State, TaskKey};

use super::Deciding;
use super::report::branches;
use crate::input::{Answer, Rejection};

impl Deciding<'_> {
    /// Approve or release: SUCCESS. Reject: FAILED(rejected).
    pub(crate) fn person_says(&mut self, id: &RunId, key: &TaskKey, approve: bool, by: &str, note: &str) -> Result<Answer, Rejection> {
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        let unknown = || Rejection::UnknownTask { run: id.clone(), task: key.clone() };
        let index = run.find(key).ok_or_else(unknown)?;
        let task = run.task(index);
        let asked = task.waits() && (task.reason == Some(Reason::Held) || run.spec(index).action.kind() == "approve");
        if !asked {
            let state = task.reason.map_or_else(|| task.state.to_string(), |reason| format!("{}({reason})", task.state));
            let expected = "only an `approve` task that waits, or one that is RUNNING(held), takes a verdict";
            return Err(Rejection::WrongState { run: id.clone(), task: key.clone(), state, expected });
        }
        let (state, reason) = if approve { (State::Success, None) } else { (State::Failed, Some(Reason::Rejected)) };
        let verb = match (approve, task.reason) {
            (true, Some(Reason::Held)) => "release",
            (true, _) => "approve",
            (false, _) => "reject",
        };
        let outputs = task.outputs.as_deref().cloned().unwrap_or_default();
        let passed_over = match (approve && run.spec(index).branch).then(|| branches(run, run.node(index), &outputs)) {
            Some(Ok(tasks)) => tasks,
            _ => Vec::new(),
        };
        let audit = self.audit(verb, &key.to_string(), by, note);
        self.emit(Event::TaskEnded(Box::new(TaskEnded {
            run: no,
            task: index,
            state,
            reason,
            detail: audit.note.clone(),
            outputs: Outputs::default(),
            audit: Some(audit),
            not_before: None,
            at: self.now.now,
        })));
        self.pass_over(no, passed_over);
        Ok(Answer::Done)
    }

    pub(crate) fn pause_run(&mut self, id: &RunId, paused: bool, by: &str, note: &str) -> Result<Answer, Rejection> {
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        if run.record.state.is_terminal() {
            let verb = if paused { "pause" } else { "resume" };
            return Err(Rejection::Refused(format!("run {id} has ended as {}: there is nothing to {verb}", run.record.state)));
        }
        if run.record.paused == paused {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if paused { "pause" } else { "resume" }, "", by, note);
        self.emit(Event::RunPaused { run: no, paused, audit });
        Ok(Answer::Changed(true))
    }

    pub(crate) fn pause_pipeline(&mut self, name: PipelineName, paused: bool, by: &str, note: &str) -> Result<Answer, Rejection> {
        let versions = self.state.pipelines.get(&name).ok_or_else(|| Rejection::UnknownPipeline(name.clone()))?;
        if versions.paused.is_some() == paused {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if paused { "pause" } else { "resume" }, "", by, note);
        self.term.starting.insert(name.clone());
        self.emit(Event::PipelinePaused { pipeline: name.clone(), paused, audit });
        self.await_next(&name);
        Ok(Answer::Changed(true))
    }

    /// What runs of it goes on, and so do queued runs.
    pub(crate) fn unregister(&mut self, name: PipelineName, by: &str, note: &str) -> Result<Answer, Rejection> {
        let versions = self.state.pipelines.get(&name).ok_or_else(|| Rejection::UnknownPipeline(name.clone()))?;
        if versions.unregistered.is_some() {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit("unregister", "", by, note);
        self.emit(Event::PipelineUnregistered { pipeline: name.clone(), audit });
        self.term.fires.drop(&name);
        Ok(Answer::Changed(true))
    }

    pub(crate) fn set_pool(&mut self, pool: PoolName, slots: Option<u32>, by: &str, note: &str) -> Result<Answer, Rejection> {
        if slots.is_none() {
            if !self.state.pools.contains_key(&pool) {
                return Ok(Answer::Changed(false));
            }
            if let Some(by) = self.user_of(&pool) {
                return Err(Rejection::PoolInUse { pool, by });
            }
        } else if self.state.pools.len() >= MAX_POOLS && !self.state.pools.contains_key(&pool) {
            return Err(Rejection::Overloaded { what: format!("there are {} pools", self.state.pools.len()), limit: MAX_POOLS });
        }
        if self.state.pools.get(&pool).map(|p| p.slots) == slots {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit("pool", pool.as_str(), by, note);
        self.emit(Event::PoolSet { pool: pool.clone(), slots, audit });
        self.term.pool_changed(self.state, &pool);
        Ok(Answer::Changed(true))
    }

    /// A pipeline whose newest version, or a live run of which, names the pool.
    fn user_of(&self, pool: &PoolName) -> Option<PipelineName> {
        let names = |plan: &crate::Plan| plan.tasks().iter().any(|t| t.spec.pool.as_ref() == Some(pool));
        let newest = self.state.pipelines.iter().filter(|(_, v)| v.unregistered.is_none()).filter_map(|(name, v)| {
            let (_, (digest, _)) = v.by_number.last_key_value()?;
            Some((name, self.state.definitions.get(digest)?))
        });
        let mut all =
            newest.chain(self.state.runs.values().filter(|r| !r.record.state.is_terminal()).map(|r| (&r.record.pipeline, &r.plan)));
        all.find(|(_, plan)| names(plan)).map(|(name, _)| name.clone())
    }
}
