//! What is run: fan-outs and chains of tasks that do nothing, and schedules that fall due at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use penstock_client::{Client, Submit, v1};

async fn register(client: &Client, name: &str, tasks: impl Iterator<Item = (String, Vec<String>)>) -> anyhow::Result<()> {
    let mut document = format!("pipeline: {name}\ntasks:\n");
    for (id, upstream) in tasks {
        writeln!(document, "  {id}: {{noop: true, depends_on: [{}]}}", upstream.join(", "))?;
    }
    client.register("bench", &document).await?;
    Ok(())
}

/// Runs a pipeline; returns the seconds from submit to the answer that it has ended.
async fn timed(client: &Client, pipeline: &str) -> anyhow::Result<f64> {
    let start = Instant::now();
    let submitted = client.submit(Submit::of(pipeline)).await?;
    let ended = client.wait(&submitted.run_id).await?;
    if ended.state() != v1::State::Success {
        bail!("run {} ended {}", submitted.run_id, ended.state().as_str_name());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// 1 → n → 1.
pub(crate) async fn fan_out(client: &Client, n: u32, repeat: usize) -> anyhow::Result<Vec<f64>> {
    let name = format!("fan_{n}");
    let middle: Vec<String> = (0..n).map(|i| format!("t{i}")).collect();
    let tasks = std::iter::once(("first".to_owned(), Vec::new()))
        .chain(middle.iter().map(|id| (id.clone(), vec!["first".to_owned()])))
        .chain(std::iter::once(("last".to_owned(), middle.clone())));
    register(client, &name, tasks).await?;
    timed(client, &name).await?;
    let mut seconds = Vec::new();
    for _ in 0..repeat {
        seconds.push(timed(client, &name).await?);
    }
    Ok(seconds)
}

/// A chain of n; returns the milliseconds between one task's start and the next's, as a watcher sees them.
pub(crate) async fn chain(client: &Client, n: u32, repeat: usize) -> anyhow::Result<Vec<f64>> {
    let name = format!("chain_{n}");
    let upstream = |i: u32| if i == 0 { Vec::new() } else { vec![format!("t{:04}", i - 1)] };
    register(client, &name, (0..n).map(|i| (format!("t{i:04}"), upstream(i)))).await?;
    let mut hops = Vec::new();
    for _ in 0..=repeat {
        let submitted = client.submit(Submit::of(&name)).await?;
        let mut watch = client.watch(&submitted.run_id);
        let mut last: Option<Instant> = None;
        while let Some(update) = watch.next().await? {
            let started = update.changes.iter().filter(|c| c.state() == v1::State::Running && !c.task.is_empty()).count();
            if started == 1 && !update.caught_up {
                let now = Instant::now();
                if let Some(last) = last {
                    hops.push((now - last).as_secs_f64() * 1e3);
                }
                last = Some(now);
            } else if started > 1 {
                last = None;
            }
        }
    }
    if hops.is_empty() {
        bail!("no hop was seen");
    }
    Ok(hops)
}

#[allow(clippy::disallowed_methods, reason = "schedules follow the wall clock")]
fn wall() -> SystemTime {
    SystemTime::now()
}

/// How late each of so many schedules fired that fall due in the same minute, in seconds; each exactly once.
pub(crate) async fn schedules(client: &Client, count: u32) -> anyhow::Result<Vec<f64>> {
    const AHEAD: Duration = Duration::from_secs(180);
    let now = wall().duration_since(UNIX_EPOCH)?;
    let due = (now + AHEAD).as_secs() / 60 * 60;
    let (hour, minute) = (due / 3_600 % 24, due / 60 % 60);
    let mut registering = tokio::task::JoinSet::new();
    for n in 0..count {
        let client = client.clone();
        let document = format!("pipeline: due_{n}\nschedule: \"{minute} {hour} * * *\"\ntasks: {{a: {{noop: true}}}}\n");
        if registering.len() >= 64 {
            registering.join_next().await.transpose()?.transpose()?;
        }
        registering.spawn(async move { client.register("bench", &document).await.map(drop) });
    }
    while let Some(done) = registering.join_next().await {
        done??;
    }
    let wait = (UNIX_EPOCH + Duration::from_secs(due)).duration_since(wall()).context("registering took until they were due")?;
    println!("          {count} schedules registered, {:.0} s before they are due", wait.as_secs_f64());
    tokio::time::sleep(wait + Duration::from_secs(20)).await;
    let due_ms = i64::try_from(due * 1_000)?;
    let mut request = v1::ListRunsRequest { limit: 1_000, since_ms: due_ms, ..v1::ListRunsRequest::default() };
    let (mut late, mut pipelines) = (Vec::new(), BTreeSet::new());
    loop {
        let page = client.list(request.clone()).await?.runs;
        let Some(last) = page.last() else { break };
        request.before_no = last.no;
        for run in page.iter().filter(|run| run.trigger.as_ref().is_some_and(|t| t.kind == "schedule")) {
            ensure!(pipelines.insert(run.pipeline.clone()), "{} fired twice", run.pipeline);
            late.push((run.started_at_ms - due_ms) as f64 / 1e3);
        }
    }
    ensure!(late.len() == count as usize, "{} of {count} fired", late.len());
    Ok(late)
}
