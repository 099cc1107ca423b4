//! Tables for people: columns as wide as they must be.

use std::collections::BTreeMap;

use penstock_client::v1;
use penstock_common::schedule::Zone;
use penstock_common::{State, Timestamp};

use super::pages::Shown;
use super::{duration, one_line};

/// Lines of cells, the first a heading.
fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| lines.iter().filter_map(|l| l.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn line(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| one_line(cell)).collect()
}

fn time(ms: i64) -> String {
    if ms == 0 { "-".to_owned() } else { Timestamp(ms).to_string() }
}

/// `FAILED(lost)`
pub(crate) fn state(state: State, reason: &str) -> String {
    if reason.is_empty() { state.to_string() } else { format!("{state}({reason})") }
}

fn took(start: i64, end: i64) -> String {
    if start == 0 || end == 0 { "-".to_owned() } else { duration(u64::try_from(end - start).unwrap_or(0)) }
}

fn records(task: &v1::Attempt) -> String {
    let of = |name| task.metrics.get(name).map_or("-".to_owned(), f64::to_string);
    let all = ["records_in", "records_out", "records_rejected"].map(of);
    if all.iter().all(|r| r == "-") { String::new() } else { all.join(" / ") }
}

/// Who did what, when and why, in a line.
fn audit(a: &v1::Audit) -> String {
    let about = if a.subject.is_empty() { String::new() } else { format!(" {}", a.subject) };
    let note = if a.note.is_empty() { String::new() } else { format!(": {}", one_line(&a.note)) };
    format!("{}  {}{about} by {} (unverified){note}\n", time(a.at_ms), a.verb, by(a))
}

fn by(audit: &v1::Audit) -> String {
    if audit.by.is_empty() { "somebody".to_owned() } else { one_line(&audit.by) }
}

/// A run and its tasks.
pub(crate) fn run(shown: &Shown) -> String {
    let Shown { run, left_out } = shown;
    let head = &run.run;
    let mut text = format!(
        "run {}  pipeline {} version {}  generation {}\n{}  created {}  took {}\n",
        head.run_id,
        head.pipeline,
        head.version,
        head.generation,
        state(head.state().into(), &head.reason),
        time(head.created_at_ms),
        took(head.started_at_ms, head.ended_at_ms),
    );
    if head.paused {
        text.push_str("paused\n");
    }
    if let Some(parent) = &head.parent {
        text.push_str(&format!("started by run {}\n", parent.run_id));
    }
    for a in &head.audit {
        text.push_str(&audit(a));
    }
    if !head.quarantined.is_empty() {
        text.push_str(&format!("quarantined: {}\n", head.quarantined));
    }
    let mut lines = vec![line(&["TASK", "STATE", "ATTEMPT", "WORKER", "TOOK", "IN / OUT / REJECTED", "DETAIL"])];
    for task in &run.tasks {
        let last = task.attempts.last().cloned().unwrap_or_default();
        let number = if last.number == 0 { "-".to_owned() } else { last.number.to_string() };
        let detail = match (&task.mapped, task.detail.is_empty()) {
            (Some(mapped), _) if mapped.count > 0 => instances(mapped),
            (_, false) => task.detail.lines().last().unwrap_or_default().to_owned(),
            _ if !task.child.is_empty() => format!("run {}", task.child),
            _ => last.detail.lines().last().unwrap_or_default().to_owned(),
        };
        let took = took(last.started_at_ms, last.ended_at_ms);
        let shown = state(task.state().into(), &task.reason);
        lines.push(line(&[&task.id, &shown, &number, &last.worker, &took, &records(&last), &detail]));
    }
    text += &columns(&lines);
    for (task, count) in left_out {
        text.push_str(&format!("{count} more instances of {task} are not shown: penstock get {} -o json has all\n", head.run_id));
    }
    text
}

/// `1000 instances: 998 SUCCESS, 2 FAILED`
fn instances(mapped: &v1::Mapped) -> String {
    let counts = State::ALL.iter().zip(&mapped.counts).filter(|(_, n)| **n > 0).map(|(state, n)| format!("{n} {state}"));
    format!("{} instances: {}", mapped.count, counts.collect::<Vec<_>>().join(", "))
}

