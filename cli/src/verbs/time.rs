//! Schedules and backfills.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use penstock_client::{Backfill, Client, v1};
use penstock_common::{Interval, State, Timestamp};
use serde_json::json;

use super::{connect, out};
use crate::BadArgument;
use crate::args::Output;
use crate::args::time::{Backfill as Args, Backfills, Events, OfBackfill, Order, Reprocess, Schedule, Trigger, TriggerVerb, Triggers};
use crate::show::{duration, table};
use crate::{local, show};

pub(super) async fn schedule(verb: Schedule) -> anyhow::Result<ExitCode> {
    match verb {
        Schedule::Preview { pipeline, from, to, client } => {
            let answer = connect(&client)?.schedule(&pipeline, &from, &to, 0).await?;
            out(client.output, || schedule_json(&answer), || table::schedule(&answer))
        }
        Schedule::Next { pipeline, count, client } => {
            let answer = connect(&client)?.schedule(&pipeline, "", "", count).await?;
            out(client.output, || schedule_json(&answer), || table::schedule(&answer))
        }
        Schedule::Pause(of) => pause(of, false).await,
        Schedule::Resume(of) => pause(of, true).await,
        Schedule::Rewind { pipeline, to, why, client } => {
            let answer = connect(&client)?.rewind(&pipeline, &to, &why.note).await?;
            let at = Timestamp(answer.next_begins_ms);
            let said = match answer.changed {
                true => format!("the next interval of {pipeline} begins at {at}"),
                false => format!("the next interval of {pipeline} begins at {at} already"),
            };
            out(client.output, || json!({"pipeline": pipeline, "next_begins": at, "changed": answer.changed}), || said)
        }
    }
}

async fn pause(of: Trigger, resume: bool) -> anyhow::Result<ExitCode> {
    let client = connect(&of.client)?;
    let paused = if resume { client.schedule(&of.pipeline, "", "", 1).await?.paused } else { Vec::new() };
    let since = paused.into_iter().find(|paused| paused.trigger == of.trigger).and_then(|paused| Some(paused.audit?.at_ms));
    let changed = client.pause_trigger(&of.pipeline, &of.trigger, resume, &of.why.note).await?.changed;
    let state = if resume { "resumed" } else { "paused" };
    let mut said =
        format!("{} of {} {}", of.trigger, of.pipeline, if changed { format!("is {state}") } else { format!("was {state} already") });
    if let Some(since) = since.filter(|_| of.trigger == "schedule") {
        said.push_str(&gap(&client, &of.pipeline, since).await?);
    }
    let value = || json!({"pipeline": of.pipeline, "trigger": of.trigger, "paused": !resume, "changed": changed});
    out(of.client.output, value, || said)
}

pub(super) async fn triggers(args: Triggers) -> anyhow::Result<ExitCode> {
    if let Some(TriggerVerb::Token { pipeline, trigger, revoke, client }) = args.verb {
        return token(&pipeline, &trigger, revoke, &client).await;
    }
    let all = connect(&args.client)?.triggers(&args.pipeline).await?.triggers;
    let one = |t: &v1::TriggerInfo| {
        json!({
            "pipeline": t.pipeline, "name": t.name, "kind": t.kind, "of": t.of, "paused": t.paused.is_some(), "gathered": t.gathered,
            "starts_at": (t.starts_at_ms != 0).then_some(Timestamp(t.starts_at_ms)), "files": t.files, "trouble": t.trouble,
        })
    };
    out(args.client.output, || json!(all.iter().map(one).collect::<Vec<_>>()), || table::triggers(&all))
}

async fn token(pipeline: &str, trigger: &str, revoke: bool, args: &crate::args::Client) -> anyhow::Result<ExitCode> {
    let client = connect(args)?;
    // 160 random bits.
    let minted = penstock_common::Digest::of(format!("{}{}", penstock_client::mint(), penstock_client::mint()).as_bytes()).to_string();
    client.set_trigger_token(pipeline, trigger, (!revoke).then_some(minted.as_str())).await?;
    let said = if revoke { format!("nobody may call the webhook of {trigger} of {pipeline}") } else { minted.clone() };
    out(args.output, || json!({"pipeline": pipeline, "trigger": trigger, "token": (!revoke).then_some(&minted)}), || said)
}

