//! What every type of task needs of its attempt: the lease, the log, who may stop it, its templates and secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::limits::MAX_DETAIL_BYTES;
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Setting;
use penstock_common::record::{Ended, Report};
use penstock_common::{Items, Reason, State, Timestamp, paths};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::halt::Halt;
use super::judge::{Case, Cause, End, Verdict};
use super::log::Log;
use super::mask::Masks;
use super::output::{self, OutputFiles};
use super::template::Templates;
use super::{Host, environment, items};
use crate::executor::Done;

/// One attempt, as its executor gets it.
pub(crate) struct Job<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) host: &'a Host,
    /// Masks the secrets that [`Job::secret`] gave.
    pub(crate) log: Log,
    /// The stop signal and the deadline of the attempt.
    pub(crate) halt: Halt,
    /// Takes the metrics so far, from who has any before the end.
    pub(crate) live: Option<watch::Sender<Metrics>>,
    /// To be set when the work itself begins; 0 says that it never did.
    pub(crate) started_at: Timestamp,
    pub(crate) templates: Templates,
    params: serde_json::Map<String, serde_json::Value>,
    masks: Masks,
}

impl<'a> Job<'a> {
    /// Opens the log.
    pub(crate) async fn new(lease: &'a Lease, host: &'a Host, halt: Halt, live: Option<watch::Sender<Metrics>>) -> Result<Self, Verdict> {
        let path = host.log_root.join(paths::attempt_log(&lease.run, &lease.task.task, lease.instance, lease.number));
        let clock = host.clock.clone();
        let log = spawn_blocking(move || Log::open(path, clock)).await.map_err(|error| unprepared(&error))?;
        let params = serde_json::from_str(&lease.params).map_err(|error| {
            let why = format!("the run's parameters are not a JSON object: {error}. This is a fault of Penstock, please report it");
            Verdict::failed(Reason::Template, &why)
        })?;
        let templates = Templates::new(lease, &params);
        Ok(Self { lease, host, log, halt, live, started_at: Timestamp(0), templates, params, masks: Masks::default() })
    }

    /// Renders the template of an element that is named as in `run[2]`.
    pub(crate) fn render(&self, element: &str, template: &str) -> Result<String, Verdict> {
        self.templates.render(element, template).map_err(|why| Verdict::failed(Reason::Template, &why))
    }

    /// The value of a secret, which is masked from now on in the log, the detail, outputs and items of this attempt.
    pub(crate) async fn secret(&mut self, name: &str) -> Result<String, Verdict> {
        let (secrets, wanted) = (self.host.secrets.clone(), name.to_owned());
        let value = spawn_blocking(move || secrets.get(&wanted)).await.map_err(|error| unprepared(&error))?;
        let value = value.map_err(|why| Verdict::failed(Reason::Spawn, &why.to_string()))?;
        self.mask(name, &value);
        Ok(value)
    }

    /// Masks a value that is a secret, or holds one, under the name of that secret.
    pub(crate) fn mask(&mut self, name: &str, value: &str) {
        let all = self.masks.add(value);
        self.log.mask(self.masks.clone());
        if !all {
            self.log.notice(&format!("the secret {name}, or a line of it, has fewer than 4 bytes: that is not masked in this log"));
        }
    }

    /// What is masked.
    pub(crate) fn masks(&self) -> &Masks {
        &self.masks
    }

    /// A value of the worker's configuration, which is no template. It may be or hold a password, so a secret is masked.
    pub(crate) async fn configured(&mut self, what: &str, setting: &Setting) -> Result<String, Verdict> {
        match setting {
            Setting::Template(text) => Ok(text.clone()),
            Setting::Secret { secret } => {
                self.secret(secret).await.map_err(|verdict| Verdict { detail: format!("{what}: {}", verdict.detail), ..verdict })
            }
        }
    }

    /// The value of a setting.
    pub(crate) async fn setting(&mut self, element: &str, setting: &Setting) -> Result<String, Verdict> {
        match setting {
            Setting::Template(template) => self.render(element, template),
            Setting::Secret { secret } => self.secret(secret).await,
        }
    }

    /// The task's working directory, absolute.
    pub(crate) fn workdir(&self) -> Result<PathBuf, Verdict> {
        let code_root = std::path::absolute(&self.host.code_root).map_err(|error| {
            Verdict::failed(Reason::Spawn, &format!("the worker's code root {}: {error}", self.host.code_root.display()))
        })?;
        // By components: without the slash at the end that an empty workdir would leave.
        Ok(code_root.join(self.render("workdir", &self.lease.spec.workdir)?).components().collect())
    }