/// Runs.
pub(crate) fn runs(runs: &[v1::Run]) -> String {
    let mut lines = vec![line(&["RUN", "PIPELINE", "STATE", "CREATED", "TOOK", "TASKS"])];
    for r in runs {
        let done: u32 = r.counts.get(2).copied().unwrap_or(0);
        let took = took(r.started_at_ms, r.ended_at_ms);
        let shown = state(r.state().into(), &r.reason);
        let tasks = format!("{done}/{}", r.tasks);
        let name = r.pipeline.strip_prefix("default/").unwrap_or(&r.pipeline);
        lines.push(line(&[&r.run_id, name, &shown, &time(r.created_at_ms), &took, &tasks]));
    }
    columns(&lines)
}

/// Pipelines.
pub(crate) fn pipelines(pipelines: &[v1::Pipeline]) -> String {
    let mut lines = vec![line(&["PIPELINE", "VERSION", "STATE", "TASKS", "QUEUED", "ACTIVE", "REGISTERED", "DESCRIPTION"])];
    for p in pipelines {
        let state = match (&p.unregistered, &p.paused) {
            (Some(_), _) => "unregistered",
            (None, Some(_)) => "paused",
            (None, None) => "-",
        };
        let counts = [p.version, p.tasks, p.queued_runs, p.active_runs].map(|n| n.to_string());
        let [version, tasks, queued, active] = &counts;
        lines.push(line(&[&p.name, version, state, tasks, queued, active, &time(p.registered_at_ms), &p.description]));
    }
    columns(&lines)
}

/// Pools.
pub(crate) fn pools(pools: &[v1::PoolInfo]) -> String {
    let mut lines = vec![line(&["POOL", "SLOTS", "USED", "WAITING", "HELD BY"])];
    for p in pools {
        let slots = if p.slots == u32::MAX { "unlimited".to_owned() } else { p.slots.to_string() };
        let held: Vec<_> = p.holders.iter().map(|a| format!("{}/{}#{}", a.run_id, a.task, a.attempt)).collect();
        lines.push(line(&[&p.name, &slots, &p.used.to_string(), &p.waiting.to_string(), &held.join(" ")]));
    }
    columns(&lines)
}

/// Workers.
pub(crate) fn workers(workers: &[v1::WorkerInfo]) -> String {
    let mut lines = vec![line(&["WORKER", "STATE", "SLOTS", "QUEUES", "RUNS"])];
    for w in workers {
        let shown = match (w.session.is_empty(), w.drained, w.closed) {
            (true, ..) => "absent, drained",
            (_, true, _) => "drained",
            (_, _, true) => "leaving",
            _ => "attached",
        };
        let slots = format!("{}/{}", w.used, w.slots);
        let held: Vec<_> = w.attempts.iter().map(|a| format!("{}/{}#{}", a.run_id, a.task, a.attempt)).collect();
        lines.push(line(&[&w.name, shown, &slots, &w.queues.join(","), &held.join(" ")]));
    }
    columns(&lines)
}

/// A cluster.
pub(crate) fn cluster(c: &v1::GetClusterResponse) -> String {
    let leader = if c.leader_name.is_empty() { "none".to_owned() } else { format!("{} at {}", c.leader_name, c.leader_address) };
    let mut lines = vec![
        line(&["leader", &leader]),
        line(&["answered by", &c.node]),
        line(&["journal", &format!("entry {}, checkpoint at {}", c.seq, c.checkpoint_seq)]),
        line(&["store", &format!("{}, {} bytes in use of {}", c.store, c.store_used_bytes, c.store_quota_bytes)]),
        line(&["live", &format!("{} runs, {} attempts", c.live_runs, c.leases)]),
    ];
    if !c.trouble.is_empty() {
        lines.push(line(&["trouble", &c.trouble]));
    }
    columns(&lines)
}

/// A schedule and some of its intervals.
pub(crate) fn schedule(s: &v1::GetScheduleResponse) -> String {
    let mut text = format!("pipeline {}  zone {}\n", s.pipeline, s.zone);
    if s.next_begins_ms == 0 {
        text.push_str("it has no schedule\n");
    }
    if !s.stopped.is_empty() {
        text.push_str(&format!("{}\n", s.stopped));
    }
    for paused in &s.paused {
        let by = by(&paused.audit.clone().unwrap_or_default());
        text.push_str(&format!("{} is paused by {by} (unverified)\n", paused.trigger));
    }
    if !s.skipped.is_empty() {
        let counts: Vec<String> = s.skipped.iter().map(|k| format!("{} {}", k.count, k.reason)).collect();
        text.push_str(&format!("skipped so far: {}\n", counts.join(", ")));
    }
    let mut lines = vec![line(&["INTERVAL FROM", "TO", "STARTS", "STARTS (UTC)", "OUTCOME"])];
    for i in &s.intervals {
        lines.push(line(&[
            &i.local_start,
            &i.local_end,
            &i.local_due,
            &time(i.due_at_ms),
            if i.outcome.is_empty() { "-" } else { &i.outcome },
        ]));
    }
    text.push_str(&columns(&lines));
    text
}

