//! `make bench`: the whole path, measured. One store, one coordinator process, one worker process, and this client; no-op tasks through
//! real gRPC. A raw etcd put of the same run stands beside the figures, since only ratios can be compared between machines.

#![allow(clippy::print_stdout)]

mod processes;
mod workload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use processes::{Etcd, Penstock};

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    /// The release binary.
    #[arg(long, default_value = "target/release/penstock")]
    penstock: PathBuf,
    /// Tasks of the fan-outs.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    fan_out: Vec<u32>,
    /// Runs of each measurement; the median is printed.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Schedules that fall due in the same minute; 0: not measured.
    #[arg(long, default_value_t = 0)]
    schedules: u32,
    /// Slots of the worker.
    #[arg(long, default_value_t = 1_000)]
    slots: u32,
}

/// Sorted figures.
struct Figures(Vec<f64>);

impl Figures {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }
    fn at(&self, q: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores; median of {} runs; no-op tasks, {} slots", args.repeat, args.slots);

    let dir = tempfile::tempdir()?;
    let etcd = Etcd::start(dir.path()).await?;
    let (put_p50, put_p99, puts) = raw_puts(&etcd.endpoint()).await?;
    println!("raw etcd put, 150 B         p50 {put_p50:.2} ms  p99 {put_p99:.2} ms  {puts:.0}/s with 64 clients");

    for store in [format!("etcd://{}", etcd.endpoint()), format!("embedded:{}", dir.path().join("store.redb").display())] {
        let kind = store.split(':').next().unwrap_or_default().to_owned();
        let penstock = Penstock::start(&args.penstock, &store, dir.path(), args.slots).await?;
        let client = &penstock.client;
        for n in &args.fan_out {
            let figures = workload::fan_out(client, *n, args.repeat).await.with_context(|| format!("fan-out of {n} on {kind}"))?;
            let seconds = Figures::of(figures);
            let rate = f64::from(*n + 2) / seconds.at(0.5);
            println!(
                "{kind:<9} fan-out 1 > {n:<6} > 1  {rate:>8.0} tasks/s  ({:.3} s, {:.3}..{:.3})",
                seconds.at(0.5),
                seconds.at(0.0),
                seconds.at(1.0)
            );
        }
        if args.schedules > 0 {
            let late = Figures::of(workload::schedules(client, args.schedules).await.with_context(|| format!("schedules on {kind}"))?);
            let (middle, last) = (late.at(0.5), late.at(1.0));
            println!("{kind:<9} {} schedules due at once: each fired once, p50 {middle:.2} s late, the last {last:.2} s", args.schedules);
        }
        let hops = Figures::of(workload::chain(client, 100, args.repeat).await.with_context(|| format!("chain on {kind}"))?);
        let against = if kind == "etcd" { format!("  {:.1} x raw put p50", hops.at(0.5) / put_p50) } else { String::new() };
        println!("{kind:<9} chain of 100         hop p50 {:.2} ms  p99 {:.2} ms{against}", hops.at(0.5), hops.at(0.99));
    }
    let (put_p50, put_p99, puts) = raw_puts(&etcd.endpoint()).await?;
    println!("raw etcd put again          p50 {put_p50:.2} ms  p99 {put_p99:.2} ms  {puts:.0}/s with 64 clients");
    Ok(())
}

/// Sequential puts of 150 bytes: p50 and p99 in ms; and puts a second from 64 clients at once.
async fn raw_puts(endpoint: &str) -> anyhow::Result<(f64, f64, f64)> {
    let mut client = etcd_client::Client::connect([endpoint], None).await?;
    let value = vec![7u8; 150];
    let mut times = Vec::new();
    for i in 0..500 {
        let start = Instant::now();
        client.put(format!("/bench/{i}"), value.clone(), None).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let start = Instant::now();
    let mut tasks = Vec::new();
    for c in 0..64 {
        let (mut client, value) = (client.clone(), value.clone());
        tasks.push(tokio::spawn(async move {
            for i in 0..50 {
                client.put(format!("/bench/{c}/{i}"), value.clone(), None).await?;
            }
            Ok::<_, etcd_client::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let rate = 64.0 * 50.0 / start.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(200)).await; // lets etcd write out what it owes before the next measurement
    let times = Figures::of(times);
    Ok((times.at(0.5), times.at(0.99), rate))
}
