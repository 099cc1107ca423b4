//! Which pipelines a cluster has: register, unregister, pipelines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use penstock_client::Client;
use penstock_common::PipelineName;
use serde_json::json;

use super::{connect, out};
use crate::args::{self, Output, verbs};
use crate::show::{self, json, table};
use crate::{BAD_INPUT, load};

/// Folders below one another at most.
const DEEPEST: usize = 32;

/// A definition that is in order.
struct Found {
    file: String,
    document: String,
    name: PipelineName,
}

/// Registers all, or nothing if one of them is wrong.
pub(super) async fn register(args: verbs::Register) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.paths {
        match list(path, 0, &mut files) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("penstock: {error:#}");
                return Ok(ExitCode::from(BAD_INPUT));
            }
        }
    }
    let mut found: Vec<Found> = Vec::new();
    let mut wrong = false;
    for (path, named) in files {
        let file = path.display().to_string();
        match load(&path) {
            Ok(Ok((document, plan))) => {
                let name = plan.pipeline.name.clone();
                if let Some(other) = found.iter().find(|other| other.name == name) {
                    eprintln!("{file}: error: pipeline {name} is also in {}: keep one of them", other.file);
                    wrong = true;
                }
                found.push(Found { file, document, name });
            }
            // In a folder there may be other files.
            Ok(Err(_)) if !named && !is_pipeline(&path) => eprintln!("{file}: passed over, it has no `pipeline`"),
            Ok(Err(errors)) => {
                eprintln!("{errors}");
                wrong = true;
            }
            Err(error) => {
                eprintln!("penstock: {error:#}");
                wrong = true;
            }
        }
    }
    if wrong {
        return Ok(ExitCode::from(BAD_INPUT));
    }
    if found.is_empty() {
        eprintln!("penstock: no pipeline is in {}", args.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "));
        return Ok(ExitCode::from(BAD_INPUT));
    }
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
    if args.prune {
        for (name, version) in surplus(&client, &found).await? {
            if !args.dry_run {
                client.unregister(&name, "pruned by register").await?;
            }
            done.push((name, version, if args.dry_run { "would be unregistered" } else { "unregistered" }));
        }
    }
    let one = |(name, version, what): &(String, u32, &str)| json!({"pipeline": name, "version": version, "what": what});
    let line = |(name, version, what): &(String, u32, &str)| format!("pipeline {name} version {version}: {what}\n");
    let all = || match (args.client.output, done.as_slice()) {
        (Output::Json, [only]) if !args.prune => one(only),
        (_, many) => json!(many.iter().map(one).collect::<Vec<_>>()),
    };
    out(args.client.output, all, || done.iter().map(line).collect())
}

/// Pipelines of the same namespaces that are not among the files.
async fn surplus(client: &Client, found: &[Found]) -> anyhow::Result<Vec<(String, u32)>> {
    let kept: BTreeSet<&PipelineName> = found.iter().map(|one| &one.name).collect();
    let namespaces: BTreeSet<&str> = found.iter().map(|one| one.name.namespace()).collect();
    let mut surplus = Vec::new();
    for pipeline in client.pipelines().await?.pipelines {
        let name = PipelineName::parse(&pipeline.name)?;
        if pipeline.unregistered.is_none() && namespaces.contains(name.namespace()) && !kept.contains(&name) {
            surplus.push((pipeline.name, pipeline.version));
        }
    }
    Ok(surplus)
}

/// The files that a path names: itself, or those below it, sorted. True: it was named itself.
fn list(path: &Path, depth: usize, files: &mut Vec<(PathBuf, bool)>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push((path.to_owned(), true));
        return Ok(());
    }
    if depth > DEEPEST {
        anyhow::bail!("{}: folders are more than {DEEPEST} deep", path.display());
    }
    let read = std::fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))?;
    let mut entries: Vec<PathBuf> = read.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || entry.is_symlink() {
            continue;
        }
        if entry.is_dir() {
            list(&entry, depth + 1, files)?;
        } else if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
            files.push((entry, false));
        }
    }
    Ok(())
}

/// Whether a file looks like a pipeline, so that what is wrong with it is to be told.
fn is_pipeline(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.starts_with("pipeline:")) || text.contains("\"pipeline\"")
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