/// What a backfill runs, and why not the rest.
pub(crate) fn plan(pipeline: &str, id: Option<&String>, answer: &v1::CreateBackfillResponse) -> String {
    let mut lines = vec![line(&["INTERVAL FROM", "TO", "RUNS", "WHY"])];
    for i in &answer.intervals {
        lines.push(line(&[&i.local_start, &i.local_end, if i.runs { "yes" } else { "no" }, &i.why]));
    }
    let runs = answer.intervals.iter().filter(|i| i.runs).count();
    let mut text = columns(&lines);
    text.push_str(&format!("{runs} of {} intervals of {pipeline} run, {} at once", answer.intervals.len(), answer.max_active));
    if answer.mean_run_ms > 0 && runs > 0 {
        let turns = (runs as u64).div_ceil(u64::from(answer.max_active.max(1)));
        text.push_str(&format!(
            "; about {} in all, by a mean of {} a run",
            duration(turns * answer.mean_run_ms),
            duration(answer.mean_run_ms)
        ));
    }
    match id {
        Some(id) => text.push_str(&format!("\nbackfill {id}")),
        None => text.push_str("\nnothing was started: leave --dry-run out to run them"),
    }
    text
}

/// How each run of a backfill ended, by the number of its interval.
pub(crate) fn ended(backfill: &v1::Backfill) -> BTreeMap<u32, State> {
    let (pairs, _) = backfill.ended.as_chunks::<2>();
    pairs.iter().filter_map(|&[number, state]| Some((number, *State::ALL.get(state as usize)?))).collect()
}

fn standing(backfill: &v1::Backfill) -> String {
    if is_paused(backfill) { "PAUSED".to_owned() } else { State::from(backfill.state()).to_string() }
}

/// One that has ended, or is being cancelled, keeps who paused it, and is not paused.
pub(crate) fn is_paused(backfill: &v1::Backfill) -> bool {
    backfill.paused.is_some() && backfill.cancelled.is_none() && !State::from(backfill.state()).is_terminal()
}

/// In which people say the dates of a backfill.
pub(crate) fn zone(info: &v1::BackfillInfo) -> Zone {
    Zone::get(&info.zone).unwrap_or_else(|_| Zone::utc())
}

/// Backfills, a line each.
pub(crate) fn backfills(all: &[v1::BackfillInfo]) -> String {
    let mut lines = vec![line(&["BACKFILL", "PIPELINE", "STATE", "DONE", "FAILED", "RUNNING", "CREATED", "BY"])];
    for info in all {
        let b = info.backfill.clone().unwrap_or_default();
        let created = b.created.clone().unwrap_or_default();
        let state = standing(&b);
        let done = format!("{}/{}", info.succeeded + info.failed + info.cancelled, info.intervals);
        let (failed, live) = (info.failed.to_string(), info.live.len().to_string());
        lines.push(line(&[&b.id, &b.pipeline, &state, &done, &failed, &live, &time(created.at_ms), &created.by]));
    }
    columns(&lines)
}

/// A backfill and its intervals.
pub(crate) fn backfill(info: &v1::BackfillInfo) -> String {
    let b = info.backfill.clone().unwrap_or_default();
    let mut text = format!("{}\n", progress(info));
    for done in [&b.created, &b.paused, &b.cancelled].into_iter().flatten() {
        text.push_str(&audit(done));
    }
    let (ended, zone) = (ended(&b), zone(info));
    let mut lines = vec![line(&["INTERVAL FROM", "TO", "STATE"])];
    for (number, interval) in penstock_proto::intervals(&b.bounds).unwrap_or_default().iter().enumerate() {
        let state = match ended.get(&(number as u32)) {
            Some(state) => state.to_string(),
            None if (number as u32) < b.next => "running".to_owned(),
            None => "-".to_owned(),
        };
        lines.push(line(&[&zone.local(interval.start()), &zone.local(interval.end()), &state]));
    }
    text.push_str(&columns(&lines));
    text
}