pub(super) async fn events(verb: Events) -> anyhow::Result<ExitCode> {
    match verb {
        Events::Emit { name, payload, id, client } => {
            let value = serde_json::from_str(&payload).map_err(|e| BadArgument(format!("--payload {payload:?} is not JSON: {e}")))?;
            let answer = connect(&client)?.emit(&name, &value, id.as_deref()).await?;
            out(client.output, || json!({"event": answer.event, "name": name}), || format!("event {} ({name}) is accepted", answer.event))
        }
        Events::Dead { limit, client } => {
            let all = connect(&client)?.dead_events(limit).await?.events;
            let one = |e: &v1::DeadEvent| {
                let h = e.happening.clone().unwrap_or_default();
                let event: serde_json::Value = serde_json::from_str(&h.event).unwrap_or_default();
                json!({"event": e.no, "at": Timestamp(h.at_ms), "pipeline": e.pipeline, "trigger": e.trigger, "why": e.why, "carries": event})
            };
            out(client.output, || json!(all.iter().map(one).collect::<Vec<_>>()), || table::dead_events(&all))
        }
    }
}

/// The backfill that would run what was skipped while a schedule was paused.
async fn gap(client: &Client, pipeline: &str, since: i64) -> anyhow::Result<String> {
    let schedule = client.schedule(pipeline, &Timestamp(since).to_string(), "", 1_000).await?;
    let skipped: Vec<_> = schedule.intervals.iter().filter(|i| i.outcome == "SKIPPED(paused)").collect();
    Ok(match (skipped.first(), skipped.last()) {
        (Some(first), Some(last)) => format!(
            "\n{} intervals were skipped meanwhile; to run them:\n  penstock backfill {pipeline} --start-date {} --end-date {}",
            skipped.len(),
            first.local_start,
            last.local_start
        ),
        _ => String::new(),
    })
}

fn schedule_json(s: &v1::GetScheduleResponse) -> serde_json::Value {
    let interval = |i: &v1::DueInterval| json!({"start": i.local_start, "end": i.local_end, "due": Timestamp(i.due_at_ms), "due_local": i.local_due, "outcome": i.outcome});
    json!({
        "pipeline": s.pipeline,
        "zone": s.zone,
        "next_begins": (s.next_begins_ms != 0).then_some(Timestamp(s.next_begins_ms)),
        "intervals": s.intervals.iter().map(interval).collect::<Vec<_>>(),
        "paused": s.paused.iter().map(|p| p.trigger.clone()).collect::<Vec<_>>(),
        "skipped": s.skipped.iter().map(|k| (k.reason.clone(), json!(k.count))).collect::<serde_json::Map<_, _>>(),
        "stopped": s.stopped,
    })
}

pub(super) async fn backfill(args: Args) -> anyhow::Result<ExitCode> {
    let client = connect(&args.client)?;
    let asked = Backfill {
        pipeline: args.pipeline.clone(),
        id: args.id,
        start_date: args.start_date,
        end_date: args.end_date,
        every: args.every,
        reprocess: match args.reprocess {
            Reprocess::None => v1::Reprocess::None,
            Reprocess::Failed => v1::Reprocess::Failed,
            Reprocess::All => v1::Reprocess::All,
        },
        only: args.task,
        params: local::params(&args.params)?,
        max_active: args.max_active.unwrap_or(0),
        newest_first: args.order == Order::Newest,
        cascade: args.cascade,
        dry_run: args.dry_run,
        note: args.why.note,
    };
    let (id, answer) = client.backfill(asked).await?;
    let interval = |i: &v1::PlannedInterval| json!({"start": i.local_start, "end": i.local_end, "runs": i.runs, "why": i.why});
    let value = || {
        json!({
            "backfill": (!args.dry_run).then_some(&id), "pipeline": args.pipeline, "zone": answer.zone, "max_active": answer.max_active,
            "mean_run_ms": (answer.mean_run_ms != 0).then_some(answer.mean_run_ms),
            "intervals": answer.intervals.iter().map(interval).collect::<Vec<_>>(),
        })
    };
    let code = out(args.client.output, value, || table::plan(&args.pipeline, (!args.dry_run).then_some(&id), &answer))?;
    if args.wait { watch(&client, &id, args.client.output).await } else { Ok(code) }
}

