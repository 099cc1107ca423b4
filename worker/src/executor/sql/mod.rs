//! `sql`: statements on a named connection of the worker's configuration, one after another.
//!
//! | | |
//! | --- | --- |
//! | metrics | `records_out`: rows that INSERT, UPDATE, DELETE, MERGE and the like affected, over all statements; absent where none is |
//! | outputs | with `keep_row`, the columns of the last statement's first row; none where it gives no row |
//! | FAILED(exit_code) | the database refused a statement: the detail names connection, statement, message and place |
//! | FAILED(spawn) | an unknown connection, a missing secret, a database that cannot be connected to |
//! | FAILED(template) | a value that cannot be rendered or bound, a column that cannot be an output, a statement that would end the transaction |
//! | FAILED(output_too_large) | over 64 KiB of outputs |
//! | FAILED(timeout), CANCELLED | the statement is cancelled on the server |
//!
//! The text of a statement is never a template: values reach it as bound values only. With `transaction`, which is one
//! transaction, a failure leaves nothing behind; without, what went before it stays. So that this holds,
//!
//! - a statement that begins or ends a transaction by its first word is refused before anything is executed, and after each
//!   statement the database is asked whether the transaction is still the one that was begun;
//! - whether the attempt is to stop is looked at directly before each statement and before COMMIT, so that an attempt that was
//!   revoked commits nothing, whatever a cancelled statement did.

mod postgres;
mod sqlite;
mod value;

use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Sql;
use penstock_common::sql::{control, first_word};
use penstock_common::{Reason, ids};
use serde_json::Value;

use super::{Done, Executor};
use crate::attempt::connections::Kind;
use crate::attempt::job::Job;
use crate::attempt::judge::{Cause, Verdict};
use crate::attempt::output;

/// Statements that are a task.
pub(super) struct Script<'a>(pub(super) &'a Sql);

/// A statement with its values.
struct Rendered {
    text: String,
    bind: Vec<Value>,
}

/// What is asked of a database.
struct Batch {
    connection: String,
    statements: Vec<Rendered>,
    transaction: bool,
    /// Whether the first row of the last statement is wanted.
    want_row: bool,
}

/// What a statement did, or several.
#[derive(Default)]
pub(super) struct Ran {
    /// Rows affected; `None`: by their nature they affect none.
    records: Option<u64>,
    /// Of the last statement's first row, by column.
    pub(super) row: Option<Vec<(String, Cell)>>,
}

impl Ran {
    /// After this, another statement did that.
    fn then(self, next: Self) -> Self {
        let records = match (self.records, next.records) {
            (Some(before), Some(now)) => Some(before + now),
            (before, now) => before.or(now),
        };
        Self { records, row: next.row }
    }

    /// For the log.
    fn told(&self, batch: &Batch, number: usize, text: &str) -> String {
        let rows = self.records.map_or_else(String::new, |rows| format!(" ({rows} rows)"));
        format!("{}, statement {number}{rows}: {}", batch.connection, shown(text))
    }
}

/// A value as JSON, or why it has no form in it.
pub(super) type Cell = Result<Value, String>;

/// What went wrong, by whose fault.
enum Fault {
    /// The database could not be reached, or let nobody in.
    Connect(String),
    /// A statement, counted from 1, was refused or broke off.
    Statement(usize, String),
    /// The connection broke while the transaction was committed.
    Unknown(String),
    /// A statement's values or columns are not what they must be: it will be so again.
    Document(usize, String),
    /// A statement began or ended a transaction where it must not, which leaves what the text says.
    Transaction(usize, String),
    /// It found that the attempt is to stop, and did nothing further.
    Stopped,
}

/// Why there is no [`Ran`].
pub(super) enum Failed {
    /// The attempt was to stop.
    Stopped(Cause),
    /// This is how it ends.
    Verdict(Verdict),
}

impl Executor for Script<'_> {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let ran = self.run(job, self.0.keep_row).await.map_err(|failed| match failed {
            Failed::Stopped(cause) => cause.verdict(),
            Failed::Verdict(verdict) => verdict,
        })?;
        let mut metrics = Metrics::default();
        if let Some(records) = ran.records {
            metrics.0.insert(Metrics::RECORDS_OUT.to_owned(), records as f64);
        }
        if self.0.keep_row && ran.row.is_none() {
            job.log.notice("the last statement gave no row, so there are no outputs");
        }
        let outputs = outputs(ran.row.unwrap_or_default()).map_err(|why| {
            let why = format!("connection {}, statement {}: {why}", self.0.connection, self.0.statements.len());
            Verdict::failed(Reason::Template, &why)
        })?;
        output::check(&outputs)?;
        Ok(Done::Ended { verdict: Verdict::success(), metrics, outputs, items: None })
    }
}

