//! Reading an attempt's log from the log store. The path is built from parsed ids, so no request can name another file.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use penstock_common::record::RunRecord;
use penstock_common::{RunId, State, TaskId, TaskKey, paths};
use penstock_proto::v1;
use penstock_scheduler::Scheduler;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::control::{Control, Streamed};
use super::status;

const CHUNK: usize = 64 * 1024;

impl Control {
    /// What there is to read of a task.
    async fn sought(&self, run: &RunId, task: &TaskKey) -> Result<Sought, Status> {
        let (id, name) = (run.clone(), task.clone());
        let live = self
            .handle
            .read(move |scheduler, _| {
                let record = scheduler.run(&id)?;
                Some((scheduler.task(&id, &name), kind(scheduler, record, &name.task)))
            })
            .await?;
        let (record, kind) = match live {
            Some(found) => found,
            None => {
                let record = self.archived(run).await?.ok_or_else(|| Status::not_found(format!("there is no run {run}")))?;
                let (head, name) = (record.clone(), task.task.clone());
                let kind = self.handle.read(move |scheduler, _| kind(scheduler, &head, &name)).await?;
                let mut from = 0;
                let found = loop {
                    let tasks = self.history.tasks(record.no, from, 1_000).await.map_err(|e| status::store(&e))?;
                    let found = tasks.iter().find(|t| is_called(t, task)).cloned();
                    match (found, tasks.last()) {
                        (None, Some(last)) => from = last.index + 1,
                        (found, _) => break found,
                    }
                };
                (found, kind)
            }
        };
        let record = record.ok_or_else(|| Status::not_found(format!("run {run} has no task {task}")))?;
        let ended = record.state.is_terminal() && !record.attempts.iter().any(|a| a.state == State::Running);
        if record.mapped.is_some_and(|mapped| mapped.count > 0) {
            return Err(Status::invalid_argument(format!("task {task} is mapped and its instances have the logs: name one, as {task}[0]")));
        }
        let state = record.reason.map_or_else(|| record.state.to_string(), |reason| format!("{}({reason})", record.state));
        Ok(Sought { newest: record.attempts.last().map_or(0, |a| a.number), instance: record.instance, ended, state, kind })
    }

    pub(super) async fn logs(&self, request: v1::ReadLogsRequest) -> Result<Streamed<v1::ReadLogsResponse>, Status> {
        let run = RunId::parse(&request.run_id).map_err(|e| status::invalid(&e))?;
        let task = TaskKey::parse(&request.task).map_err(|e| status::invalid(&e))?;
        let sought = self.sought(&run, &task).await?;
        let waits = request.follow && !sought.ended;
        if (sought.newest == 0 || request.attempt > sought.newest) && !waits {
            return Err(Status::not_found(format!("task {task} of run {run} {}", sought.why_no_log(request.attempt))));
        }
        let (sender, receiver) = mpsc::channel(8);
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(status) = this.send_logs(&request, &run, &task, &sender).await {
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }

    fn no_log(&self, path: &Path) -> Status {
        let (path, node) = (path.display(), &self.node);
        Status::not_found(format!(
            "there is no log {path} on coordinator {node}: it and the worker must have the same --logs, a directory that they share"
        ))
    }

    async fn send_logs(
        &self,
        request: &v1::ReadLogsRequest,
        run: &RunId,
        task: &TaskKey,
        sender: &mpsc::Sender<Result<v1::ReadLogsResponse, Status>>,
    ) -> Result<(), Status> {
        let mut offset = request.offset;
        let mut attempt = request.attempt;
        loop {
            let sought = self.sought(run, task).await?;
            let Sought { newest, instance, ended, .. } = sought;
            if attempt == 0 {
                attempt = newest;
            }
            // Asked before the file is read: what was written before the end is read below.
            let over = ended || newest > attempt;
            if attempt > 0 {
                let log = paths::attempt_log(run, &task.task, instance, attempt);
                let path = self.logs.join(&log);
                loop {
                    let read = read_at(&self.logs, &log, offset);
                    let read = read.map_err(|e| Status::internal(format!("the log {} cannot be read: {e}", path.display())))?;
                    let Some(data) = read else {
                        if (over || !request.follow) && sought.writes_none() {
                            let why = sought.why_no_log(request.attempt);
                            return Err(Status::not_found(format!("task {task} of run {run} {why}")));
                        }
                        if over || !request.follow {
                            return Err(self.no_log(&path));
                        }
                        break;
                    };
                    if data.is_empty() {
                        break;
                    }
                    offset += data.len() as u64;
                    if sender.send(Ok(v1::ReadLogsResponse { attempt, data: data.into(), offset })).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if over && request.attempt == 0 && newest > attempt {
                (attempt, offset) = (attempt + 1, 0);
                continue;
            }
            if over || !request.follow {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }
}

/// What there is to read of a task.
struct Sought {
    /// The newest attempt; 0: none yet.
    newest: u32,
    instance: Option<u32>,
    ended: bool,
    /// With its reason.
    state: String,
    /// The type of the task, if its definition is still known.
    kind: Option<&'static str>,
}

impl Sought {
    /// Whether nothing of it runs that could write a log.
    fn writes_none(&self) -> bool {
        matches!(self.kind, Some("noop" | "approve" | "pipeline"))
    }

    /// Why there is nothing to read; 0 is the newest attempt.
    fn why_no_log(&self, attempt: u32) -> String {
        let Self { newest, state, .. } = self;
        match self.kind {
            Some("noop") => "is a noop: it runs nothing, so it has no log".to_owned(),
            Some(kind @ ("approve" | "pipeline")) => format!("is of type {kind}: nothing of it runs on a worker, so it has no log"),
            _ if *newest > 0 => format!("has no attempt {attempt}: its newest is {newest}"),
            _ if self.ended => format!("ended as {state} without an attempt, so it has no log"),
            _ => format!("is {state} and has not started: it has no log yet"),
        }
    }
}

/// The type of a task.
fn kind(scheduler: &Scheduler, run: &RunRecord, task: &TaskId) -> Option<&'static str> {
    let (_, plan) = scheduler.plan(&run.pipeline, Some(run.version))?;
    Some(plan.task(plan.find(task)?).spec.action.kind())
}

/// By its own name, or by its number.
fn is_called(record: &penstock_common::record::TaskRecord, wanted: &TaskKey) -> bool {
    let number = matches!(wanted.index, Some(penstock_common::Index::Number(n)) if record.instance == Some(n));
    record.id == *wanted || (record.id.task == wanted.task && number)
}

/// Some bytes from an offset on; `None` where there is no file. No symlink is followed: a program may have put one there.
fn read_at(root: &Path, log: &str, offset: u64) -> std::io::Result<Option<Vec<u8>>> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
    let opened = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(|root| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat2(root, log, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    });
    let mut file = match opened {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut data)?;
    Ok(Some(data))
}
