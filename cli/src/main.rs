//! The binary `penstock`: every verb. Thin: it reads arguments, injects listeners, store, clock and shutdown, and shows results.

mod args;
mod graph;
mod interval;
mod local;
mod serve;
mod show;
mod storage;
mod tools;
mod verbs;

use std::process::ExitCode;

use anyhow::Context as _;
use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use penstock_scheduler::Plan;

/// What was given is wrong: a file, a parameter, an address.
pub(crate) const BAD_INPUT: u8 = 2;
/// No coordinator answered in time.
const NO_ANSWER: u8 = 3;

fn main() -> ExitCode {
    // A supervisor is started for each attempt, before anything else of this program exists.
    if std::env::args_os().nth(1).is_some_and(|a| a == "supervise") {
        return penstock_worker::attempt::supervise();
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("penstock: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code
}

async fn dispatch(cli: Cli) -> ExitCode {
    let service = matches!(cli.command, Command::Server(_) | Command::Worker(_));
    let filter = cli.log.clone().unwrap_or_else(|| if service { "info" } else { "error" }.to_owned());
    let telemetry = penstock_telemetry::Config { service: "penstock".to_owned(), filter, otlp: cli.otlp.clone() };
    let guard = match penstock_telemetry::start(telemetry) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("penstock: {error}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let outcome = command(cli.command).await;
    drop(tokio::task::spawn_blocking(|| guard.shutdown()).await);
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("penstock: {error:#}");
            ExitCode::from(code_of(&error))
        }
    }
}

/// What was given on the command line is wrong; it says what would be right.
#[derive(Debug)]
pub(crate) struct BadArgument(pub(crate) String);

impl std::fmt::Display for BadArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadArgument {}

/// What a script can tell failures apart by: 2 what was given is wrong, 3 no coordinator answered, 1 anything else.
fn code_of(error: &anyhow::Error) -> u8 {
    use tonic::Code::{AlreadyExists, InvalidArgument};
    if error.is::<BadArgument>() {
        return BAD_INPUT;
    }
    match error.downcast_ref::<penstock_client::Error>() {
        Some(penstock_client::Error::Refused { code: InvalidArgument | AlreadyExists, .. }) => BAD_INPUT,
        Some(penstock_client::Error::Address(_) | penstock_client::Error::NoEndpoint) => BAD_INPUT,
        Some(penstock_client::Error::Deadline { .. }) => NO_ANSWER,
        _ => 1,
    }
}

async fn command(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => local::run(args).await,
        Command::Check { file } => check(&file),
        Command::Schema => {
            show::print(&serde_json::to_string_pretty(&penstock_common::pipeline::schema())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Graph { file, format } => draw(&file, format),
        Command::Server(args) => serve::server(args).await,
        Command::Worker(args) => serve::worker(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "penstock", &mut script);
            show::print(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        other => verbs::run(other).await,
    }
}

/// Reads a pipeline file; what is wrong with it is told whole.
fn load(file: &std::path::Path) -> anyhow::Result<Result<(String, Plan), String>> {
    let text = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let name = file.display().to_string();
    let Ok(text) = String::from_utf8(text) else { return Ok(Err(format!("{name}: error: it is not UTF-8 text"))) };
    Ok(match Plan::load(&name, &text) {
        Ok((plan, warnings)) => {
            if !warnings.is_empty() {
                eprintln!("{}", penstock_common::pipeline::Diagnostics { file: name, list: warnings });
            }
            Ok((text, plan))
        }
        Err(all) => Err(all.to_string()),
    })
}

fn draw(file: &std::path::Path, format: args::GraphFormat) -> anyhow::Result<ExitCode> {
    Ok(match load(file) {
        Ok(Ok((_, plan))) => {
            show::print(&match format {
                args::GraphFormat::Svg => graph::svg(&plan.pipeline),
                args::GraphFormat::Mermaid => graph::mermaid(&plan.pipeline),
            });
            ExitCode::SUCCESS
        }
        Ok(Err(errors)) => {
            eprintln!("{errors}");
            ExitCode::from(BAD_INPUT)
        }
        Err(error) => {
            eprintln!("penstock: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    })
}

fn check(file: &std::path::Path) -> anyhow::Result<ExitCode> {
    Ok(match load(file) {
        Ok(Ok((_, plan))) => {
            show::print(&format!("{}: pipeline {} is well, {} tasks", file.display(), plan.pipeline.name, plan.len()));
            ExitCode::SUCCESS
        }
        Ok(Err(errors)) => {
            eprintln!("{errors}");
            ExitCode::from(BAD_INPUT)
        }
        Err(error) => {
            eprintln!("penstock: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    })
}