/// How far a backfill is, in a line.
pub(crate) fn progress(info: &v1::BackfillInfo) -> String {
    const WIDTH: usize = 30;
    let b = info.backfill.clone().unwrap_or_default();
    let done = info.succeeded + info.failed + info.cancelled;
    let filled = if info.intervals == 0 { WIDTH } else { done as usize * WIDTH / info.intervals as usize };
    let state = standing(&b);
    let failed = if info.failed > 0 { format!(", {} failed", info.failed) } else { String::new() };
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
    format!("{} [{bar}] {done}/{} {state}, {} running{failed}", b.id, info.intervals, info.live.len())
}

/// Triggers, a line each.
pub(crate) fn triggers(all: &[v1::TriggerInfo]) -> String {
    let mut lines = vec![line(&["PIPELINE", "TRIGGER", "KIND", "OF", "STATE"])];
    for t in all {
        let state = match (&t.paused, t.gathered, t.trouble.is_empty()) {
            (Some(_), ..) => "paused".to_owned(),
            (None, _, false) => t.trouble.clone(),
            (None, 0, true) if t.kind == "file" => format!("{} files seen", t.files),
            (None, 0, true) => "-".to_owned(),
            (None, n, true) => format!("{n} gathered, starts at {}", time(t.starts_at_ms)),
        };
        lines.push(line(&[&t.pipeline, &t.name, &t.kind, &t.of, &state]));
    }
    columns(&lines)
}

/// Events that started nothing, a line each.
pub(crate) fn dead_events(all: &[v1::DeadEvent]) -> String {
    let mut lines = vec![line(&["EVENT", "AT", "WHAT", "PIPELINE", "TRIGGER", "WHY"])];
    for e in all {
        let h = e.happening.clone().unwrap_or_default();
        let what = match &h.what {
            Some(v1::happening::What::Emitted(what)) => format!("{} {}", what.name, what.id),
            Some(v1::happening::What::Ended(what)) => format!("run {}", what.run_id),
            Some(v1::happening::What::File(what)) => what.path.clone(),
            None => "-".to_owned(),
        };
        let or = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        lines.push(line(&[&e.no.to_string(), &time(h.at_ms), &what, &or(&e.pipeline), &or(&e.trigger), &e.why]));
    }
    columns(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(backfill: v1::Backfill) -> v1::BackfillInfo {
        v1::BackfillInfo { backfill: Some(backfill), intervals: 1, zone: "Europe/Paris".to_owned(), ..Default::default() }
    }

    #[test]
    fn a_backfill_is_paused_until_it_is_cancelled() {
        let audit = |verb: &str| Some(v1::Audit { verb: verb.to_owned(), ..v1::Audit::default() });
        let paused = v1::Backfill { state: v1::State::Running.into(), paused: audit("pause"), ..v1::Backfill::default() };
        assert!(backfill(&info(paused.clone())).contains("PAUSED"));
        let ending = v1::Backfill { cancelled: audit("cancel"), ..paused };
        assert!(progress(&info(ending.clone())).contains("RUNNING"), "its runs have not ended");
        let cancelled = v1::Backfill { state: v1::State::Cancelled.into(), ..ending };
        for shown in [backfill(&info(cancelled.clone())), backfills(&[info(cancelled.clone())])] {
            assert!(shown.contains("CANCELLED") && !shown.contains("PAUSED"), "{shown}");
        }
    }

    #[test]
    fn a_backfill_shows_notes_in_a_line_and_intervals_in_the_pipelines_zone() {
        let created = v1::Audit { verb: "backfill".to_owned(), note: "a\nb\u{1b}[2J".to_owned(), ..v1::Audit::default() };
        // 2024-01-31T00:00 in Paris, a day long.
        let bounds = vec![1_706_655_600_000, 86_400_000];
        let shown = backfill(&info(v1::Backfill { created: Some(created), bounds, ..v1::Backfill::default() }));
        assert!(shown.contains("backfill by somebody (unverified): a …\n"), "{shown}");
        assert!(shown.contains("2024-01-31T00:00:00+01:00  2024-02-01T00:00:00+01:00"), "{shown}");
    }
}
