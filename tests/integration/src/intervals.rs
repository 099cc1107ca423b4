//! What schedules and backfills did: runs and their intervals, each once and without a gap.

use std::time::{Duration, Instant};

use penstock_client::{Client, v1};
use penstock_common::{State, Timestamp};

use crate::{Cluster, LATE, eventually};

/// Every run of a pipeline, newest first.
///
/// # Panics
/// When there is no answer.
pub async fn runs(client: &Client, pipeline: &str) -> Vec<v1::Run> {
    let mut all = Vec::new();
    let mut before_no = 0;
    loop {
        let request = v1::ListRunsRequest { pipeline: pipeline.to_owned(), limit: 1_000, before_no, ..Default::default() };
        let page = client.list(request).await.expect("runs are listed").runs;
        let Some(last) = page.last() else { return all };
        before_no = last.no;
        all.extend(page);
    }
}

/// What started a run.
pub fn kind(run: &v1::Run) -> &str {
    run.trigger.as_ref().map_or("", |t| &t.kind)
}

/// Waits until each of these runs has ended, and there are as many.
pub async fn ended(client: &Client, pipeline: &str, at_least: usize) -> Vec<v1::Run> {
    let what = format!("{at_least} runs of {pipeline} have ended");
    eventually(&what, LATE, || async {
        let all = runs(client, pipeline).await;
        (all.len() >= at_least && all.iter().all(|r| State::from(r.state()).is_terminal())).then_some(all)
    })
    .await
}

/// The intervals of these runs in the order of time: each once, no gap and no overlap.
///
/// # Panics
/// Else.
pub fn without_gap(of: &str, runs: &[v1::Run]) -> Vec<(i64, i64)> {
    let mut all: Vec<_> = runs.iter().map(|r| r.interval.map(|i| (i.start_ms, i.end_ms)).expect("has an interval")).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(start, end), (next, _)] = pair else { continue };
        assert_ne!(start, next, "{of}: the interval from {} has two runs", Timestamp(*start));
        assert_eq!(
            end,
            next,
            "{of}: after the interval {} to {} comes the one from {}",
            Timestamp(*start),
            Timestamp(*end),
            Timestamp(*next)
        );
    }
    all
}

/// Each is SUCCESS.
///
/// # Panics
/// Else.
pub fn all_succeeded(runs: &[v1::Run]) {
    for run in runs {
        assert_eq!(State::from(run.state()), State::Success, "{run:#?}");
    }
}

/// SIGKILL of the leader; starts it again once another leads.
pub async fn replace_leader(cluster: &mut Cluster) -> Duration {
    let leader = cluster.leader().await;
    let killed = Instant::now();
    cluster.server(leader).kill();
    cluster.leader().await;
    let took = killed.elapsed();
    cluster.restart_server(leader);
    took
}

/// The time by the clock of this machine, which is the coordinators' too if they have none of their own.
///
/// # Panics
/// When it is before 1970.
pub fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "schedules follow the wall clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("is after 1970");
    i64::try_from(since.as_millis()).expect("is a time")
}
