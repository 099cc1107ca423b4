//! The verbs that ask a cluster.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use penstock_client::{Client, Submit, v1};
use penstock_common::State;
use penstock_proto::dial::Dialer;
use serde_json::json;

use crate::args::{self, Command, Output};
use crate::show::progress::Progress;
use crate::show::{self, json, pages, table};
use crate::{BadArgument, interval, local};

mod files;
mod people;
mod registry;
mod time;

pub(super) fn connect(args: &args::Client) -> anyhow::Result<Client> {
    Ok(Client::with(Dialer::tcp(), &args.endpoint, Duration::from_secs(args.deadline), &show::whoami())?)
}

/// Prints as asked.
pub(super) fn out(how: Output, json: impl FnOnce() -> serde_json::Value, table: impl FnOnce() -> String) -> anyhow::Result<ExitCode> {
    match how {
        Output::Json => show::print(&serde_json::to_string_pretty(&json())?),
        Output::Table => show::print(table().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Register(args) => registry::register(args).await,
        Command::Unregister { pipeline, why, client } => registry::unregister(&pipeline, &why.note, &client).await,
        Command::Submit(args) => submit(args).await,
        Command::Get { run, client } => {
            let (how, client) = (client.output, connect(&client)?);
            match how {
                Output::Json => drop(pages::print_json(&client, &run).await?),
                Output::Table => show::print(table::run(&pages::for_people(&client, &run).await?).trim_end()),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::List(args) => list(args).await,
        Command::Pipelines { pipeline, client } => registry::pipelines(pipeline.as_deref(), &client).await,
        Command::Watch { run, client } => watch(&connect(&client)?, &run, client.output).await,
        Command::Cancel { run, now, why, client } => {
            let answer = connect(&client)?.cancel(&run, now, &why.note).await?;
            let state = State::from(answer.state());
            let said =
                if state.is_terminal() { format!("run {run} had ended already: {state}") } else { format!("run {run} is being cancelled") };
            out(client.output, || json!({"run_id": run, "state": state.as_str()}), || said)
        }
        Command::Rerun(args) => people::rerun(args).await,
        Command::Mark(args) => people::mark(args).await,
        Command::Approve(args) => people::decide(args, true, "approved").await,
        Command::Release(args) => people::decide(args, true, "released").await,
        Command::Reject(args) => people::decide(args, false, "rejected").await,
        Command::Pause(args) => people::pause(args, false).await,
        Command::Resume(args) => people::pause(args, true).await,
        Command::Pools { verb } => people::pools(verb).await,
        Command::Schedule { verb } => time::schedule(verb).await,
        Command::Triggers(args) => time::triggers(args).await,
        Command::Events { verb } => time::events(verb).await,
        Command::Backfill(args) => time::backfill(args).await,
        Command::Backfills { verb } => time::backfills(verb).await,
        Command::Logs(args) => logs(args).await,
        Command::Explain { run, task, client } => {
            let chain = connect(&client)?.explain(&run, task.as_deref()).await?.chain;
            let link = |w: &v1::Why| json!({"kind": w.kind, "text": w.text, "fields": w.fields, "remedy": w.remedy});
            let links = || chain.iter().map(link).collect::<Vec<_>>();
            let line = |w: &v1::Why| {
                let remedy = if w.remedy.is_empty() { String::new() } else { format!("    {}\n", w.remedy) };
                let text: Vec<String> = w.text.lines().map(show::printable).collect();
                format!("{}\n{remedy}", text.join("\n    "))
            };
            out(client.output, || json!(links()), || chain.iter().map(line).collect())
        }
        Command::Workers { client } => {
            let workers = connect(&client)?.workers().await?.workers;
            out(client.output, || json!(workers.iter().map(json::worker).collect::<Vec<_>>()), || table::workers(&workers))
        }
        Command::Drain { worker, undo, client } => {
            connect(&client)?.drain(&worker, undo).await?;
            let said = if undo { format!("worker {worker} is given work again") } else { format!("worker {worker} is given nothing new") };
            out(client.output, || json!({"worker": worker, "drained": !undo}), || said)
        }
        Command::Cluster { client } => {
            let cluster = connect(&client)?.cluster().await?;
            out(client.output, || json::cluster(&cluster), || table::cluster(&cluster))
        }
        other => bail!("{other:?} is no verb of a client"),
    }
}

async fn submit(args: args::Submit) -> anyhow::Result<ExitCode> {
    let client = connect(&args.client)?;
    let params = local::params(&args.params)?;
    let run_id = args.run_id.unwrap_or_else(penstock_client::mint);
    let interval = match &args.part.interval {
        Some(text) => Some(interval::parse(text, &registry::zone_of(&client, &args.pipeline).await?)?),
        None => None,
    };
    let submit = Submit { params, run_id: Some(run_id.clone()), interval, only: args.part.only, ..Submit::of(&args.pipeline) };
    let answer = client.submit(submit).await.map_err(|error| match error {
        // Whether the run exists is not known: with its id the call may be repeated.
        penstock_client::Error::Deadline { .. } => {
            anyhow::Error::new(error).context(format!("run {run_id}: repeat with --run-id {run_id}, which is safe"))
        }
        error => error.into(),
    })?;
    if args.wait {
        return watch(&client, &answer.run_id, args.client.output).await;
    }
    let json = || json!({"run_id": answer.run_id, "version": answer.version, "created": answer.created});
    out(
        args.client.output,
        json,
        || if answer.created { answer.run_id.clone() } else { format!("{} (it was there already)", answer.run_id) },
    )
}

/// Follows a run; exit status as of `run`.
async fn watch(client: &Client, run_id: &str, how: Output) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(how == Output::Json);
    let mut watch = client.watch(run_id);
    while let Some(update) = watch.next().await? {
        progress.update(&update);
    }
    let run = match how {
        Output::Json => pages::print_json(client, run_id).await?,
        Output::Table => {
            let run = pages::for_people(client, run_id).await?;
            progress.summary(&run, std::path::Path::new(""));
            run.run.run
        }
    };
    let succeeded = State::from(run.state()) == State::Success;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A state by its word.
pub(super) fn state(word: &str) -> anyhow::Result<i32> {
    let found = State::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(word));
    let wrong = || BadArgument(format!("{word:?} is not a state: PENDING, RUNNING, SUCCESS, FAILED, CANCELLED, SKIPPED"));
    Ok(found.map(|s| v1::State::from(s).into()).ok_or_else(wrong)?)
}

/// So long ago, in milliseconds since the epoch; 0 where nothing is said.
pub(super) fn since(duration: Option<&str>) -> anyhow::Result<i64> {
    use penstock_coordinator::{Clock as _, SystemClock};
    let Some(text) = duration else { return Ok(0) };
    let ago: penstock_common::Millis = text.parse().map_err(|e| BadArgument(format!("--since: {e}")))?;
    Ok(SystemClock.wall().0.saturating_sub_unsigned(ago.0).max(1))
}

async fn list(args: args::List) -> anyhow::Result<ExitCode> {
    let request = v1::ListRunsRequest {
        pipeline: args.pipeline.unwrap_or_default(),
        states: args.state.iter().map(|word| state(word)).collect::<anyhow::Result<_>>()?,
        limit: args.limit,
        since_ms: since(args.since.as_deref())?,
        ..v1::ListRunsRequest::default()
    };
    let runs = connect(&args.client)?.list(request).await?.runs;
    out(args.client.output, || json!(runs.iter().map(json::head).collect::<Vec<_>>()), || table::runs(&runs))
}

async fn logs(args: args::Logs) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let client = connect(&args.client)?;
    let mut request = v1::ReadLogsRequest { run_id: args.run, task: args.task, attempt: args.attempt, offset: 0, follow: args.follow };
    loop {
        let mut stream = client.logs(request.clone()).await?;
        loop {
            match stream.message().await {
                Ok(Some(piece)) => {
                    let mut stdout = std::io::stdout().lock();
                    stdout.write_all(&piece.data)?;
                    stdout.flush()?;
                    (request.attempt, request.offset) = (piece.attempt, piece.offset);
                }
                Ok(None) => return Ok(ExitCode::SUCCESS),
                // A coordinator that went away: the next one goes on where this one was.
                Err(status) if status.code() == tonic::Code::Unknown || status.code() == tonic::Code::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    break;
                }
                Err(status) => bail!("{}", status.message()),
            }
        }
    }
}
