//! Statements on a PostgreSQL server, over a connection of their own. A stop asks the server to cancel the statement that runs, and
//! closes the connection: what was not committed by then never is.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use penstock_common::sql::{control, first_word};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{ErrorPosition, Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config, Error, SimpleQueryMessage};

use super::value::{Bound, Read};
use super::{Batch, Failed, Fault, Ran, Rendered, affected, broke, check_count, left_open, place};
use crate::attempt::halt::Signal;
use crate::attempt::job::Job;
use crate::attempt::judge::{Cause, Verdict};
use crate::executor::chain;
use crate::executor::tls::{self, ForPostgres};

/// For a server to answer, unless the URL says it.
const CONNECT_FOR: Duration = Duration::from_secs(10);
/// A cancel may come between two statements and reach nothing: it is said so often, and so long waited for after each.
const CANCELS: usize = 5;
const CANCEL_FOR: Duration = Duration::from_secs(1);
/// The wait where the attempt's lease does not hold any more.
const CANCEL_REVOKED_FOR: Duration = Duration::from_millis(200);
/// For the network to take what was sent, unless the URL says it: a COMMIT that it does not take is not delivered later.
const SEND_FOR: Duration = Duration::from_secs(10);
/// When the transaction began, as a text that no setting of the session changes: another transaction has another.
const BEGUN_AT: &str = "SELECT pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.transaction_timestamp()), 'YYYYMMDDHH24MISSUS')";

/// The task that moves the connection's bytes, which ends with this.
struct Moving(AbortHandle);

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn run(job: &mut Job<'_>, url: &str, password: Option<String>, batch: Batch) -> Result<Result<Ran, Fault>, Failed> {
    let config = match config(url, password) {
        Ok(config) => config,
        Err(why) => return Ok(Err(Fault::Connect(why))),
    };
    if let Some(password) = config.get_password() {
        job.mask(&format!("password of connection {}", batch.connection), &String::from_utf8_lossy(password));
    }
    let tls = match config.get_ssl_mode() {
        SslMode::Disable => None,
        _ => match tls::config().await {
            Ok(tls) => Some(tls),
            Err(why) => return Ok(Err(Fault::Connect(why))),
        },
    };
    let tls = ForPostgres(tls);
    let connected = tokio::select! {
        connected = config.connect(tls.clone()) => connected,
        cause = job.halt.next() => return Err(Failed::Stopped(cause)),
    };
    let (client, mut connection) = match connected {
        Ok(connected) => connected,
        Err(error) => return Ok(Err(Fault::Connect(unreachable(&config, &error)))),
    };
    let (notices, mut heard) = mpsc::channel(64);
    let said = notices.clone();
    let moving = async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                let _ = notices.try_send(format!("{}: {}", notice.severity(), notice.message())); // a flood of them is cut
            }
        }
    };
    let _moving = Moving(spawn(moving).abort_handle());

    let session = Session { client: &client, batch: &batch, signal: job.halt.signal(), said, is_committing: AtomicBool::new(false) };
    let mut work = pin!(session.run());
    let mut cause = loop {
        tokio::select! {
            biased;
            done = &mut work => {
                while let Ok(line) = heard.try_recv() {
                    job.log.notice(&line);
                }
                return Ok(done);
            }
            Some(line) = heard.recv() => job.log.notice(&line),
            cause = job.halt.next() => break cause,
        }
    };
    let cancel = client.cancel_token();
    for _ in 0..CANCELS {
        let asked = timeout(CANCEL_FOR, cancel.cancel_query(tls.clone())).await; // the next one may reach the server
        let is_revoked = cause == Cause::Revoked;
        tokio::select! {
            done = timeout(if is_revoked { CANCEL_REVOKED_FOR } else { CANCEL_FOR }, &mut work) => match done {
                // What was done before the server heard of it is done.
                Ok(Ok(ran)) => return Ok(Ok(ran)),
                Ok(Err(Fault::Unknown(_))) => break,
                Ok(Err(_)) => return Err(Failed::Stopped(cause)),
                Err(_) => {}
            },
            worse = job.halt.next() => cause = worse,
        }
        if is_revoked && !matches!(asked, Ok(Ok(()))) {
            break; // nobody is there to be asked
        }
    }
    // Whatever still runs, runs on a connection that is closed now: the server rolls it back.
    if session.is_committing.load(Ordering::Relaxed) {
        let detail = format!(
            "stopped while the transaction on connection {} was committed, and the server did not say whether it was: it may be done or not",
            batch.connection
        );
        return Err(Failed::Verdict(Verdict { detail, ..cause.verdict() }));
    }
    Err(Failed::Stopped(cause))
}

/// An error never shows the URL, nor what the parser says of it: a password with special characters may be read as another part.
fn config(url: &str, password: Option<String>) -> Result<Config, String> {
    // Certificates are always verified.
    let url = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    let unreadable = "its URL cannot be read: expected is postgres://user@host:5432/database?sslmode=require, in which special characters of \
                      user and password are percent-encoded";
    let mut config: Config = url.parse().map_err(|_| unreadable.to_owned())?;
    // The end of a password with an @ in it.
    let is_name = |host: &Host| match host {
        Host::Tcp(name) => name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':')),
        Host::Unix(_) => true,
    };
    if !config.get_hosts().iter().all(is_name) {
        return Err(unreadable.to_owned());
    }
    if let Some(password) = password {
        config.password(password);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_FOR);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SEND_FOR);
    }
    if config.get_application_name().is_none() {
        config.application_name("penstock");
    }
    Ok(config)
}

