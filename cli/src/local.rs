//! `penstock run FILE`: coordinator, worker and embedded store in one process, on the same code path as a cluster: the worker and
//! the client speak gRPC to the coordinator over loopback.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use penstock_client::{Client, Submit, v1};
use penstock_common::{NodeName, Selector, SessionId, State, WorkerName};
use penstock_coordinator::{CheckpointPolicy, Config, Retention, SystemClock};
use penstock_proto::dial::Dialer;
use penstock_scheduler::Plan;
use penstock_store::{Embedded, Keys};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args::Run;
use crate::serve::{default_slots, host_name, incoming, random, terminated};
use crate::show::progress::Progress;
use crate::{BAD_INPUT, BadArgument, interval, show, tools};

/// Names of tasks that one message lists.
const MAX_NAMES: usize = 50;

/// Parameters as the command line gives them: text, read later as each parameter's type.
pub(crate) fn params(given: &[String]) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    given
        .iter()
        .map(|text| {
            let (name, value) =
                text.split_once('=').ok_or_else(|| BadArgument(format!("{text:?} is not a parameter: write name=value")))?;
            Ok((name.to_owned(), value.into()))
        })
        .collect()
}

pub(crate) async fn run(args: Run) -> anyhow::Result<ExitCode> {
    // Whatever is wrong with what was given is told before anything is opened or stored.
    let bad = |text: String| {
        eprintln!("{text}");
        Ok(ExitCode::from(BAD_INPUT))
    };
    let (document, plan) = match crate::load(&args.file) {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(errors)) => return bad(errors),
        Err(error) => return bad(format!("penstock: {error:#}")),
    };
    let params = match params(&args.params) {
        Ok(params) => params,
        Err(error) => return bad(format!("penstock: {error:#}")),
    };
    if let Err(errors) = plan.pipeline.bind_params(&params) {
        return bad(errors.into_iter().map(|e| format!("penstock: {e}")).collect::<Vec<_>>().join("\n"));
    }
    let interval = match args.part.interval.as_deref().map(|text| interval::parse(text, plan.pipeline.zone())).transpose() {
        Ok(interval) => interval,
        Err(error) => return bad(format!("penstock: {error:#}")),
    };
    if let Err(error) = chosen(&args.part.only, &plan) {
        return bad(format!("penstock: {error:#}"));
    }
    let labels = match offered_labels(&plan) {
        Ok(labels) => labels,
        Err(error) => return bad(format!("penstock: {error:#}")),
    };
    std::fs::create_dir_all(&args.state).with_context(|| format!("the directory {} cannot be made", args.state.display()))?;
    let store = Arc::new(Embedded::open(&args.state.join("store.redb"))?);

    let folder = args.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let logs = args.state.join("logs");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    // The worker stops first, while there is a leader that records what it reports.
    let (stop_worker, worker_stop) = watch::channel(false);
    let (stop_coordinator, stop) = watch::channel(false);
    let stopped = |mut stop: watch::Receiver<bool>| async move { drop(stop.wait_for(|stop| *stop).await) };
    let config = Config {
        name: NodeName::parse("local")?,
        address: address.clone(),
        process: penstock_client::mint(),
        keys: Keys::default(),
        logs: logs.clone(),
        checkpoints: CheckpointPolicy::default(),
        retention: Retention::default(),
    };
    let mut coordinator = tokio::spawn(penstock_coordinator::run(
        config,
        incoming(listener),
        None,
        store,
        Arc::new(SystemClock),
        Dialer::tcp(),
        stopped(stop),
    ));
    let worker_config = penstock_worker::Config {
        name: WorkerName::parse("local")?,
        session: SessionId::parse(&penstock_client::mint())?,
        coordinators: vec![address.clone()],
        slots: args.slots.unwrap_or_else(default_slots),
        queues: served_queues(&plan),
        labels,
        drain_timeout: Duration::ZERO,
        random: random(),
    };
    // No other worker is of this machine and this directory.
    let place = std::path::absolute(&args.state).unwrap_or_else(|_| args.state.clone());
    let who = tools::Identity { cluster: format!("run:{}:{}", host_name(), place.display()), name: &worker_config.name };
    let host = tools::host(who, folder.to_owned(), args.state.join("worker"), logs, &args.host).await?;
    let mut worker = tokio::spawn(penstock_worker::run(worker_config, host, Dialer::tcp(), stopped(worker_stop)));

    let client = Client::with(Dialer::tcp(), [&address], Duration::from_secs(30), &show::whoami())?;
    let outcome = tokio::select! {
        outcome = follow(&client, &args, &document, &plan, params, interval) => outcome,
        ended = &mut coordinator => match ended? {
            Ok(()) => Err(anyhow::anyhow!("the coordinator stopped by itself")),
            Err(error) => Err(error.into()),
        },
        ended = &mut worker => match ended? {
            Ok(()) => Err(anyhow::anyhow!("the worker stopped by itself")),
            Err(error) => Err(error.into()),
        },
    };
    stop_worker.send_replace(true);
    if !worker.is_finished() {
        drop(tokio::time::timeout(Duration::from_secs(30), worker).await);
    }
    stop_coordinator.send_replace(true);
    if !coordinator.is_finished() {
        drop(tokio::time::timeout(Duration::from_secs(10), coordinator).await);
    }
    outcome
}

