//! A client for programs that submit and watch runs.
//!
//! It knows several coordinators, follows redirects to the leader, repeats what is safe to repeat until its deadline, and takes
//! watch streams up again. Run ids and request ids are minted before the first try, so a repeated call does nothing twice.
//!
//! ```no_run
//! # async fn example() -> Result<(), penstock_client::Error> {
//! let client = penstock_client::Client::connect(["127.0.0.1:7070"])?;
//! let run = client.submit(penstock_client::Submit::of("daily_etl")).await?;
//! let ended = client.wait(&run.run_id).await?;
//! println!("{} {}", ended.run_id, ended.state().as_str_name());
//! # Ok(())
//! # }
//! ```

mod call;
mod error;
mod people;
mod time;
mod watch;

use std::time::Duration;

use penstock_common::Interval;
pub use penstock_proto::dial::Dialer;
pub use penstock_proto::v1;

pub use call::Client;
pub use error::Error;
pub use time::Backfill;
pub use watch::{Update, Watch};

/// A run to be started.
#[derive(Debug, Clone, Default)]
pub struct Submit {
    /// Of which pipeline: `name` or `namespace/name`.
    pub pipeline: String,
    /// Its id; `None`: one is minted.
    pub run_id: Option<String>,
    /// Which version; `None`: the newest.
    pub version: Option<u32>,
    /// A JSON object; text is read as each parameter's type.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The time it covers.
    pub interval: Option<Interval>,
    /// Only these tasks, as `t`, `+t`, `t+`, `+t+`; empty: every task.
    pub only: Vec<String>,
}

impl Submit {
    /// A run of a pipeline's newest version, with default parameters.
    pub fn of(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), ..Self::default() }
    }
}

/// A run with all its tasks.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Without its tasks.
    pub run: v1::Run,
    /// All of them, by index.
    pub tasks: Vec<v1::Task>,
    /// The journal position of the answer; 0 from history.
    pub seq: u64,
}

/// How long a call is tried, if nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A new id: a ULID.
pub fn mint() -> String {
    ulid::Ulid::generate().to_string()
}

impl Client {
    /// Stores a definition. The same definition again is the same version.
    pub async fn register(&self, file: &str, document: &str) -> Result<v1::RegisterResponse, Error> {
        let request = v1::RegisterRequest { document: document.to_owned(), file: file.to_owned() };
        self.call("register", request, |mut c, r| async move { c.register(r).await }).await
    }

    /// What [`Client::register`] would answer or refuse; nothing is stored.
    pub async fn would_register(&self, file: &str, document: &str) -> Result<v1::WouldRegisterResponse, Error> {
        let request = v1::WouldRegisterRequest { document: document.to_owned(), file: file.to_owned() };
        self.call("register", request, |mut c, r| async move { c.would_register(r).await }).await
    }

    /// A pipeline and one version of its definition; version 0: the newest.
    pub async fn pipeline(&self, name: &str, version: u32) -> Result<v1::GetPipelineResponse, Error> {
        let request = v1::GetPipelineRequest { pipeline: name.to_owned(), version };
        self.call("pipeline", request, |mut c, r| async move { c.get_pipeline(r).await }).await
    }

    /// Starts a run; safe to repeat, since the id is minted before the first try.
    pub async fn submit(&self, submit: Submit) -> Result<v1::SubmitResponse, Error> {
        let request = v1::SubmitRequest {
            run_id: submit.run_id.unwrap_or_else(mint),
            pipeline: submit.pipeline,
            version: submit.version.unwrap_or(0),
            params: serde_json::Value::Object(submit.params).to_string(),
            interval: submit.interval.map(Into::into),
            by: self.by().to_owned(),
            only: submit.only,
        };
        self.call("submit", request, |mut c, r| async move { c.submit(r).await }).await
    }

    /// A run with all its tasks, at least as new as `min_seq`.
    pub async fn get(&self, run_id: &str, min_seq: u64) -> Result<Run, Error> {
        let mut all = Run::default();
        let mut from_task = 0;
        loop {
            let page = self.page(run_id, from_task, min_seq).await?;
            all.run = page.run.unwrap_or_default();
            all.seq = page.as_of.map_or(0, |a| a.seq);
            all.tasks.extend(page.tasks);
            from_task = page.next_task;
            if from_task == 0 {
                return Ok(all);
            }
        }
    }

    /// A run with a page of its tasks, from this index on; `next_task` of the answer begins the next page, 0 after the last.
    pub async fn page(&self, run_id: &str, from_task: u32, min_seq: u64) -> Result<v1::GetRunResponse, Error> {
        let request = v1::GetRunRequest { run_id: run_id.to_owned(), from_task, limit: 0, min_seq };
        self.call("get", request, |mut c, r| async move { c.get_run(r).await }).await
    }

    /// Runs, newest first.
    pub async fn list(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Error> {
        self.call("list", request, |mut c, r| async move { c.list_runs(r).await }).await
    }

    /// Every pipeline.
    pub async fn pipelines(&self) -> Result<v1::ListPipelinesResponse, Error> {
        self.call("pipelines", v1::ListPipelinesRequest {}, |mut c, r| async move { c.list_pipelines(r).await }).await
    }

    /// A run as it is, then each change until it has ended; taken up again when a coordinator is lost.
    pub fn watch(&self, run_id: &str) -> Watch {
        Watch::new(self.clone(), run_id.to_owned())
    }

    /// Waits until a run has ended.
    pub async fn wait(&self, run_id: &str) -> Result<v1::Run, Error> {
        let mut watch = self.watch(run_id);
        let mut last = v1::Run::default();
        while let Some(update) = watch.next().await? {
            last = update.run;
        }
        Ok(last)
    }

    /// Why a run, or one of its tasks, is not running.
    pub async fn explain(&self, run_id: &str, task: Option<&str>) -> Result<v1::ExplainResponse, Error> {
        let request = v1::ExplainRequest { run_id: run_id.to_owned(), task: task.unwrap_or_default().to_owned() };
        self.call("explain", request, |mut c, r| async move { c.explain(r).await }).await
    }

    /// Every worker.
    pub async fn workers(&self) -> Result<v1::ListWorkersResponse, Error> {
        self.call("workers", v1::ListWorkersRequest {}, |mut c, r| async move { c.list_workers(r).await }).await
    }

    /// Who leads, and how the coordinator that answers stands.
    pub async fn cluster(&self) -> Result<v1::GetClusterResponse, Error> {
        self.call("cluster", v1::GetClusterRequest {}, |mut c, r| async move { c.get_cluster(r).await }).await
    }

    /// The log of an attempt, in pieces as they come.
    pub async fn logs(&self, request: v1::ReadLogsRequest) -> Result<tonic::Streaming<v1::ReadLogsResponse>, Error> {
        self.call("logs", request, |mut c, r| async move { c.read_logs(r).await }).await
    }
}
