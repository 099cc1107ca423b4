//! The Pod of a Job, as it changes: listed, then watched, then listed again, so that nothing depends on a stream that stalls.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::time::{Instant, sleep, timeout};

use super::api::{self, Failure};

/// How long one watch goes on; then everything is listed again.
const WATCH_S: u32 = 30;
/// A watch that says nothing for longer has lost its server.
const SILENT_FOR: Duration = Duration::from_secs(WATCH_S as u64 + 15);
/// How long a server may be away while a Pod runs. It goes on without.
const AWAY_FOR: Duration = Duration::from_secs(600);

/// What there is.
#[derive(Debug)]
pub(super) enum Now {
    /// The Pod in its latest state.
    Pod(Box<Pod>),
    /// There is none: not yet, or not any more.
    NoPod,
    /// Nobody knows.
    Away(String),
}

type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<Pod>, kube::Error>> + Send>>;

/// Watches the Pod of one Job.
pub(super) struct States {
    pods: Api<Pod>,
    selector: String,
    job_uid: String,
    events: Option<Events>,
    version: String,
    /// What was found and not yet told.
    found: VecDeque<Now>,
    away: Option<Instant>,
    pause: Duration,
}

impl States {
    /// `job_name` as the Job controller labels its Pods with.
    pub(super) fn new(pods: Api<Pod>, job_name: &str, job_uid: String) -> Self {
        let selector = format!("job-name={job_name}");
        Self { pods, selector, job_uid, events: None, version: String::new(), found: VecDeque::new(), away: None, pause: api::PAUSES.0 }
    }

    /// The next state; the first at once. Can be dropped at any time and called again.
    pub(super) async fn next(&mut self) -> Now {
        loop {
            if let Some(now) = self.found.pop_front() {
                return now;
            }
            if let Err(failure) = self.look().await {
                let since = *self.away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_FOR || matches!(failure, Failure::Refused { .. }) {
                    return Now::Away(failure.to_string());
                }
                self.events = None;
                let pause = self.pause;
                // Before the pause, in which this may be dropped.
                self.pause = (pause * 2).min(api::PAUSES.1);
                sleep(pause).await;
            }
        }
    }

    /// Waits for one more event, or lists.
    async fn look(&mut self) -> Result<(), Failure> {
        let Some(events) = &mut self.events else { return self.list().await };
        match timeout(SILENT_FOR, events.next()).await {
            Ok(Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)))) if self.is_ours(&pod) => {
                self.found.push_back(Now::Pod(Box::new(pod)));
            }
            Ok(Some(Ok(WatchEvent::Deleted(pod)))) if self.is_ours(&pod) => {
                // Its last state may be news: how the program ended.
                self.found.extend([Now::Pod(Box::new(pod)), Now::NoPod]);
            }
            Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None) | Err(_) => self.events = None,
            Ok(Some(Ok(_))) => {}
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Failure> {
        let selected = ListParams::default().labels(&self.selector);
        let list = api::once("list the Pods of the Job", self.pods.list(&selected)).await?;
        self.version = list.metadata.resource_version.unwrap_or_default();
        let watched = WatchParams::default().labels(&self.selector).timeout(WATCH_S);
        let events = api::once("watch the Pods of the Job", self.pods.watch(&watched, &self.version)).await?;
        let pod = list.items.into_iter().find(|pod| self.is_ours(pod));
        self.found.push_back(pod.map_or(Now::NoPod, |pod| Now::Pod(Box::new(pod))));
        self.events = Some(Box::pin(events));
        (self.away, self.pause) = (None, api::PAUSES.0);
        Ok(())
    }

    /// An earlier Job of the same name may have left one.
    fn is_ours(&self, pod: &Pod) -> bool {
        pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == self.job_uid)
    }
}
