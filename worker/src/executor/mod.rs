//! The types of tasks, one file each.
//!
//! An executor gets a [`Job`] and does what the task says. What all types share is the job's: it renders templates, resolves
//! secrets and masks them, keeps the log, and says when to stop. What a type reports is at the top of its file.

pub(crate) mod container;
mod http;
pub(crate) mod noop;
pub(crate) mod process;
mod sql;
mod tls;
mod wait;

use std::sync::Arc;

use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Action;
use penstock_common::{Items, Reason, Timestamp};

use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// One type of task.
///
/// - `execute` sets `job.started_at` when the work itself begins, and writes what a person should read into `job.log`.
/// - It listens to `job.halt` all the while: a cancelled attempt lets go within the task's `grace`, a revoked one at once, and
///   when `execute` returns, nothing of it runs on. The verdict is then [`Cause::verdict`](crate::attempt::judge::Cause::verdict).
/// - What comes from templates is data: an argument, a bound value, a header. It is never rendered or parsed again.
/// - An `Err` is a failure in the executor's own words, which the job also writes into the log. What the program said is an `Ok`.
/// - The future may be dropped at any time, when the worker goes down.
pub(crate) trait Executor {
    /// Does the task, to its end or until it must wait.
    fn execute(self, job: &mut Job<'_>) -> impl Future<Output = Result<Done, Verdict>> + Send;
}

/// What came of it.
pub(crate) enum Done {
    /// The attempt is over.
    Ended {
        /// How.
        verdict: Verdict,
        /// Numbers, also of a failure.
        metrics: Metrics,
        /// For downstream; dropped unless the verdict is SUCCESS.
        outputs: Outputs,
        /// For a mapped task below; dropped unless the verdict is SUCCESS.
        items: Option<Arc<Items>>,
    },
    /// It is not so yet: probed again at this time.
    Waiting {
        /// When.
        until: Timestamp,
        /// What was seen.
        detail: String,
    },
}

impl From<Verdict> for Done {
    fn from(verdict: Verdict) -> Self {
        Self::Ended { verdict, metrics: Metrics::default(), outputs: Outputs::default(), items: None }
    }
}

/// Executes whatever the task is.
pub(crate) async fn execute(job: &mut Job<'_>) -> Result<Done, Verdict> {
    match &job.lease.spec.action {
        Action::Run(_) | Action::Shell(_) => process::Program.execute(job).await,
        Action::Http(http) => http::Request(http).execute(job).await,
        Action::Sql(sql) => sql::Script(sql).execute(job).await,
        Action::Wait(wait) => wait::Sensor(wait).execute(job).await,
        Action::Container(container) => container::Image(container).execute(job).await,
        Action::Noop => Ok(Verdict::success().into()),
        action @ (Action::Pipeline(_) | Action::Approve(_)) => {
            let why = format!(
                "a task of type `{}` was leased to a worker, and only the coordinator executes these: this is a fault of Penstock, please \
                 report it",
                action.kind()
            );
            Err(Verdict::failed(Reason::Spawn, &why))
        }
    }
}

/// The error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
