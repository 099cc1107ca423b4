//! Register and submit.

use std::sync::Arc;

use penstock_common::event::RunCreated;
use penstock_common::limits::{MAX_LIVE_TASKS, MAX_NOTE_BYTES, MAX_PARAMS_BYTES, MAX_QUEUED_RUNS_PER_PIPELINE, MAX_VERSIONS_PER_PIPELINE};
use penstock_common::record::{Trigger, TriggerKind};
use penstock_common::suggest::closest;
use penstock_common::{Event, RunNo, TaskKey};

use super::{Deciding, bounded, ranges};
use crate::input::{Answer, Rejection, Submit};
use crate::intervals::last_ended;
use crate::plan::Plan;
use crate::state::State;

/// Work for a "did you mean", as [`closest`] counts it.
const SUGGESTION_WORK: usize = 1_000_000;

impl Deciding<'_> {
    /// The same definition as the newest version is that version; so registering may be repeated.
    pub(crate) fn register(&mut self, plan: Arc<Plan>) -> Result<Answer, Rejection> {
        let (version, created) = would_register(self.state, &plan)?;
        if !created {
            return Ok(Answer::Version { version, created });
        }
        let (name, digest) = (plan.pipeline.name.clone(), plan.digest);
        let versions = self.state.pipelines.get(&name);
        let dropped = versions.map_or_else(Vec::new, |v| {
            let bound = |n: &u32| self.state.runs.values().any(|run| run.record.pipeline == name && run.record.version == *n);
            let surplus = (v.by_number.len() + 1).saturating_sub(MAX_VERSIONS_PER_PIPELINE);
            v.by_number.keys().copied().filter(|n| !bound(n)).take(surplus).collect()
        });
        let is_new = versions.is_none_or(|v| v.unregistered.is_some());
        let before = versions.and_then(|v| v.by_number.last_key_value()).map(|(number, _)| *number);
        let old = before.and_then(|number| self.state.plan(&name, number)).cloned();
        self.state.learn(plan.clone());
        // The new version may allow more active runs.
        self.term.starting.insert(name.clone());
        self.emit(Event::PipelineRegistered { pipeline: name.clone(), version, digest, dropped, at: self.now.now });
        if let Some(old) = old {
            self.forget_triggers(&name, &old, &plan);
        }
        self.begin_schedule(&name, &plan, is_new);
        Ok(Answer::Version { version, created })
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
        let params = written(params)?;
        let not_selected = left_out(&plan, &submit)?;
        // What a person starts covers the last interval that has ended, unless they say another.
        let by_hand = plan.pipeline.schedule.as_ref().filter(|_| submit.trigger == TriggerKind::Manual);
        let interval = submit.interval.or_else(|| by_hand.and_then(|schedule| last_ended(schedule, self.now.wall)));
        super::fits(&not_selected, "select fewer tasks one by one, or more with their neighbours (+task, task+)")?;
        self.emit(Event::RunCreated(Box::new(RunCreated {
            run: RunNo(self.state.last_run.0 + 1),
            id: submit.run.clone(),
            pipeline: submit.pipeline,
            version,
            params,
            trigger: Trigger {
                kind: submit.trigger,
                by: bounded(&submit.by, MAX_NOTE_BYTES),
                source: bounded(&submit.source, MAX_NOTE_BYTES),
                depth: submit.depth,
            },
            interval,
            run_timeout: plan.pipeline.run_timeout,
            parent: submit.parent,
            not_selected,
            cause: submit.cause,
            request_digest: submit.digest,
            at: self.now.now,
        })));
        Ok(Answer::Run { run: submit.run, created: true, version })
    }
}

/// Parameters as state keeps them.
pub(super) fn written(params: serde_json::Map<String, serde_json::Value>) -> Result<Arc<str>, Rejection> {
    let text = serde_json::Value::Object(params).to_string();
    if text.len() > MAX_PARAMS_BYTES {
        return Err(Rejection::BadParams(vec![format!("parameters take {} bytes, {MAX_PARAMS_BYTES} is the limit", text.len())]));
    }
    Ok(text.into())
}

/// The version that a definition is or would be, and whether that is a new one.
pub(crate) fn would_register(state: &State, plan: &Plan) -> Result<(u32, bool), Rejection> {
    let name = &plan.pipeline.name;
    let mut pools = plan.tasks().iter().filter_map(|t| t.spec.pool.as_ref());
    if let Some(pool) = pools.find(|pool| !state.pools.contains_key(*pool)) {
        return Err(Rejection::UnknownPool { pipeline: name.clone(), pool: pool.clone() });
    }
    let Some(versions) = state.pipelines.get(name) else { return Ok((1, true)) };
    Ok(match versions.by_number.last_key_value() {
        Some((version, (known, _))) if *known == plan.digest && versions.unregistered.is_none() => (*version, false),
        newest => (newest.map_or(1, |(version, _)| version + 1), true),
    })
}

/// The tasks that a submit does not ask for.
fn left_out(plan: &Plan, submit: &Submit) -> Result<Vec<(u32, u32)>, Rejection> {
    if submit.only.is_empty() {
        return Ok(Vec::new());
    }
    let mut chosen = std::collections::BTreeSet::new();
    for selector in &submit.only {
        let known = plan.find(&selector.task.task).filter(|_| selector.task.index.is_none());
        let node = known.ok_or_else(|| not_of(plan, &selector.task))?;
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

/// Who asks for runs chooses whole tasks of the pipeline.
pub(crate) fn not_of(plan: &Plan, task: &TaskKey) -> Rejection {
    let pipeline = plan.pipeline.name.clone();
    let hint = if task.index.is_some() {
        format!("a new run has no instances yet: name the whole task, {}", task.task)
    } else {
        let names = plan.tasks().iter().map(|t| t.id.as_str());
        match closest(task.task.as_str(), names, &mut { SUGGESTION_WORK }) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("see what it has with: penstock pipelines {pipeline}"),
        }
    };
    Rejection::NotOfPipeline { pipeline, task: task.clone(), hint }
}
