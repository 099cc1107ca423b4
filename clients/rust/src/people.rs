//! What people do to runs, pipelines, pools and workers. Every call says who asks, as this client claims, and may be repeated.

use penstock_proto::v1;

use crate::{Client, Error, mint};

impl Client {
    /// Stops a run; `now`: its teardowns too. Cancelling what has ended changes nothing.
    pub async fn cancel(&self, run_id: &str, now: bool, note: &str) -> Result<v1::CancelRunResponse, Error> {
        let request = v1::CancelRunRequest { run_id: run_id.to_owned(), by: self.by().to_owned(), note: note.to_owned(), now };
        self.call("cancel", request, |mut c, r| async move { c.cancel_run(r).await }).await
    }

    /// A new generation of the tasks that are named as `t`, `+t`, `t+` or `+t+`; of none: of what did not succeed, and of all below it.
    pub async fn rerun(&self, run_id: &str, tasks: Vec<String>, note: &str) -> Result<v1::RerunRunResponse, Error> {
        let (run_id, by, note) = (run_id.to_owned(), self.by().to_owned(), note.to_owned());
        let request = v1::RerunRunRequest { run_id, request_id: mint(), by, note, tasks };
        self.call("rerun", request, |mut c, r| async move { c.rerun_run(r).await }).await
    }

    /// Says how tasks ended: SUCCESS, FAILED or SKIPPED.
    pub async fn mark(&self, run_id: &str, tasks: Vec<String>, state: v1::State, note: &str) -> Result<v1::MarkTasksResponse, Error> {
        let (run_id, by, note) = (run_id.to_owned(), self.by().to_owned(), note.to_owned());
        let request = v1::MarkTasksRequest { run_id, tasks, state: state.into(), request_id: mint(), by, note };
        self.call("mark", request, |mut c, r| async move { c.mark_tasks(r).await }).await
    }

    /// Yes or no to an `approve` task that waits, or to a held one.
    pub async fn decide(&self, run_id: &str, task: &str, approve: bool, note: &str) -> Result<v1::DecideResponse, Error> {
        let (run_id, task) = (run_id.to_owned(), task.to_owned());
        let request = v1::DecideRequest { run_id, task, approve, by: self.by().to_owned(), note: note.to_owned() };
        self.call("decide", request, |mut c, r| async move { c.decide(r).await }).await
    }

    /// Starts nothing of a run, or does again.
    pub async fn pause_run(&self, run_id: &str, resume: bool, note: &str) -> Result<v1::PauseRunResponse, Error> {
        let request = v1::PauseRunRequest { run_id: run_id.to_owned(), resume, by: self.by().to_owned(), note: note.to_owned() };
        self.call("pause", request, |mut c, r| async move { c.pause_run(r).await }).await
    }

    /// Starts nothing of a pipeline, or does again.
    pub async fn pause_pipeline(&self, pipeline: &str, resume: bool, note: &str) -> Result<v1::PausePipelineResponse, Error> {
        let (pipeline, by) = (pipeline.to_owned(), self.by().to_owned());
        let request = v1::PausePipelineRequest { pipeline, resume, by, note: note.to_owned() };
        self.call("pause", request, |mut c, r| async move { c.pause_pipeline(r).await }).await
    }

    /// Takes no new run of a pipeline until it is registered again.
    pub async fn unregister(&self, pipeline: &str, note: &str) -> Result<v1::UnregisterResponse, Error> {
        let request = v1::UnregisterRequest { pipeline: pipeline.to_owned(), by: self.by().to_owned(), note: note.to_owned() };
        self.call("unregister", request, |mut c, r| async move { c.unregister(r).await }).await
    }

    /// Every pool, with who holds its slots.
    pub async fn pools(&self) -> Result<v1::ListPoolsResponse, Error> {
        self.call("pools", v1::ListPoolsRequest {}, |mut c, r| async move { c.list_pools(r).await }).await
    }

    /// Gives a pool so many slots; `None` removes it, `u32::MAX` is no limit.
    pub async fn set_pool(&self, name: &str, slots: Option<u32>, note: &str) -> Result<v1::SetPoolResponse, Error> {
        let request = v1::SetPoolRequest { name: name.to_owned(), slots, by: self.by().to_owned(), note: note.to_owned() };
        self.call("pools", request, |mut c, r| async move { c.set_pool(r).await }).await
    }

    /// Leases nothing more to a worker, or undoes that.
    pub async fn drain(&self, worker: &str, undo: bool) -> Result<v1::DrainWorkerResponse, Error> {
        let request = v1::DrainWorkerRequest { worker: worker.to_owned(), undo, by: self.by().to_owned() };
        self.call("drain", request, |mut c, r| async move { c.drain_worker(r).await }).await
    }
}
