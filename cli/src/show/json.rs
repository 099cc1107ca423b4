//! The JSON that scripts may rely on.

use penstock_client::v1;
use penstock_common::{State, Timestamp};
use serde_json::{Value, json};

fn time(ms: i64) -> Value {
    if ms == 0 { Value::Null } else { Timestamp(ms).to_string().into() }
}

fn word(reason: &str) -> Value {
    if reason.is_empty() { Value::Null } else { reason.into() }
}

/// Whole numbers are written without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}

/// The short name of a pipeline: the default namespace is not written.
fn pipeline_name(full: &str) -> String {
    full.parse::<penstock_common::PipelineName>().map_or_else(|_| full.to_owned(), |name| name.to_string())
}

/// A run without its tasks.
pub(crate) fn head(run: &v1::Run) -> Value {
    let interval = run.interval.as_ref().map(|i| json!({"start": time(i.start_ms), "end": time(i.end_ms)}));
    let trigger = run.trigger.as_ref().map(|t| json!({"kind": t.kind, "by": t.by}));
    json!({
        "run_id": run.run_id,
        "pipeline": pipeline_name(&run.pipeline),
        "version": run.version,
        "generation": run.generation,
        "trigger": trigger,
        "interval": interval,
        "params": serde_json::from_str::<Value>(&run.params).unwrap_or(Value::Null),
        "deadline": null,
        "state": State::from(run.state()).as_str(),
        "reason": word(&run.reason),
        "created_at": time(run.created_at_ms),
        "started_at": time(run.started_at_ms),
        "ended_at": time(run.ended_at_ms),
        "paused": run.paused,
        "parent": run.parent.as_ref().map(|p| p.run_id.clone()),
        "audit": run.audit.iter().map(audit).collect::<Vec<_>>(),
    })
}

fn audit(a: &v1::Audit) -> Value {
    json!({"at": time(a.at_ms), "verb": a.verb, "subject": word(&a.subject), "by": word(&a.by), "verified": false, "note": word(&a.note)})
}

/// A pool.
pub(crate) fn pool(p: &v1::PoolInfo) -> Value {
    let holders: Vec<_> = p.holders.iter().map(|a| json!({"run_id": a.run_id, "task": a.task, "attempt": a.attempt})).collect();
    let slots = if p.slots == u32::MAX { Value::Null } else { p.slots.into() };
    json!({"pool": p.name, "slots": slots, "used": p.used, "waiting": p.waiting, "holders": holders, "set": p.set.as_ref().map(audit)})
}

/// A task of a run, with its attempts.
pub(crate) fn task(task: &v1::Task) -> Value {
    json!({
        "id": task.id,
        "state": State::from(task.state()).as_str(),
        "reason": word(&task.reason),
        "detail": word(&task.detail),
        "child": word(&task.child),
        "instances": task.mapped.as_ref().filter(|m| m.count > 0).map(|m| m.count),
        "outputs": outputs(task),
        "attempts": task.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn outputs(task: &v1::Task) -> serde_json::Map<String, Value> {
    let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
    task.outputs.iter().map(|(key, text)| (key.clone(), read(text))).collect()
}

fn attempt(attempt: &v1::Attempt) -> Value {
    let metrics: serde_json::Map<_, _> = attempt.metrics.iter().map(|(k, v)| (k.clone(), number(*v))).collect();
    json!({
        "number": attempt.number,
        "fence": attempt.fence,
        "worker": attempt.worker,
        "state": State::from(attempt.state()).as_str(),
        "reason": word(&attempt.reason),
        "detail": attempt.detail,
        "started_at": time(attempt.started_at_ms),
        "ended_at": time(attempt.ended_at_ms),
        "exit_code": attempt.exit_code,
        "metrics": metrics,
    })
}

/// A pipeline.
pub(crate) fn pipeline(p: &v1::Pipeline) -> Value {
    json!({
        "pipeline": p.name, "version": p.version, "registered_at": time(p.registered_at_ms),
        "description": p.description, "tasks": p.tasks, "digest": p.digest, "owner": word(&p.owner), "tags": p.tags,
        "paused": p.paused.as_ref().map(audit), "unregistered": p.unregistered.as_ref().map(audit),
        "queued_runs": p.queued_runs, "active_runs": p.active_runs,
    })
}

/// A worker.
pub(crate) fn worker(w: &v1::WorkerInfo) -> Value {
    let attempts: Vec<_> = w.attempts.iter().map(|a| json!({"run_id": a.run_id, "task": a.task, "attempt": a.attempt})).collect();
    json!({
        "name": w.name, "attached": !w.session.is_empty(), "slots": w.slots, "used": w.used, "queues": w.queues,
        "labels": w.labels, "drained": w.drained, "leaving": w.closed && !w.drained, "attempts": attempts,
    })
}

/// A cluster.
pub(crate) fn cluster(c: &v1::GetClusterResponse) -> Value {
    json!({
        "node": c.node, "leading": c.leading,
        "leader": {"name": c.leader_name, "address": c.leader_address},
        "epoch": c.epoch.as_ref().map(|e| json!({"incarnation": e.incarnation, "revision": e.revision})),
        "seq": c.seq, "checkpoint_seq": c.checkpoint_seq,
        "store": {"kind": c.store, "file_bytes": c.store_file_bytes, "used_bytes": c.store_used_bytes, "quota_bytes": c.store_quota_bytes},
        "trouble": word(&c.trouble), "live_runs": c.live_runs, "leases": c.leases,
    })
}
