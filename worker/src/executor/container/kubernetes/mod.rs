//! Jobs of a Kubernetes cluster: one Job an attempt, one Pod a Job, and a Secret where the task has secrets.
//!
//! ```text
//!  create Job (suspended) ─▶ create Secret (owned by it) ─▶ list the task's Jobs ─▶ delete the earlier ─▶ resume
//!      └─ name taken: adopt                                                                               │
//!  log ◀── log of the Pod ◀── Pod ──▶ watch: pending, running, ended ─▶ termination message ─▶ outputs ◀──┘
//!                              └──▶ halt: delete the Job, foreground, and wait until the program has ended
//! ```
//!
//! What differs from a program on the worker, as Kubernetes has nothing better: `$PENSTOCK_OUTPUT` is the termination log, of which
//! 4,096 bytes are taken (more is FAILED(output_too_large)); it is read at the end, so there are no live metrics; there is no
//! `$PENSTOCK_ITEMS` (an output can hold a list); the log does not tell standard output from error; the working directory is the
//! image's. A Pod that the cluster evicts, preempts or loses with its node is FAILED(lost), which spends no `retries`.
//!
//! The Job that ended stays for `keep`; its Secret goes at once. The worker's rights: `jobs` create, get, list, patch, delete;
//! `pods` get, list, watch, delete; `pods/log` get; `secrets` create, get, delete; in every namespace that tasks name.

mod api;
mod job;
mod logs;
mod options;
mod pod;
mod prepare;
mod remove;
mod states;

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job as KubeJob;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams};
use penstock_common::pipeline::Container;
use penstock_common::{Reason, State, Timestamp};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::job::{MAX_MESSAGE_BYTES, TERMINATION_LOG};
pub use self::options::{Access, Kubernetes, Options, Owner};
use self::pod::{Ended, Kind, Seen, Trouble};
use self::prepare::Prepared;
pub(super) use self::remove::remove_leftovers;
use self::states::{Now, States};
use super::config::Containers;
use super::names::{Identity, scope};
use super::spec::Spec;
use crate::attempt::halt::{LONGEST, at};
use crate::attempt::job::Job;
use crate::attempt::judge::{Cause, End, Exit, Verdict};
use crate::attempt::output::OutputFiles;
use crate::executor::Done;

/// How long a Job may be without a Pod before that is a failure: a quota, or an admission that says no.
const POD_WITHIN: Duration = Duration::from_secs(120);
/// After the end, how long the log may still come.
const DRAIN_FOR: Duration = Duration::from_secs(15);

/// The objects of one attempt's namespace.
struct Cluster {
    jobs: Api<KubeJob>,
    pods: Api<Pod>,
    secrets: Api<Secret>,
}

pub(super) async fn execute(
    container: &Container,
    kubernetes: &Kubernetes,
    containers: &Containers,
    job: &mut Job<'_>,
) -> Result<Done, Verdict> {
    let mut spec = Spec::render(container, job, Path::new(TERMINATION_LOG), Path::new("")).await?;
    spec.env.retain(|variable| variable.name != "PENSTOCK_ITEMS");
    let namespace = container.namespace.as_deref().unwrap_or(&kubernetes.namespace);
    let cluster = Cluster {
        jobs: Api::namespaced(kubernetes.client.clone(), namespace),
        pods: Api::namespaced(kubernetes.client.clone(), namespace),
        secrets: Api::namespaced(kubernetes.client.clone(), namespace),
    };
    let identity = Identity::new(&containers.cluster, scope(&containers.cluster, &containers.worker, ""), job.lease);
    let people = (job.lease.run.to_string(), job.lease.task.to_string());
    let wanted = job::job(container, &job.lease.spec, &spec, &identity, (&people.0, &people.1), namespace, kubernetes);

    let prepared = {
        let Job { log, halt, .. } = job;
        tokio::select! {
            biased;
            cause = halt.next() => Err(Ok(cause)),
            prepared = prepare::prepare(&cluster, &wanted, &spec, &identity, kubernetes.options.stop_patience, log) => prepared.map_err(Err),
        }
    };
    let attempt = match prepared {
        Ok(Prepared { uid }) => Attempt { cluster: &cluster, kubernetes, name: &identity.name, uid },
        Err(why) => {
            // Whatever of it is there already: it is suspended, or runs for nobody.
            let discarded = remove::discard(&cluster, &identity).await;
            discarded.unwrap_or_else(|failure| job.log.notice(&format!("the Job {} may be left: {failure}", identity.name)));
            return why.map(|cause| cause.verdict().into());
        }
    };
    let (ending, cause) = attempt.follow(job).await;
    attempt.conclude(ending, cause, job).await
}