/// Whether the tasks that `--only` names are there.
fn chosen(only: &[String], plan: &Plan) -> anyhow::Result<()> {
    for word in only {
        let selector: Selector = word.parse().map_err(|e| BadArgument(format!("--only: {e}")))?;
        if selector.task.index.is_some() || plan.find(&selector.task.task).is_none() {
            let names: Vec<&str> = plan.tasks().iter().map(|t| t.id.as_str()).take(MAX_NAMES + 1).collect();
            let more = if names.len() > MAX_NAMES { ", …" } else { "" };
            let names = names[..names.len().min(MAX_NAMES)].join(", ");
            anyhow::bail!(BadArgument(format!("--only {word}: there is no task {}; its tasks are {names}{more}", selector.task)));
        }
    }
    Ok(())
}

/// Under `run` one worker serves every queue there is.
fn served_queues(plan: &Plan) -> std::collections::BTreeSet<penstock_common::QueueName> {
    plan.tasks().iter().map(|t| t.spec.queue.clone()).chain(penstock_common::QueueName::parse("default")).collect()
}

/// And has every label that its tasks ask for.
fn offered_labels(plan: &Plan) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in plan.tasks().iter().flat_map(|t| &t.spec.labels) {
        let known = labels.entry(name.clone()).or_insert_with(|| value.clone());
        if known != value {
            anyhow::bail!(
                "its tasks ask for workers with the label {name}={known} and with {name}={value}: under `penstock run` there is one"
            );
        }
    }
    Ok(labels)
}

async fn follow(
    client: &Client,
    args: &Run,
    document: &str,
    plan: &Plan,
    params: serde_json::Map<String, serde_json::Value>,
    interval: Option<penstock_common::Interval>,
) -> anyhow::Result<ExitCode> {
    // Runs that an earlier process left unended go on as soon as there is a worker.
    let unended =
        v1::ListRunsRequest { states: vec![v1::State::Pending.into(), v1::State::Running.into()], limit: 10, ..Default::default() };
    for run in client.list(unended).await?.runs {
        eprintln!("run {} of {} was not ended before: it goes on as well", run.run_id, run.pipeline);
    }
    for pool in plan.tasks().iter().filter_map(|t| t.spec.pool.as_ref()).collect::<std::collections::BTreeSet<_>>() {
        let known = client.pools().await?.pools;
        if !known.iter().any(|p| p.name == pool.as_str()) {
            eprintln!("pool {pool} has no limit under `penstock run`");
            client.set_pool(pool.as_str(), Some(u32::MAX), "made by penstock run").await?;
        }
    }
    let registered = client.register(&args.file.display().to_string(), document).await?;
    let submit = Submit { params, run_id: args.run_id.clone(), interval, only: args.part.only.clone(), ..Submit::of(&registered.pipeline) };
    let submitted = client.submit(submit).await?;
    let mut progress = Progress::new(args.json);
    progress.started(&submitted.run_id, &registered);
    let mut watch = client.watch(&submitted.run_id);
    let mut interrupts = 0;
    loop {
        tokio::select! {
            update = watch.next() => match update? {
                Some(update) => progress.update(&update),
                None => break,
            },
            () = terminated() => {
                interrupts += 1;
                if interrupts > 1 {
                    // The supervisors kill what runs when this process is gone.
                    std::process::exit(130);
                }
                eprintln!("cancelling run {}: programs get SIGTERM, after their grace SIGKILL; once more kills them now", submitted.run_id);
                client.cancel(&submitted.run_id, false, "interrupted at the terminal").await?;
            }
        }
    }
    let run = if args.json {
        show::pages::print_json(client, &submitted.run_id).await?
    } else {
        let run = show::pages::for_people(client, &submitted.run_id).await?;
        progress.summary(&run, &args.state.join("logs"));
        run.run.run
    };
    let succeeded = State::from(run.state()) == State::Success;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_is_not_there_is_told_with_those_that_are() {
        let (plan, _) = Plan::load("p.yaml", "pipeline: p\ntasks: {load: {noop: true}, clean: {noop: true}}\n").unwrap();
        let of = |word: &str| chosen(&[word.to_owned()], &plan);
        assert!(of("+load").is_ok());
        for (word, says) in [("nope", "its tasks are clean, load"), ("load[1]", "no task load[1]"), ("?", "--only: \"?\"")] {
            let error = of(word).unwrap_err();
            assert!(error.is::<BadArgument>() && error.to_string().contains(says), "{error}");
        }
    }
}