impl Script<'_> {
    /// Runs the statements.
    pub(super) async fn run(&self, job: &mut Job<'_>, want_row: bool) -> Result<Ran, Failed> {
        self.check_controls().map_err(|fault| Failed::Verdict(self.verdict(fault)))?;
        let batch = self.render(job, want_row).map_err(Failed::Verdict)?;
        let name = &self.0.connection;
        let spawn = |why: String| Failed::Verdict(Verdict::failed(Reason::Spawn, &why));
        let connections = job.host.connections.clone();
        let connection = connections.get(name).map_err(spawn)?;
        let url = job.configured(&format!("url of connection {name}"), &connection.url).await.map_err(Failed::Verdict)?;
        let kind = Kind::of(&url).map_err(|why| spawn(format!("connection {name}: {why}")))?;
        let password = match &connection.password {
            Some(password) => Some(job.configured(&format!("password of connection {name}"), password).await.map_err(Failed::Verdict)?),
            None => None,
        };
        job.started_at = (job.host.clock)();
        let ran = match kind {
            Kind::Postgres => postgres::run(job, &url, password, batch).await,
            Kind::Sqlite => sqlite::run(job, &url, batch).await,
        };
        match ran? {
            Ok(ran) => Ok(ran),
            Err(Fault::Stopped) => Err(Failed::Stopped(job.halt.next().await)),
            Err(fault) => Err(Failed::Verdict(self.verdict(fault))),
        }
    }

    /// Refuses statements that would end the transaction; a document that is checked has none.
    fn check_controls(&self) -> Result<(), Fault> {
        let found = (1..).zip(&self.0.statements).find_map(|(number, statement)| Some((number, control(&statement.text)?)));
        let Some((number, found)) = found.filter(|_| self.0.transaction) else { return Ok(()) };
        let why = format!(
            "line {} has {}, and the statements are one transaction: remove it, or say `transaction: false`, or make it tasks of their \
             own. Nothing was executed",
            found.line, found.words
        );
        Err(Fault::Transaction(number, why))
    }

    fn render(&self, job: &Job<'_>, want_row: bool) -> Result<Batch, Verdict> {
        let Sql { connection, statements, transaction, .. } = self.0;
        let statement = |(i, statement): (usize, &penstock_common::pipeline::Statement)| {
            let bind = |(k, value)| job.templates.json(&format!("sql.statements[{i}].bind[{k}]"), value);
            Ok(Rendered { text: statement.text.clone(), bind: statement.bind.iter().enumerate().map(bind).collect::<Result<_, String>>()? })
        };
        let statements: Result<_, String> = statements.iter().enumerate().map(statement).collect();
        let statements = statements.map_err(|why| Verdict::failed(Reason::Template, &why))?;
        Ok(Batch { connection: connection.clone(), statements, transaction: *transaction, want_row })
    }

    fn verdict(&self, fault: Fault) -> Verdict {
        let Sql { connection, statements, transaction, .. } = self.0;
        let (reason, number, why) = match fault {
            Fault::Connect(why) => return Verdict::failed(Reason::Spawn, &format!("connection {connection}: {why}")),
            Fault::Unknown(why) => {
                let why = format!(
                    "connection {connection}: {why} while the transaction was committed: it may be done or not, and another attempt does it \
                     again"
                );
                return Verdict::failed(Reason::ExitCode, &why);
            }
            Fault::Transaction(number, why) => {
                return Verdict::failed(Reason::Template, &format!("connection {connection}, statement {number}: {why}"));
            }
            Fault::Stopped => return Cause::Revoked.verdict(), // who found it asked why
            Fault::Statement(number, why) => (Reason::ExitCode, number, why),
            Fault::Document(number, why) => (Reason::Template, number, why),
        };
        let controlled = statements.iter().take(number).any(|statement| control(&statement.text).is_some());
        let left = match (number, transaction) {
            (1, _) => String::new(),
            (_, true) => ". The transaction was rolled back".to_owned(),
            (_, false) if controlled => ". Of what went before, what was committed stays done".to_owned(),
            (2, false) => ". Statement 1 stays done".to_owned(),
            (_, false) => format!(". Statements 1 to {} stay done", number - 1),
        };
        Verdict::failed(reason, &format!("connection {connection}, statement {number}: {why}{left}"))
    }
}