struct Attempt<'a> {
    cluster: &'a Cluster,
    kubernetes: &'a Kubernetes,
    name: &'a str,
    /// The Job's.
    uid: String,
}

/// How following a Pod ended.
enum Ending {
    Exited(Ended),
    /// There is no Pod any more.
    Gone,
    NeverStarted(String),
    Lost(String),
    Unstoppable,
}

/// What is waited for before the program runs.
struct Patience {
    trouble: Option<(Kind, Instant)>,
    told: String,
    no_pod_since: Option<Instant>,
    options: (Duration, Duration),
}

impl Attempt<'_> {
    /// Follows the Pod until its program has ended, and deletes the Job when that is wanted.
    async fn follow(&self, job: &mut Job<'_>) -> (Ending, Option<Cause>) {
        let grace = job.lease.spec.grace.min(LONGEST).std();
        let (clock, mut started_at) = (job.host.clock.clone(), Timestamp(0));
        let Job { log, halt, .. } = job;
        let options = &self.kubernetes.options;
        let mut states = States::new(self.cluster.pods.clone(), self.name, self.uid.clone());
        let mut patience = Patience::new((options.image_patience, options.schedule_patience));
        let mut cause: Option<Cause> = None;
        let mut stopping = None;
        let mut give_up_at: Option<Instant> = None;
        // Someone else deletes the Pod: its node has this long to say how it ended.
        let mut lost_at: Option<Instant> = None;
        // The log is read once there is one. What Penstock itself has to say waits until nobody reads.
        let mut pump = None;
        let mut pumped = false;
        let (over, is_over) = watch::channel(false);
        let mut notices: Vec<String> = Vec::new();
        let mut log = Some(log);
        let ending = loop {
            let stop_for = tokio::select! {
                // First of all, that it has ended: a success then wins over a cancel.
                biased;
                now = states.next() => {
                    let seen = match now {
                        Now::Pod(pod) => {
                            let seen = pod::see(&pod);
                            if pod::is_deleted(&pod) {
                                lost_at.get_or_insert_with(|| Instant::now() + grace + options.stop_patience);
                            }
                            if matches!(seen, Seen::Running | Seen::Ended(_)) {
                                if started_at == Timestamp(0) {
                                    started_at = clock();
                                }
                                if let Some(log) = log.take() {
                                    let name = pod.metadata.name.clone().unwrap_or_default();
                                    let (pods, mut is_over) = (&self.cluster.pods, is_over.clone());
                                    pump = Some(Box::pin(async move {
                                        logs::pump(pods, &name, &mut is_over, log).await;
                                    }));
                                }
                            }
                            patience.no_pod_since = None;
                            seen
                        }
                        Now::NoPod if started_at > Timestamp(0) => break Ending::Gone,
                        Now::NoPod => {
                            patience.no_pod_since.get_or_insert_with(Instant::now);
                            match self.job_failure().await {
                                Some(_) => break Ending::Gone,
                                None => Seen::Pending(None),
                            }
                        }
                        Now::Away(why) => break Ending::Lost(format!("whether the Pod of the Job {} still runs is unknown: {why}", self.name)),
                    };
                    match seen {
                        Seen::Pending(trouble) => {
                            if let Some(told) = patience.note(trouble) {
                                match &mut log {
                                    Some(log) => log.notice(&told),
                                    None => notices.push(told),
                                }
                            }
                        }
                        Seen::Running => patience.trouble = None,
                        Seen::Ended(ended) => break Ending::Exited(ended),
                        Seen::NeverStarted(why) => break Ending::NeverStarted(why),
                        Seen::Lost(why) => break Ending::Lost(why),
                    }
                    None
                }
                why = halt.next() => Some(why),
                gone = async { match &mut stopping { Some(stop) => stop.await, None => pending().await } } => {
                    stopping = None;
                    match gone {
                        Ok(()) => break Ending::Gone,
                        Err(failure) => {
                            tracing::debug!(%failure, "deleting a Job");
                            None
                        }
                    }
                }
                () = at(give_up_at) => break Ending::Unstoppable,
                () = at(lost_at), if cause.is_none() => {
                    break Ending::Lost(format!("someone deleted the Pod of the Job {}, and its node does not say how it ended", self.name));
                }
                () = at(patience.ends_at()), if cause.is_none() => break Ending::NeverStarted(patience.why(self.name)),
                () = async { match &mut pump { Some(pump) => pump.await, None => pending().await } }, if !pumped => {
                    pumped = true;
                    None
                }
            };
            match stop_for {
                // Also after another cause: nobody wants the verdict any more.
                Some(Cause::Revoked) => {
                    cause = Some(Cause::Revoked);
                    give_up_at = Some(Instant::now() + options.stop_patience);
                    stopping = Some(Box::pin(remove::stop(self.cluster, self.name, &self.uid, true)));
                }
                Some(other) if cause.is_none() => {
                    cause = Some(other);
                    give_up_at = Some(Instant::now() + grace + options.stop_patience);
                    stopping = Some(Box::pin(remove::stop(self.cluster, self.name, &self.uid, false)));
                }
                _ => {}
            }
        };
        over.send_replace(true);
        let drained = match &mut pump {
            Some(pump) if !pumped => tokio::time::timeout(DRAIN_FOR, pump).await.is_ok(),
            _ => true,
        };
        drop((pump, log));
        if !drained {
            notices.push("the log ends here: the cluster gives no more of it".to_owned());
        }
        notices.iter().for_each(|notice| job.log.notice(notice));
        job.started_at = started_at;
        (ending, cause)
    }

    /// Why the Job failed, by the Job itself; a Job that is gone has failed too.
    async fn job_failure(&self) -> Option<(String, String)> {
        match api::once("read the Job", self.cluster.jobs.get_opt(self.name)).await {
            Ok(Some(found)) if found.metadata.uid.as_deref() == Some(&self.uid) => pod::failure(&found),
            Ok(_) => Some(("Deleted".to_owned(), "someone deleted the Job".to_owned())),
            Err(_) => None, // asked again
        }
    }

    async fn conclude(&self, ending: Ending, cause: Option<Cause>, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let signalled = cause.is_some();
        let exited = match ending {
            Ending::Exited(ended) => Ok(ended),
            Ending::Gone | Ending::NeverStarted(_) | Ending::Lost(_) if signalled => Err(Exit { signalled, ..Exit::default() }),
            Ending::Unstoppable => Err(Exit { signalled, alive: 1, ..Exit::default() }),
            Ending::NeverStarted(why) => {
                self.clean_up(job, true).await;
                return Err(Verdict::failed(Reason::Spawn, &why));
            }
            Ending::Gone | Ending::Lost(_) => {
                let failure = self.job_failure().await;
                self.clean_up(job, true).await;
                return Err(match (failure, ending, job.lease.spec.timeout) {
                    (Some((reason, _)), _, Some(limit)) if reason == "DeadlineExceeded" => Cause::Timeout(limit).verdict(),
                    (_, Ending::Lost(why), _) => Verdict::failed(Reason::Lost, &why),
                    (Some((reason, message)), _, _) => {
                        Verdict::failed(Reason::Lost, &format!("the Pod of the Job {} is gone: {reason}: {message}", self.name))
                    }
                    (None, _, _) => Verdict::failed(Reason::Lost, &format!("the Pod of the Job {} was deleted while it ran", self.name)),
                });
            }
        };
        self.clean_up(job, signalled).await;
        let (exit, oom, message) = match exited {
            Ok(ended) => (Exit { code: Some(ended.code), signalled, ..Exit::default() }, ended.oom, ended.message),
            Err(exit) => (exit, false, String::new()),
        };
        let is_cut = message.len() >= MAX_MESSAGE_BYTES;
        let files = reported(job, message).await?;
        let done = job.judge(files, End::Exit(exit), cause, oom).await;
        match done {
            // What is missing may be what mattered.
            Done::Ended { verdict: Verdict { state: State::Success | State::Skipped, exit_code, .. }, .. } if is_cut => {
                let why = format!(
                    "$PENSTOCK_OUTPUT has {MAX_MESSAGE_BYTES} bytes or more, and Kubernetes takes no more of a termination log: store the data \
                     and pass a reference to it (a path, a table, a key)"
                );
                Err(Verdict { exit_code, ..Verdict::failed(Reason::OutputTooLarge, &why) })
            }
            done => Ok(done),
        }
    }

    /// The Secret goes; so does the Job, where it would go on without us.
    async fn clean_up(&self, job: &mut Job<'_>, with_job: bool) {
        let secret = api::once("delete the Secret", self.cluster.secrets.delete(self.name, &DeleteParams::default())).await;
        if let Err(failure) = secret
            && !failure.is_none()
        {
            job.log.notice(&format!("the Secret {} stays until its Job is deleted: {failure}", self.name));
        }
        if with_job && let Err(failure) = remove::delete(self.cluster, self.name, &self.uid).await {
            job.log.notice(&format!("the Job {} may be left: {failure}", self.name));
        }
    }
}

