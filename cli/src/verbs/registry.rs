//! Which pipelines a cluster has: register, unregister, pipelines.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use penstock_client::Client;
use penstock_common::PipelineName;
use serde_json::json;

use super::files::{self, Found};
use super::{connect, out};
use crate::BAD_INPUT;
use crate::args::{self, Output, verbs};
use crate::show::{self, json, table};

/// Registers all, or nothing if one of them is wrong.
pub(super) async fn register(args: verbs::Register) -> anyhow::Result<ExitCode> {
    if let Some(wrong) = args.prune_namespace.iter().find(|name| PipelineName::parse(&format!("{name}/p")).is_err()) {
        eprintln!("penstock: --prune-namespace {wrong:?} is no namespace: it is what stands before the slash of a pipeline's name");
        return Ok(ExitCode::from(BAD_INPUT));
    }
    let prunes = args.prune || !args.prune_namespace.is_empty();
    let Some(found) = files::find(&args.paths, prunes) else { return Ok(ExitCode::from(BAD_INPUT)) };
    if found.is_empty() && args.prune_namespace.is_empty() {
        let paths = args.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        eprintln!("penstock: no pipeline is in {paths}");
        if args.prune {
            eprintln!("    hint: to take off all that is left of a namespace, name it: --prune-namespace NAMESPACE");
        }
        return Ok(ExitCode::from(BAD_INPUT));
    }
    let namespaces: BTreeSet<&str> = args
        .prune_namespace
        .iter()
        .map(String::as_str)
        .chain(found.iter().filter(|_| args.prune).map(|one| one.name.namespace()))
        .collect();
    let client = connect(&args.client)?;
    let mut done = Vec::new();
    // Whatever the cluster refuses is told before anything is stored.
    for one in &found {
        let answer = client.would_register(&one.file, &one.document).await.with_context(|| one.file.clone())?;
        done.push((answer.pipeline, answer.version, if answer.created { "new version" } else { "unchanged" }));
    }
    if !args.dry_run {
        done.clear();
        for one in &found {
            let answer = client.register(&one.file, &one.document).await.with_context(|| one.file.clone())?;
            done.push((answer.pipeline, answer.version, if answer.created { "registered" } else { "unchanged" }));
        }
    }
    for (name, version) in surplus(&client, &found, &namespaces).await? {
        if !args.dry_run {
            client.unregister(&name, "pruned by register").await?;
        }
        done.push((name, version, if args.dry_run { "would be unregistered" } else { "unregistered" }));
    }
    let one = |(name, version, what): &(String, u32, &str)| json!({"pipeline": name, "version": version, "what": what});
    let line = |(name, version, what): &(String, u32, &str)| format!("pipeline {name} version {version}: {what}\n");
    let all = || match (args.client.output, done.as_slice()) {
        (Output::Json, [only]) if !prunes => one(only),
        (_, many) => json!(many.iter().map(one).collect::<Vec<_>>()),
    };
    let said = || if done.is_empty() { "nothing is to be changed".to_owned() } else { done.iter().map(line).collect() };
    out(args.client.output, all, said)
}

/// Pipelines of these namespaces that are not among the files.
async fn surplus(client: &Client, found: &[Found], namespaces: &BTreeSet<&str>) -> anyhow::Result<Vec<(String, u32)>> {
    if namespaces.is_empty() {
        return Ok(Vec::new());
    }
    let kept: BTreeSet<&PipelineName> = found.iter().map(|one| &one.name).collect();
    let mut surplus = Vec::new();
    for pipeline in client.pipelines().await?.pipelines {
        let name = PipelineName::parse(&pipeline.name)?;
        if pipeline.unregistered.is_none() && namespaces.contains(name.namespace()) && !kept.contains(&name) {
            surplus.push((pipeline.name, pipeline.version));
        }
    }
    Ok(surplus)
}

pub(super) async fn unregister(pipeline: &str, note: &str, args: &args::Client) -> anyhow::Result<ExitCode> {
    connect(args)?.unregister(pipeline, note).await?;
    let said = format!("pipeline {pipeline} takes no new run; what runs goes on");
    out(args.output, || json!({"pipeline": pipeline, "unregistered": true}), || said)
}

pub(super) async fn pipelines(one: Option<&str>, args: &args::Client) -> anyhow::Result<ExitCode> {
    let client = connect(args)?;
    let Some(name) = one else {
        let found = client.pipelines().await?.pipelines;
        return out(args.output, || json!(found.iter().map(json::pipeline).collect::<Vec<_>>()), || table::pipelines(&found));
    };
    let found = client.pipeline(name, 0).await?;
    let pipeline = found.pipeline.unwrap_or_default();
    let definition: serde_json::Value = serde_json::from_str(&found.definition)?;
    let whole = || {
        let mut value = json::pipeline(&pipeline);
        value["definition"] = definition.clone();
        value
    };
    let shown = || format!("{}\n{:#}\n", table::pipelines(std::slice::from_ref(&pipeline)), definition);
    if args.output == Output::Json {
        show::print(&serde_json::to_string_pretty(&whole())?);
        return Ok(ExitCode::SUCCESS);
    }
    out(args.output, whole, shown)
}

/// The zone of a pipeline's dates.
pub(super) async fn zone_of(client: &Client, pipeline: &str) -> anyhow::Result<String> {
    let definition = client.pipeline(pipeline, 0).await?.definition;
    let pipeline: penstock_common::pipeline::Pipeline = serde_json::from_str(&definition)?;
    Ok(pipeline.zone().to_owned())
}
