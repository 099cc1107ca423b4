//! What people do to runs: rerun, mark, approve and reject, pause and resume; and pools.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use penstock_client::{Client, Submit, v1};
use serde_json::json;

use super::{connect, out, since, state};
use crate::BadArgument;
use crate::args::verbs;
use crate::show::{json, table};

pub(super) async fn rerun(args: verbs::Rerun) -> anyhow::Result<ExitCode> {
    let client = connect(&args.client)?;
    let mut tasks = args.tasks.clone();
    tasks.extend(args.from.iter().map(|task| format!("{task}+")));
    tasks.extend(args.only.iter().cloned());
    if args.failed && !tasks.is_empty() {
        bail!(BadArgument("--failed and tasks exclude each other: name the tasks, or say --failed".to_owned()));
    }
    if args.latest {
        return latest(&client, &args).await;
    }
    let runs = match &args.run {
        Some(run) => vec![run.clone()],
        None => matching(&client, &args).await?,
    };
    let mut done = Vec::new();
    let mut refused = 0;
    for run in runs {
        match client.rerun(&run, tasks.clone(), &args.why.note).await {
            Ok(answer) => done.push((run, answer.generation)),
            Err(error) if args.pipeline.is_some() => {
                eprintln!("penstock: run {run}: {error}");
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let one = |(run, generation): &(String, u32)| json!({"run_id": run, "generation": generation});
    let value = || match done.as_slice() {
        [only] if args.pipeline.is_none() => one(only),
        many => json!(many.iter().map(one).collect::<Vec<_>>()),
    };
    let line = |(run, generation): &(String, u32)| format!("run {run} runs again, generation {generation}\n");
    let shown = || if done.is_empty() { "no run fits".to_owned() } else { done.iter().map(line).collect() };
    out(args.client.output, value, shown)?;
    Ok(if refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Every run that the filters take, oldest first.
async fn matching(client: &Client, args: &verbs::Rerun) -> anyhow::Result<Vec<String>> {
    let mut request = v1::ListRunsRequest {
        pipeline: args.pipeline.clone().unwrap_or_default(),
        states: vec![state(&args.state)?],
        limit: 1_000,
        since_ms: since(args.since.as_deref())?,
        ..v1::ListRunsRequest::default()
    };
    let mut runs = Vec::new();
    loop {
        let page = client.list(request.clone()).await?.runs;
        let Some(last) = page.last() else { break };
        request.before_no = last.no;
        runs.extend(page.into_iter().map(|run| run.run_id));
    }
    runs.reverse();
    Ok(runs)
}

/// A new run of the newest version, with the parameters and interval of the old one.
async fn latest(client: &Client, args: &verbs::Rerun) -> anyhow::Result<ExitCode> {
    let run = args.run.as_deref().context("--latest takes one run")?;
    let old = client.get(run, 0).await?.run;
    let submit = Submit {
        params: serde_json::from_str(&old.params)?,
        interval: old.interval.map(TryInto::try_into).transpose()?,
        ..Submit::of(&old.pipeline)
    };
    let answer = client.submit(submit).await?;
    let said = format!("run {} of version {} takes the place of {run}", answer.run_id, answer.version);
    out(args.client.output, || json!({"run_id": answer.run_id, "version": answer.version, "instead_of": run}), || said)
}

pub(super) async fn mark(args: verbs::Mark) -> anyhow::Result<ExitCode> {
    let state = match args.state {
        verbs::Marked::Success => v1::State::Success,
        verbs::Marked::Failed => v1::State::Failed,
        verbs::Marked::Skipped => v1::State::Skipped,
    };
    let answer = connect(&args.client)?.mark(&args.run, args.tasks.clone(), state, &args.why.note).await?;
    let word = penstock_common::State::from(state);
    let said = format!("run {}, generation {}: {} marked {word}", args.run, answer.generation, args.tasks.join(", "));
    let value = || json!({"run_id": args.run, "generation": answer.generation, "tasks": args.tasks, "state": word.as_str()});
    out(args.client.output, value, || said)
}

pub(super) async fn decide(args: verbs::OfTask, approve: bool, done: &str) -> anyhow::Result<ExitCode> {
    connect(&args.client)?.decide(&args.run, &args.task, approve, &args.why.note).await?;
    let said = format!("task {} of run {} is {done}", args.task, args.run);
    out(args.client.output, || json!({"run_id": args.run, "task": args.task, "verdict": done}), || said)
}

pub(super) async fn pause(args: verbs::Pause, resume: bool) -> anyhow::Result<ExitCode> {
    let client = connect(&args.client)?;
    let (what, changed) = match (&args.run, &args.pipeline) {
        (Some(run), _) => (format!("run {run}"), client.pause_run(run, resume, &args.why.note).await?.changed),
        (None, Some(pipeline)) => (format!("pipeline {pipeline}"), client.pause_pipeline(pipeline, resume, &args.why.note).await?.changed),
        (None, None) => bail!("name a run, or a pipeline with --pipeline"),
    };
    let state = if resume { "resumed" } else { "paused" };
    let said = if changed { format!("{what} is {state}") } else { format!("{what} was {state} already") };
    out(args.client.output, || json!({"what": what, "paused": !resume, "changed": changed}), || said)
}

pub(super) async fn pools(verb: verbs::Pools) -> anyhow::Result<ExitCode> {
    match verb {
        verbs::Pools::List { client } => {
            let pools = connect(&client)?.pools().await?.pools;
            out(client.output, || json!(pools.iter().map(json::pool).collect::<Vec<_>>()), || table::pools(&pools))
        }
        verbs::Pools::Set { name, slots, why, client } => {
            let count = match slots.as_str() {
                "unlimited" => u32::MAX,
                number => {
                    let wrong = |_| BadArgument(format!("{number:?} is no number of slots: write one from 0 on, or unlimited"));
                    number.parse().map_err(wrong)?
                }
            };
            connect(&client)?.set_pool(&name, Some(count), &why.note).await?;
            out(client.output, || json!({"pool": name, "slots": slots}), || format!("pool {name} has {slots} slots"))
        }
        verbs::Pools::Delete { name, why, client } => {
            connect(&client)?.set_pool(&name, None, &why.note).await?;
            out(client.output, || json!({"pool": name, "slots": null}), || format!("pool {name} is no more"))
        }
    }
}