fn outputs(row: Vec<(String, Cell)>) -> Result<Outputs, String> {
    let mut outputs = Outputs::default();
    for (column, value) in row {
        if !ids::is_identifier(&column) {
            return Err(format!(
                "the column {column:?} cannot be an output: name it (`AS name`) with a lower-case letter, then at most 62 of a-z, 0-9 and _"
            ));
        }
        let value = value.map_err(|why| format!("the column {column} cannot be an output: {why}"))?;
        if outputs.0.insert(column.clone(), value.to_string()).is_some() {
            return Err(format!("two columns are named {column}: give one another name (`AS name`)"));
        }
    }
    Ok(outputs)
}

/// Whether the values are as many as the statement takes.
fn check_count(given: usize, taken: usize) -> Result<(), String> {
    if given == taken {
        return Ok(());
    }
    Err(format!("it takes {taken} values ($1, $2, …) and `bind` has {given}"))
}

/// What a statement affected, from what the database counts. A SELECT counts rows that it only read.
fn affected(text: &str, has_columns: bool, count: u64) -> Option<u64> {
    let affects = is_change(text);
    if has_columns { affects.then_some(count) } else { (affects || count > 0).then_some(count) }
}

/// Whether its first word is one that changes rows.
fn is_change(text: &str) -> bool {
    ["insert", "update", "delete", "merge", "replace"].contains(&first_word(text).as_str())
}

/// A statement ended the transaction although nothing in its text says so.
fn broke(number: usize) -> Fault {
    let why = "after it, the transaction that the statements are was not open any more: what they did up to here may be committed or not. Say \
               `transaction: false`, or make it a task of its own";
    Fault::Transaction(number, why.to_owned())
}

/// Without `transaction`, the statements opened one of their own and left it open.
fn left_open(last: usize) -> Fault {
    let why = "a transaction that the statements began was still open after the last one, and is rolled back: end it with COMMIT, or leave \
               `transaction` at true and BEGIN away";
    Fault::Transaction(last, why.to_owned())
}

/// The beginning of a statement, for the log.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(120).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

/// Line and column, from 1 on, of a place given in characters from 1 on.
fn place(text: &str, position: usize) -> String {
    let before: String = text.chars().take(position.saturating_sub(1)).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_records() {
        for change in ["insert into a values (1)", "  -- why\n/* how */ UPDATE a set b = 1", "Delete from a", "replace into a values (1)"] {
            assert!(is_change(change), "{change}");
        }
        for read in
            ["select 'insert'", "-- insert\nselect 1", "/* insert", "", "with x as (delete from a returning *) select * from x", "inserted"]
        {
            assert!(!is_change(read), "{read}");
        }
        assert_eq!(affected("insert into a values (1) returning id", true, 1), Some(1));
        assert_eq!(affected("select 1", true, 1), None);
        assert_eq!(affected("create table b as select 1", false, 1), Some(1));
        assert_eq!(affected("create table b (a int)", false, 0), None);
        assert_eq!(affected("delete from a", false, 0), Some(0));
    }

    #[test]
    fn a_place_is_told_by_line_and_column() {
        assert_eq!(place("select *\nfrom é nope", 17), "line 2, column 8");
        assert_eq!(place("x", 1), "line 1, column 1");
    }

    #[test]
    fn a_row_becomes_outputs_by_names_that_can_be_keys() {
        let row = |names: &[&str]| outputs(names.iter().map(|name| ((*name).to_owned(), Ok(Value::from(1)))).collect());
        assert_eq!(row(&["a", "b_1"]).unwrap().0.len(), 2);
        assert!(row(&["count(*)"]).unwrap_err().contains("AS name"));
        assert!(row(&["a", "a"]).unwrap_err().contains("two columns"));
        assert!(outputs(vec![("a".into(), Err("it is of type bytea".into()))]).unwrap_err().contains("bytea"));
    }
}
