//! Files that land while leaders are killed: each version of each starts one run, what is being written none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use penstock_client::v1;
use penstock_integration::{Cluster, LATE, Options, eventually, figure, turn};

const FILES: usize = 1_000;
/// Longer than a file settles and is looked for, several times over.
const QUIET: Duration = Duration::from_secs(8);

fn document(dir: &Path) -> String {
    let path = format!("{}/*.csv", dir.display());
    format!(
        "pipeline: landing\ntriggers: [{{name: landed, file: {{path: \"{path}\", settle: 1s, every: 1s, existing: true}}}}]\ntasks: {{look: {{noop: true}}}}\n"
    )
}

/// How many runs each file has started, by its name.
async fn runs(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let mut before_no = 0;
    loop {
        let request = v1::ListRunsRequest { pipeline: "landing".to_owned(), limit: 1_000, before_no, ..Default::default() };
        let page = cluster.client().list(request).await.expect("runs are listed").runs;
        let Some(last) = page.last() else { return all };
        before_no = last.no;
        for run in page {
            let source = run.trigger.expect("has a trigger").source;
            let name = source.rsplit('/').next().expect("has a name").to_owned();
            *all.entry(name).or_default() += 1;
        }
    }
}

async fn total(cluster: &Cluster, wanted: usize) {
    let what = format!("{wanted} runs");
    eventually(&what, LATE, || async { (runs(cluster).await.values().sum::<usize>() >= wanted).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_starts_one_run_though_leaders_are_killed_while_they_land() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { workers: 1, slots: 32, ..Options::default() }).await;
    let dir = cluster.dir().join("in");
    std::fs::create_dir(&dir).expect("makes a directory");
    cluster.client().register("landing.yaml", &document(&dir)).await.expect("is registered");

    // One is being written all the while.
    let slow = dir.join("slow.csv");
    let (done, mut stop) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut file = std::fs::File::create(&slow).expect("is created");
        loop {
            writeln!(file, "a line").expect("is written");
            tokio::select! {
                _ = &mut stop => return,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    });

    let began = Instant::now();
    for n in 0..FILES {
        std::fs::write(dir.join(format!("{n:04}.csv")), format!("{n}\n")).expect("is written");
        if n % 250 == 125 {
            let leader = cluster.leader().await;
            cluster.server(leader).kill();
            cluster.leader().await;
            cluster.restart_server(leader);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    total(&cluster, FILES).await;
    figure("1,000 files over four leaders, all started", format!("{:.1} s", began.elapsed().as_secs_f64()));
    tokio::time::sleep(QUIET).await;
    let mut all = runs(&cluster).await;
    assert_eq!(all.remove("slow.csv"), None, "it is being written");
    assert_eq!((all.len(), all.values().filter(|count| **count != 1).count()), (FILES, 0), "{all:?}");

    drop(done);
    writer.await.expect("writes to the end");
    std::fs::write(dir.join("0007.csv"), "8\n").expect("is written");
    total(&cluster, FILES + 2).await;
    let leader = cluster.leader().await;
    cluster.server(leader).kill();
    cluster.leader().await;
    tokio::time::sleep(QUIET).await;
    let all = runs(&cluster).await;
    assert_eq!((all.get("slow.csv"), all.get("0007.csv")), (Some(&1), Some(&2)));
    assert_eq!(all.values().sum::<usize>(), FILES + 2);
}
