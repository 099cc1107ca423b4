//! What is run: fan-outs and chains of tasks that do nothing.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::bail;
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
