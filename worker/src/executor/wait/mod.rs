//! `wait`: a sensor. One lease is one probe; between probes the task holds no slot and no pool.
//!
//! | | |
//! | --- | --- |
//! | SUCCESS | it is so. Outputs: `path` of a file; `status`, and `body` with `keep_body`, of a request; none else |
//! | Waiting | not yet: the detail says what was seen, and the next probe is in `every`, or at the very time that is waited for |
//! | FAILED(timeout) | not so when `timeout` has passed since the first probe; SKIPPED(task) with `skip_on_timeout` |
//! | FAILED(spawn), FAILED(exit_code) | what will not come true by waiting: an unknown connection, SQL that is refused, an address that is not allowed |
//! | FAILED(template) | what the templates give is no path, URL, time or value |
//!
//! A request that fails, or is answered with another status, is a "not yet": the server may be what is waited for. All probes of an
//! attempt write into one log.

mod file;
mod time;

use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{Http, Sql, Until, Wait};
use penstock_common::{Reason, Timestamp};
use serde_json::Value;

use super::http::{Request, Unanswered};
use super::sql::{Failed, Script};
use super::{Done, Executor};
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// A sensor that is a task.
pub(super) struct Sensor<'a>(pub(super) &'a Wait);

/// What a probe saw.
enum Seen {
    /// It is so, and this is known of it.
    So(Outputs),
    /// It is not, but may be: what there is instead, and when it will be so if that is known.
    NotYet(String, Option<Timestamp>),
}

impl Executor for Sensor<'_> {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        job.started_at = (job.host.clock)();
        let seen = match &self.0.until {
            Until::File { path, settle } => file::probe(job, path, *settle).await?,
            Until::Http(http) => request(job, http).await?,
            Until::Sql(sql) => query(job, sql).await?,
            Until::Time(time) => time::probe(job, time)?,
        };
        match seen {
            Seen::So(outputs) => {
                job.log.notice("it is so");
                Ok(Done::Ended { verdict: Verdict::success(), metrics: Metrics::default(), outputs, items: None })
            }
            Seen::NotYet(what, known) => self.not_yet(job, what, known),
        }
    }
}

impl Sensor<'_> {
    fn not_yet(&self, job: &mut Job<'_>, what: String, known: Option<Timestamp>) -> Result<Done, Verdict> {
        let now = (job.host.clock)();
        let next = known.unwrap_or_else(|| now.after(self.0.every));
        let Some(timeout) = self.0.timeout else {
            job.log.notice(&format!("not yet: {what}"));
            return Ok(Done::Waiting { until: next, detail: what });
        };
        let end = job.lease.first_leased_at.after(timeout);
        if now < end {
            job.log.notice(&format!("not yet: {what}"));
            return Ok(Done::Waiting { until: next.min(end), detail: what });
        }
        let what = format!("not so after {timeout} of waiting: {what}");
        if self.0.skip_on_timeout {
            job.log.notice(&what);
            return Ok(Verdict::skipped(&what).into());
        }
        Err(Verdict::failed(Reason::Timeout, &what))
    }
}

async fn request(job: &mut Job<'_>, http: &Http) -> Result<Seen, Verdict> {
    let request = Request(http);
    match request.answer(job, Some(super::http::PROBE_FOR)).await? {
        Ok(answer) => Ok(Seen::So(request.outputs(&answer, job)?)),
        Err(Unanswered::Failed(why)) => Ok(Seen::NotYet(why, None)),
        Err(Unanswered::Refused(verdict)) => Err(verdict),
    }
}

async fn query(job: &mut Job<'_>, sql: &Sql) -> Result<Seen, Verdict> {
    let ran = Script(sql).run(job, true).await.map_err(|failed| match failed {
        Failed::Stopped(cause) => cause.verdict(),
        Failed::Verdict(verdict) => verdict,
    })?;
    let first = ran.row.and_then(|row| row.into_iter().next());
    Ok(match first {
        None => Seen::NotYet("the query gives no row".to_owned(), None),
        // What has no form in JSON is neither NULL, false nor 0.
        Some((_, Err(_))) => Seen::So(Outputs::default()),
        Some((column, Ok(value))) if is_nothing(&value) => Seen::NotYet(format!("the first column of the row, {column}, is {value}"), None),
        Some(_) => Seen::So(Outputs::default()),
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
