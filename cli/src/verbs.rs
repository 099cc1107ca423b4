//! The verbs that ask a cluster.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use penstock_client::{Client, Submit, v1};
use penstock_common::State;
use penstock_proto::dial::Dialer;
use serde_json::json;

use crate::args::{self, Command, Output};
use crate::show::progress::Progress;
use crate::show::{self, json, table};
use crate::{BAD_INPUT, local};

fn connect(args: &args::Client) -> anyhow::Result<Client> {
    Ok(Client::with(Dialer::tcp(), &args.endpoint, Duration::from_secs(args.deadline), &show::whoami())?)
}

/// Prints as asked.
fn out(how: Output, json: impl FnOnce() -> serde_json::Value, table: impl FnOnce() -> String) -> anyhow::Result<ExitCode> {
    match how {
        Output::Json => show::print(&serde_json::to_string_pretty(&json())?),
        Output::Table => show::print(table().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Register { file, client } => register(&file, &client).await,
        Command::Submit(args) => submit(args).await,
        Command::Get { run, client } => {
            let run = connect(&client)?.get(&run, 0).await?;
            out(client.output, || json::run(&run), || table::run(&run))
        }
        Command::List(args) => list(args).await,
        Command::Pipelines { client } => {
            let found = connect(&client)?.pipelines().await?.pipelines;
            out(client.output, || json!(found.iter().map(json::pipeline).collect::<Vec<_>>()), || table::pipelines(&found))
        }
        Command::Watch { run, client } => watch(&connect(&client)?, &run, client.output).await,
        Command::Cancel { run, note, client } => {
            let answer = connect(&client)?.cancel(&run, &note).await?;
            let state = State::from(answer.state());
            let said =
                if state.is_terminal() { format!("run {run} had ended already: {state}") } else { format!("run {run} is being cancelled") };
            out(client.output, || json!({"run_id": run, "state": state.as_str()}), || said)
        }
        Command::Rerun { run, note, client, .. } => {
            let answer = connect(&client)?.rerun(&run, &note).await?;
            let said = format!("run {run} runs again, generation {}", answer.generation);
            out(client.output, || json!({"run_id": run, "generation": answer.generation}), || said)
        }
        Command::Logs(args) => logs(args).await,
        Command::Explain { run, task, client } => {
            let chain = connect(&client)?.explain(&run, task.as_deref()).await?.chain;
            let links = || chain.iter().map(|w| json!({"kind": w.kind, "text": w.text})).collect::<Vec<_>>();
            out(client.output, || json!(links()), || chain.iter().map(|w| format!("{}\n", w.text)).collect())
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

async fn register(file: &std::path::Path, args: &args::Client) -> anyhow::Result<ExitCode> {
    let document = match crate::load(file) {
        Ok(Ok((document, _))) => document,
        Ok(Err(errors)) => {
            eprintln!("{errors}");
            return Ok(ExitCode::from(BAD_INPUT));
        }
        Err(error) => {
            eprintln!("penstock: {error:#}");
            return Ok(ExitCode::from(BAD_INPUT));
        }
    };
    let answer = connect(args)?.register(&file.display().to_string(), &document).await?;
    let what = if answer.created { "registered as" } else { "is unchanged at" };
    let said = format!("pipeline {} {what} version {}", answer.pipeline, answer.version);
    let json = || json!({"pipeline": answer.pipeline, "version": answer.version, "created": answer.created});
    out(args.output, json, || said)
}

async fn submit(args: args::Submit) -> anyhow::Result<ExitCode> {
    let client = connect(&args.client)?;
    let params = local::params(&args.params)?;
    let run_id = args.run_id.unwrap_or_else(penstock_client::mint);
    let submit = Submit { params, run_id: Some(run_id.clone()), ..Submit::of(&args.pipeline) };
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
    let run = client.get(run_id, 0).await?;
    match how {
        Output::Json => show::print(&serde_json::to_string_pretty(&json::run(&run))?),
        Output::Table => progress.summary(&run, std::path::Path::new("")),
    }
    let succeeded = State::from(run.run.state()) == State::Success;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(args: args::List) -> anyhow::Result<ExitCode> {
    let state = |word: &String| {
        let found = State::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(word));
        found
            .map(|s| v1::State::from(s).into())
            .with_context(|| format!("{word:?} is not a state: PENDING, RUNNING, SUCCESS, FAILED, CANCELLED, SKIPPED"))
    };
    let request = v1::ListRunsRequest {
        pipeline: args.pipeline.unwrap_or_default(),
        states: args.state.iter().map(state).collect::<anyhow::Result<_>>()?,
        limit: args.limit,
        before_no: 0,
        min_seq: 0,
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