/// What the program reported, in a file as a program on the worker writes it.
async fn reported(job: &Job<'_>, message: String) -> Result<OutputFiles, Verdict> {
    let (scratch, fence) = (job.host.scratch.clone(), job.lease.fence);
    let write = move || {
        let files = OutputFiles::create(&scratch, fence)?;
        std::fs::write(files.output(), message)?;
        Ok(files)
    };
    let written: std::io::Result<OutputFiles> = spawn_blocking(write).await.map_err(std::io::Error::other).and_then(|written| written);
    written
        .map_err(|error| Verdict::failed(Reason::Spawn, &format!("the worker's scratch directory {}: {error}", job.host.scratch.display())))
}

impl Patience {
    /// With images, and with the scheduler.
    fn new(options: (Duration, Duration)) -> Self {
        Self { trouble: None, told: String::new(), no_pod_since: None, options }
    }

    /// What is to be told of this, if it is news.
    fn note(&mut self, trouble: Option<Trouble>) -> Option<String> {
        let Some(Trouble { kind, message }) = trouble else {
            self.trouble = None;
            return None;
        };
        // Back-off and the error itself take turns; only another kind begins anew.
        if self.trouble.is_none_or(|(before, _)| before != kind) {
            self.trouble = Some((kind, Instant::now()));
        }
        let is_news = self.told != message;
        self.told.clone_from(&message);
        is_news.then(|| format!("the Pod does not run yet: {message}"))
    }

    fn ends_at(&self) -> Option<Instant> {
        let trouble = self.trouble.map(|(kind, since)| {
            since
                + match kind {
                    Kind::Hopeless => Duration::ZERO,
                    Kind::Image => self.options.0,
                    Kind::Unschedulable => self.options.1,
                }
        });
        trouble.or(self.no_pod_since.map(|since| since + POD_WITHIN))
    }

    fn why(&self, name: &str) -> String {
        if self.trouble.is_some() {
            return self.told.clone();
        }
        format!(
            "the Job {name} got no Pod within {} s: is there a quota, or an admission that refuses it? `kubectl describe job {name}` tells",
            POD_WITHIN.as_secs()
        )
    }
}