pub(super) async fn backfills(verb: Backfills) -> anyhow::Result<ExitCode> {
    match verb {
        Backfills::List { pipeline, client } => {
            let all = connect(&client)?.backfills(&pipeline, "").await?.backfills;
            out(client.output, || json!(all.iter().map(backfill_json).collect::<Vec<_>>()), || table::backfills(&all))
        }
        Backfills::Show { id, client } => {
            let all = connect(&client)?.backfills("", &id).await?.backfills;
            out(client.output, || all.first().map_or(json!(null), backfill_json), || all.first().map_or(String::new(), table::backfill))
        }
        Backfills::Watch { id, client } => watch(&connect(&client)?, &id, client.output).await,
        Backfills::Pause(of) => {
            let changed = connect(&of.client)?.pause_backfill(&of.id, false, &of.why.note).await?.changed;
            said(&of, "paused", changed)
        }
        Backfills::Resume(of) => {
            let changed = connect(&of.client)?.pause_backfill(&of.id, true, &of.why.note).await?.changed;
            said(&of, "resumed", changed)
        }
        Backfills::Cancel(of) => {
            let changed = connect(&of.client)?.cancel_backfill(&of.id, &of.why.note).await?.changed;
            said(&of, "cancelled", changed)
        }
    }
}

fn said(of: &OfBackfill, state: &str, changed: bool) -> anyhow::Result<ExitCode> {
    let said = if changed { format!("backfill {} is {state}", of.id) } else { format!("backfill {} was {state} already", of.id) };
    out(of.client.output, || json!({"backfill": of.id, "state": state, "changed": changed}), || said)
}

fn backfill_json(info: &v1::BackfillInfo) -> serde_json::Value {
    let b = info.backfill.clone().unwrap_or_default();
    let state: State = b.state().into();
    let intervals = penstock_proto::intervals(&b.bounds).unwrap_or_default();
    let (ended, zone) = (table::ended(&b), table::zone(info));
    let interval = |(number, interval): (usize, &Interval)| {
        let state = ended.get(&(number as u32));
        json!({"start": zone.local(interval.start()), "end": zone.local(interval.end()), "state": state.map(|s| s.as_str())})
    };
    json!({
        "id": b.id, "pipeline": b.pipeline, "state": state.as_str(), "paused": table::is_paused(&b), "zone": info.zone, "intervals": info.intervals,
        "started": b.next, "succeeded": info.succeeded, "failed": info.failed, "cancelled": info.cancelled, "live": info.live,
        "of": intervals.iter().enumerate().map(interval).collect::<Vec<_>>(),
    })
}

/// Shows how far it is until it has ended: a bar on a terminal, else a line at each change.
async fn watch(client: &Client, id: &str, how: Output) -> anyhow::Result<ExitCode> {
    let mut shown = String::new();
    let bar = std::io::stderr().is_terminal();
    loop {
        let all = client.backfills("", id).await?.backfills;
        let Some(info) = all.first() else { anyhow::bail!("there is no backfill {id} any more") };
        let backfill = info.backfill.clone().unwrap_or_default();
        let state: State = backfill.state().into();
        let line = table::progress(info);
        if line != shown {
            match (how, bar) {
                (Output::Table, true) => eprint!("\r\x1b[K{line}"),
                (Output::Table, false) => eprintln!("{line}"),
                (Output::Json, _) => {}
            }
            drop(std::io::stderr().flush());
            shown = line;
        }
        if state.is_terminal() {
            if bar && how == Output::Table {
                eprintln!();
            }
            let took = duration(u64::try_from(backfill.ended_at_ms - backfill.created.map_or(0, |a| a.at_ms)).unwrap_or(0));
            match how {
                Output::Json => show::print(&serde_json::to_string_pretty(&backfill_json(info))?),
                Output::Table => show::print(&format!("backfill {id} {state} in {took}")),
            }
            return Ok(if state == State::Success { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
