//! Statements on a SQLite file, on a thread of their own. A stop interrupts the statement that runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use penstock_common::sql::first_word;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Connection, Error, OpenFlags, Statement};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Batch, Cell, Failed, Fault, Ran, Rendered, affected, broke, check_count, left_open, place};
use crate::attempt::halt::Signal;
use crate::attempt::job::Job;

/// How long another writer is waited for.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// How often it is asked whether it is done.
const BUSY_LOOK: Duration = Duration::from_millis(10);
/// Steps of SQLite's machine between two looks at whether to stop: some microseconds.
const STEPS_PER_LOOK: i32 = 1_000;

/// Whether the thread is to stop, which also ends its waiting.
#[derive(Default)]
struct Stopping {
    said: Mutex<bool>,
    changed: Condvar,
}

impl Stopping {
    fn say(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
    fn is_said(&self) -> bool {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether it was said within this time.
    fn is_said_within(&self, time: Duration) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(said, time, |said| !*said);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Tells the thread to stop, also when the future that waits for it is dropped.
struct StopOnDrop(Arc<Stopping>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.say();
    }
}

pub(super) async fn run(job: &mut Job<'_>, url: &str, batch: Batch) -> Result<Result<Ran, Fault>, Failed> {
    let path = path(&job.host.code_root, url);
    let stop = StopOnDrop(Arc::default());
    let (said, mut says) = mpsc::channel(16);
    let work = {
        let (stop, signal) = (stop.0.clone(), job.halt.signal());
        spawn_blocking(move || Session::open(&path, stop, signal).and_then(|mut session| session.run(&batch, &said)))
    };
    let mut work = std::pin::pin!(work);
    let mut cause = None;
    let done = loop {
        tokio::select! {
            biased;
            Some(line) = says.recv() => job.log.notice(&line),
            done = &mut work => break done,
            why = job.halt.next() => {
                stop.0.say();
                cause = Some(why);
            }
        }
    };
    while let Ok(line) = says.try_recv() {
        job.log.notice(&line);
    }
    let done = done.unwrap_or_else(|error| Err(Fault::Connect(format!("the worker's thread ended: {error}"))));
    match (done, cause) {
        // What was done before it heard of the stop is done.
        (Ok(ran), _) => Ok(Ok(ran)),
        (Err(_), Some(cause)) => Err(Failed::Stopped(cause)),
        (Err(fault), None) => Ok(Err(fault)),
    }
}

/// `sqlite:relative`, `sqlite:/absolute` or `sqlite:///absolute`.
fn path(code_root: &Path, url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    code_root.join(path.strip_prefix("//").unwrap_or(path))
}

/// An open file.
struct Session {
    connection: Connection,
    stop: Arc<Stopping>,
    signal: Signal,
}

impl Session {
    fn open(path: &Path, stop: Arc<Stopping>, signal: Signal) -> Result<Self, Fault> {
        let failed = |error: Error| Fault::Connect(format!("the SQLite file {} cannot be opened: {error}", path.display()));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        let look = stop.clone();
        connection.progress_handler(STEPS_PER_LOOK, Some(move || look.is_said())).map_err(failed)?;
        Ok(Self { connection, stop, signal })
    }

    /// Has other writers waited for, until the attempt is to stop. Anew for each statement: `PRAGMA busy_timeout` takes it away.
    fn be_patient(&mut self, number: usize) -> Result<(), Fault> {
        let (wait, mut until) = (self.stop.clone(), Instant::now());
        let patient = move |times| {
            if times == 0 {
                until = Instant::now() + BUSY_FOR;
            }
            Instant::now() < until && !wait.is_said_within(BUSY_LOOK)
        };
        self.connection.busy_handler(Some(patient)).map_err(|error| Fault::Statement(number, error.to_string()))
    }

    fn control(&mut self, number: usize, statement: &str) -> Result<(), Fault> {
        self.be_patient(number)?;
        self.connection.execute_batch(statement).map_err(|error| Fault::Statement(number, error.to_string()))
    }

    fn is_to_stop(&self) -> bool {
        self.stop.is_said() || self.signal.says_stop()
    }

    /// Dropped unfinished, a transaction is rolled back with its connection.
    fn run(&mut self, batch: &Batch, said: &mpsc::Sender<String>) -> Result<Ran, Fault> {
        let last = batch.statements.len();
        if batch.transaction {
            // At once for writing: a reader that wants to write later may find that it cannot.
            let only_reads = batch.statements.iter().all(|statement| first_word(&statement.text) == "select");
            self.control(1, if only_reads { "BEGIN" } else { "BEGIN IMMEDIATE" })?;
        }
        let mut ran = Ran::default();
        for (number, rendered) in (1..).zip(&batch.statements) {
            if self.is_to_stop() {
                return Err(Fault::Stopped);
            }
            self.be_patient(number)?;
            let did = self.statement(number, rendered, number == last && batch.want_row)?;
            if batch.transaction && self.connection.is_autocommit() {
                return Err(broke(number));
            }
            let _ = said.blocking_send(did.told(batch, number, &rendered.text)); // the attempt may be gone
            ran = ran.then(did);
        }
        if batch.transaction {
            if self.is_to_stop() {
                return Err(Fault::Stopped);
            }
            self.control(last, "COMMIT")?;
        } else if !self.connection.is_autocommit() {
            return Err(left_open(last));
        }
        Ok(ran)
    }

    fn statement(&self, number: usize, rendered: &Rendered, want_row: bool) -> Result<Ran, Fault> {
        let text = &rendered.text;
        let refused = |error: Error| Fault::Statement(number, explain(&error, text));
        let mut statement = self.connection.prepare(text).map_err(refused)?;
        bind(&mut statement, &rendered.bind).map_err(|why| Fault::Document(number, why))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        if want_row && names.is_empty() {
            return Err(Fault::Document(
                number,
                "it gives no row, and its first row is wanted: end with a SELECT, or with RETURNING".to_owned(),
            ));
        }
        let before = self.connection.total_changes();
        let mut first = None;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(refused)? {
            if want_row && first.is_none() {
                let cell = |(i, name): (usize, &String)| Ok((name.clone(), cell(row.get_ref(i)?)));
                first = Some(names.iter().enumerate().map(cell).collect::<Result<_, Error>>().map_err(refused)?);
            }
        }
        drop(rows);
        let changed = if self.connection.total_changes() == before { 0 } else { self.connection.changes() };
        Ok(Ran { records: affected(text, !names.is_empty(), changed), row: first })
    }
}

/// SQLite numbers `$2` by where it stands; `bind` is meant by what it says.
fn bind(statement: &mut Statement<'_>, values: &[Value]) -> Result<(), String> {
    let mut highest = 0;
    for index in 1..=statement.parameter_count() {
        let number = match statement.parameter_name(index) {
            None => index,
            Some(name) => name[1..].parse().map_err(|_| format!("its parameter {name} has a name: values go where $1, $2, … stand"))?,
        };
        highest = highest.max(number);
        let Some(value) = number.checked_sub(1).and_then(|at| values.get(at)) else { continue };
        if value.as_i64().is_none() && value.as_u64().is_some() {
            return Err(format!("${number} is {value}, and SQLite's integers go to {}: bind it as a text", i64::MAX));
        }
        statement.raw_bind_parameter(index, stored(value)).map_err(|error| error.to_string())?;
    }
    check_count(values.len(), highest)
}

fn stored(value: &Value) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match value {
        Value::Null => Stored::Null,
        Value::Bool(flag) => Stored::Integer(i64::from(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Stored::Integer(whole),
            None => Stored::Real(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Stored::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Stored::Text(value.to_string()),
    })
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(whole) => Ok(whole.into()),
        ValueRef::Real(number) => Ok(number.into()),
        ValueRef::Text(text) => Ok(String::from_utf8_lossy(text).into()),
        ValueRef::Blob(_) => Err("it is a blob: use hex(…), or store it and pass a reference".to_owned()),
    }
}

fn explain(error: &Error, text: &str) -> String {
    match error {
        Error::SqlInputError { msg, offset, .. } => match usize::try_from(*offset).ok().and_then(|at| text.get(..at)) {
            Some(before) => format!("{msg} ({})", place(text, before.chars().count() + 1)),
            None => msg.clone(),
        },
        Error::MultipleStatement => "there are several statements in one text: write each as a statement of its own".to_owned(),
        Error::Empty => "there is no statement in it".to_owned(),
        error => error.to_string(),
    }
}
