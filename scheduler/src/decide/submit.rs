//! Register and submit.

use std::sync::Arc;

use penstock_common::event::RunCreated;
use penstock_common::limits::{MAX_LIVE_TASKS, MAX_NOTE_BYTES, MAX_PARAMS_BYTES, MAX_QUEUED_RUNS_PER_PIPELINE, MAX_VERSIONS_PER_PIPELINE};
use penstock_common::record::Trigger;
use penstock_common::{Event, RunNo};

use super::{Deciding, bounded, ranges};
use crate::input::{Answer, Rejection, Submit};
use crate::plan::Plan;

impl Deciding<'_> {
    /// The same definition as the newest version is that version; so registering may be repeated.
    pub(crate) fn register(&mut self, plan: Arc<Plan>) -> Result<Answer, Rejection> {
        let name = plan.pipeline.name.clone();
        let digest = plan.digest;
        let pools = plan.tasks().iter().filter_map(|t| t.spec.pool.as_ref());
        if let Some(pool) = pools.into_iter().find(|pool| !self.state.pools.contains_key(*pool)) {
            return Err(Rejection::UnknownPool { pipeline: name, pool: pool.clone() });
        }
        let versions = self.state.pipelines.get(&name);
        let newest = versions.and_then(|v| v.by_number.last_key_value()).map(|(n, (digest, _))| (*n, *digest));
        let is_off = versions.is_some_and(|v| v.unregistered.is_some());
        if let Some((version, _)) = newest.filter(|(_, known)| *known == digest && !is_off) {
            return Ok(Answer::Version { version, created: false });
        }
        let dropped = versions.map_or_else(Vec::new, |v| {
            let bound = |n: &u32| self.state.runs.values().any(|run| run.record.pipeline == name && run.record.version == *n);
            let surplus = (v.by_number.len() + 1).saturating_sub(MAX_VERSIONS_PER_PIPELINE);
            v.by_number.keys().copied().filter(|n| !bound(n)).take(surplus).collect()
        });
        self.state.learn(plan);
        let version = newest.map_or(1, |(n, _)| n + 1);
        // The new version may allow more active runs.
        self.term.starting.insert(name.clone());
        self.emit(Event::PipelineRegistered { pipeline: name, version, digest, dropped, at: self.now.now });
        Ok(Answer::Version { version, created: true })
    }

    /// A run id is a run's once; the same submit again is answered with the same run.
    pub(crate) fn submit(&mut self, submit: Submit) -> Result<Answer, Rejection> {
        if let Some((_, run)) = self.state.run_by_id(&submit.run) {
            if run.record.request_digest != submit.digest {
                return Err(Rejection::RunExists(submit.run));
            }
            return Ok(Answer::Run { run: submit.run, created: false, version: run.record.version });
        }
        if self.state.archived.contains_key(&submit.run) {
            return Err(Rejection::RunExists(submit.run));
        }
        let versions = self.state.pipelines.get(&submit.pipeline).ok_or_else(|| Rejection::UnknownPipeline(submit.pipeline.clone()))?;
        if let Some(off) = &versions.unregistered {
            return Err(Rejection::Unregistered { pipeline: submit.pipeline, by: off.by.clone(), at: off.at.to_string() });
        }
        let newest = versions.by_number.last_key_value().map_or(0, |(n, _)| *n);
        let version = submit.version.unwrap_or(newest);
        let plan = self.state.plan(&submit.pipeline, version).cloned().ok_or_else(|| Rejection::UnknownVersion {
            pipeline: submit.pipeline.clone(),
            version,
            newest,
        })?;
        if versions.queued.len() >= MAX_QUEUED_RUNS_PER_PIPELINE {
            let what = format!("pipeline {} has {} queued runs", submit.pipeline, versions.queued.len());
            return Err(Rejection::Overloaded { what, limit: MAX_QUEUED_RUNS_PER_PIPELINE });
        }
        if self.state.live_tasks + plan.len() > MAX_LIVE_TASKS {
            let what = format!("{} tasks are live and this run has {}", self.state.live_tasks, plan.len());
            return Err(Rejection::Overloaded { what, limit: MAX_LIVE_TASKS });
        }
        let params = plan.pipeline.bind_params(&submit.params).map_err(Rejection::BadParams)?;
        let params = serde_json::Value::Object(params).to_string();
        if params.len() > MAX_PARAMS_BYTES {
            return Err(Rejection::BadParams(vec![format!("parameters take {} bytes, {MAX_PARAMS_BYTES} is the limit", params.len())]));
        }
        let not_selected = left_out(&plan, &submit)?;
        super::fits(&not_selected, "select fewer tasks one by one, or more with their neighbours (+task, task+)")?;
        self.emit(Event::RunCreated(Box::new(RunCreated {
            run: RunNo(self.state.last_run.0 + 1),
            id: submit.run.clone(),
            pipeline: submit.pipeline,
            version,
            params: params.into(),
            trigger: Trigger { kind: submit.trigger, by: bounded(&submit.by, MAX_NOTE_BYTES) },
            interval: submit.interval,
            run_timeout: plan.pipeline.run_timeout,
            parent: submit.parent,
            not_selected,
            request_digest: submit.digest,
            at: self.now.now,
        })));
        Ok(Answer::Run { run: submit.run, created: true, version })
    }
}

/// The tasks that a submit does not ask for.
fn left_out(plan: &Plan, submit: &Submit) -> Result<Vec<(u32, u32)>, Rejection> {
    if submit.only.is_empty() {
        return Ok(Vec::new());
    }
    let mut chosen = std::collections::BTreeSet::new();
    for selector in &submit.only {
        let known = plan.find(&selector.task.task).filter(|_| selector.task.index.is_none());
        let node = known.ok_or_else(|| Rejection::UnknownTask { run: submit.run.clone(), task: selector.task.clone() })?;
        chosen.insert(node);
        if selector.above {
            chosen.extend(plan.cone([node], |t| &t.upstream));
        }
        if selector.below {
            chosen.extend(plan.cone([node], |t| &t.downstream));
        }
    }
    Ok(ranges((0..plan.len() as u32).filter(|task| !chosen.contains(task))))
}