    /// The variables of the document and of Penstock, over whatever the program inherits. `output` and `items` are where the
    /// program finds these files: absolute, and within a container another path than on this machine.
    pub(crate) async fn environment(&mut self, output: &Path, items: &Path) -> Result<Vec<(String, String)>, Verdict> {
        let told = environment::told(self.lease, &self.params, output, items);
        let mut env = Vec::new();
        let spec = &self.lease.spec.env;
        for (name, setting) in spec {
            if name.is_empty() || name.contains(['=', '\0']) {
                let why = format!("env has {name:?}, which can be no variable's name: it is empty or holds = or NUL");
                return Err(Verdict::failed(Reason::Template, &why));
            }
            if told.contains_key(name) && name.starts_with("PENSTOCK_") {
                self.log.notice(&format!("env.{name} of the pipeline is not used: Penstock sets this variable itself"));
                continue;
            }
            env.push((name.clone(), self.setting(&format!("env.{name}"), setting).await?));
        }
        env.extend(told.into_iter().filter(|(name, _)| !(name == "TRACEPARENT" && spec.contains_key(name))));
        Ok(env)
    }

    /// How a program ended: reads what it reported, and judges by all there is.
    pub(crate) async fn judge(&mut self, files: OutputFiles, end: End, cause: Option<Cause>, oom: bool) -> Done {
        let masks = self.masks.clone();
        let read = spawn_blocking(move || (output::Report::read(files.output(), &masks), items::read(files.items(), &masks))).await;
        let (report, items) = read.unwrap_or_else(|_| (output::Report::default(), Ok(None)));
        for warning in &report.warnings {
            self.log.notice(warning);
        }
        if report.more_warnings > 0 {
            self.log.notice(&format!("{} more warnings about the output file", report.more_warnings));
        }
        let tail = self.log.tail();
        let verdict = Case { end, cause, report: &report, oom, tail: &tail }.judge();
        let (verdict, items) = match items {
            // What it wrote besides does not matter where it failed or skipped.
            Err(why) if verdict.state == State::Success => {
                self.log.notice(&why.detail);
                (Verdict { exit_code: verdict.exit_code, ..why }, None)
            }
            items => (verdict, items.unwrap_or_default()),
        };
        Done::Ended { verdict, metrics: report.metrics, outputs: report.outputs, items }
    }

    /// Closes the log and says what came of it, without secrets.
    pub(crate) async fn finish(mut self, done: Result<Done, Verdict>) -> Report {
        let done = done.unwrap_or_else(|verdict| {
            self.log.notice(&verdict.detail);
            verdict.into()
        });
        self.log.close().await;
        match done {
            Done::Ended { mut verdict, metrics, outputs, items } => {
                verdict.detail = self.masks.text(&verdict.detail);
                // Only a success has any: nobody may build on what a failed attempt said.
                let kept = verdict.state == State::Success;
                let outputs = if kept { self.masks.outputs(outputs) } else { Outputs::default() };
                report(self.host, self.started_at, verdict, metrics, outputs, items.filter(|_| kept))
            }
            Done::Waiting { until, detail } => Report::Waiting { until, detail: cut(self.masks.text(&detail)).into() },
        }
    }
}

/// Nothing was started: the runtime is going down, or there is a bug.
fn unprepared(error: &tokio::task::JoinError) -> Verdict {
    Verdict::failed(Reason::Spawn, &format!("the worker could not prepare the attempt: {error}"))
}

/// The report of an attempt that never had a job.
pub(crate) fn never_began(host: &Host, verdict: Verdict) -> Report {
    report(host, Timestamp(0), verdict, Metrics::default(), Outputs::default(), None)
}

fn report(host: &Host, started_at: Timestamp, verdict: Verdict, metrics: Metrics, outputs: Outputs, items: Option<Arc<Items>>) -> Report {
    let ended = Ended {
        detail: cut(verdict.detail).into(),
        exit_code: verdict.exit_code,
        started_at,
        ended_at: (host.clock)(),
        metrics,
        outputs,
        items: None, // its digest is the coordinator's to set, once the blob is stored
        state: verdict.state,
        reason: verdict.reason,
        worker_died: false,
    };
    Report::Ended { ended, items }
}

fn cut(mut detail: String) -> String {
    detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
    detail
}