fn unreachable(config: &Config, error: &Error) -> String {
    let name = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(name).collect();
    let mut why = chain(error);
    if why.contains("certificate") {
        why.push_str(": name its authority in SSL_CERT_FILE, or say sslmode=disable in the URL where the network is trusted");
    }
    format!("cannot connect to PostgreSQL at {}: {why}", hosts.join(", "))
}

/// The statements on their connection. Being told to stop, it begins nothing further: neither a statement nor the COMMIT.
struct Session<'a> {
    client: &'a Client,
    batch: &'a Batch,
    signal: Signal,
    said: mpsc::Sender<String>,
    /// COMMIT was sent.
    is_committing: AtomicBool,
}

impl Session<'_> {
    async fn run(&self) -> Result<Ran, Fault> {
        let Self { client, batch, .. } = self;
        let last = batch.statements.len();
        let mut begun_at = None;
        if batch.transaction {
            client.batch_execute("BEGIN").await.map_err(|error| Fault::Statement(1, explain(&error, "")))?;
        }
        let mut ran = Ran::default();
        for (number, rendered) in (1..).zip(&batch.statements) {
            self.go_on()?;
            let did = self.statement(number, rendered, number == last && batch.want_row).await?;
            // A query here would be before SET TRANSACTION, which it must not. One statement has nothing to be parted from.
            if batch.transaction && last > 1 && first_word(&rendered.text) != "set" {
                let now = self.begun_at(number).await?;
                if begun_at.get_or_insert_with(|| now.clone()) != &now {
                    return Err(broke(number));
                }
            }
            let _ = self.said.try_send(did.told(batch, number, &rendered.text)); // behind a flood of notices it is cut too
            ran = ran.then(did);
        }
        if batch.transaction {
            self.go_on()?;
            self.is_committing.store(true, Ordering::Relaxed);
            // A deferred constraint is checked here.
            client.batch_execute("COMMIT").await.map_err(|error| match error.as_db_error() {
                // A server that goes down may say so after it committed.
                Some(said) if said.parsed_severity() == Some(Severity::Error) => Fault::Statement(last, explain(&error, "")),
                _ => Fault::Unknown(explain(&error, "")),
            })?;
        } else if self.is_left_open(last).await? {
            return Err(left_open(last));
        }
        Ok(ran)
    }

    async fn statement(&self, number: usize, rendered: &Rendered, want_row: bool) -> Result<Ran, Fault> {
        let text = &rendered.text;
        // The server speaks of COPY's data, which the client knows nothing of here.
        let is_copy = |error: &Error| first_word(text) == "copy" && !error.is_closed() && std::error::Error::source(error).is_none();
        let refused = |error: Error| match is_copy(&error) {
            true => {
                let why = "COPY FROM STDIN and TO STDOUT need a client with the data: use a program, as `run: [psql, …]`, or a file of the server";
                Fault::Document(number, why.to_owned())
            }
            false => Fault::Statement(number, explain(&error, text)),
        };
        let prepared = self.client.prepare(text).await.map_err(refused)?;
        check_count(rendered.bind.len(), prepared.params().len()).map_err(|why| Fault::Document(number, why))?;
        let has_columns = !prepared.columns().is_empty();
        if want_row && !has_columns {
            return Err(Fault::Document(
                number,
                "it gives no row, and its first row is wanted: end with a SELECT, or with RETURNING".to_owned(),
            ));
        }
        self.go_on()?; // a cancel while it was prepared stopped nothing
        let rows = self.client.query_raw(&prepared, rendered.bind.iter().map(Bound)).await.map_err(refused)?;
        let mut rows = pin!(rows);
        let mut first = None;
        while let Some(row) = rows.try_next().await.map_err(refused)? {
            if want_row && first.is_none() {
                let cell = |(i, column): (usize, &tokio_postgres::Column)| Ok((column.name().to_owned(), row.try_get::<_, Read>(i)?.0));
                first = Some(row.columns().iter().enumerate().map(cell).collect::<Result<_, Error>>().map_err(refused)?);
            }
        }
        Ok(Ran { records: affected(text, has_columns, rows.rows_affected().unwrap_or(0)), row: first })
    }

    fn go_on(&self) -> Result<(), Fault> {
        if self.signal.says_stop() { Err(Fault::Stopped) } else { Ok(()) }
    }

    /// When the present transaction began.
    async fn begun_at(&self, number: usize) -> Result<Option<String>, Fault> {
        let rows = self.client.simple_query(BEGUN_AT).await.map_err(|error| Fault::Statement(number, explain(&error, "")))?;
        let text = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(rows.iter().find_map(text))
    }

    /// Whether statements without a transaction of ours began one and did not end it.
    async fn is_left_open(&self, last: usize) -> Result<bool, Fault> {
        if self.batch.statements.iter().all(|statement| control(&statement.text).is_none()) {
            return Ok(false);
        }
        match self.client.batch_execute("SAVEPOINT penstock").await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => Ok(false),
            Err(error) => Err(Fault::Statement(last, explain(&error, ""))),
        }
    }
}

fn explain(error: &Error, text: &str) -> String {
    let Some(said) = error.as_db_error() else { return chain(error) };
    let mut why = format!("{}: {} ({})", said.severity(), said.message(), said.code().code());
    if let Some(ErrorPosition::Original(position)) = said.position() {
        why.push_str(&format!(", at {}", place(text, *position as usize)));
    }
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        why.push_str(&format!(". {more}"));
    }
    why
}
