//! `http`: one request.
//!
//! | | |
//! | --- | --- |
//! | metrics | `bytes`: of the answer's body |
//! | outputs | `status`; `body`, unless `keep_body` is false: its JSON where it is JSON, else text |
//! | SUCCESS | the status is one of `success`; redirects are followed unless their status is |
//! | FAILED(exit_code) | any other status, or no answer; the detail shows which, with the first bytes of the body |
//! | FAILED(spawn) | an address that this worker does not connect to, a secret that is missing |
//! | FAILED(template) | what the templates give is no URL or no header |
//! | FAILED(output_too_large) | over 64 KiB of outputs |
//! | FAILED(timeout), CANCELLED | the connection is closed at once |
//!
//! `Idempotency-Key` is the same on every attempt of a generation, and `traceparent` continues the run's trace; a header of the
//! document's takes their place. A secret's header is not sent on to another origin.

mod address;
mod exchange;
mod target;

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{Body, Http, Setting};
use penstock_common::{Reason, json};
use serde_json::Value;
use tokio::time::Instant;

use self::exchange::{Answer, Failure, Message};
use super::{Done, Executor};
use crate::attempt::halt::at;
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;
use crate::attempt::log::clean;
use crate::attempt::output;

/// What is kept of a body that becomes an output: more than an output may have, since JSON may be shorter without its spaces.
const KEPT_BYTES: usize = 1024 * 1024;
/// What is kept of another, to show in a failure.
const SHOWN_BYTES: usize = 4 * 1024;
/// What of it is shown.
const MAX_SHOWN_CHARS: usize = 600;
/// How long a sensor's request may take: it holds a slot meanwhile.
pub(super) const PROBE_FOR: Duration = Duration::from_secs(60);
/// Headers that say how the message is sent: they are the connection's.
const OF_CONNECTION: [&str; 6] = ["connection", "content-length", "te", "trailer", "transfer-encoding", "upgrade"];

/// A request that is a task.
pub(super) struct Request<'a>(pub(super) &'a Http);

/// Why a request did not succeed.
pub(super) enum Unanswered {
    /// Trying again changes nothing, but for the configuration of the worker or the document.
    Refused(Verdict),
    /// Another time it may be answered, or otherwise.
    Failed(String),
}

impl Executor for Request<'_> {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let answer = self.answer(job, None).await?.map_err(|unanswered| match unanswered {
            Unanswered::Refused(verdict) => verdict,
            Unanswered::Failed(why) => Verdict::failed(Reason::ExitCode, &why),
        })?;
        let outputs = self.outputs(&answer, job)?;
        let metrics = Metrics([("bytes".to_owned(), answer.bytes as f64)].into());
        Ok(Done::Ended { verdict: Verdict::success(), metrics, outputs, items: None })
    }
}

impl Request<'_> {
    /// What of an answer goes downstream.
    pub(super) fn outputs(&self, answer: &Answer, job: &mut Job<'_>) -> Result<Outputs, Verdict> {
        let mut outputs = Outputs::default();
        outputs.0.insert("status".into(), answer.status.as_u16().to_string());
        if self.0.keep_body {
            if answer.bytes > answer.body.len() {
                return Err(output::too_large(answer.bytes));
            }
            outputs.0.insert("body".into(), body(answer, job).to_string());
        }
        output::check(&outputs)?;
        Ok(outputs)
    }

    /// An answer that is a success, `within` that time if there is one. An `Err` of the outer kind is that the attempt was stopped or the document is wrong.
    pub(super) async fn answer(&self, job: &mut Job<'_>, within: Option<Duration>) -> Result<Result<Answer, Unanswered>, Verdict> {
        let http = self.0;
        let message = self.message(job).await?;
        job.started_at = (job.host.clock)();
        job.log.notice(&format!("{} {} ({} bytes)", message.method, message.url, message.body.len()));
        let is_success = |status: u16| http.success.iter().any(|(from, to)| (*from..=*to).contains(&status));
        let keep = if http.keep_body { KEPT_BYTES } else { SHOWN_BYTES };
        let sent = tokio::select! {
            sent = message.send(job.host.http_allow_private, keep, is_success) => sent,
            cause = job.halt.next() => return Err(cause.verdict()),
            () = at(within.map(|limit| Instant::now() + limit)) => Err(Failure::Network(format!("no answer within {} s", within.unwrap_or_default().as_secs()))),
        };
        let answer = match sent {
            Ok(answer) => answer,
            Err(Failure::Refused(why)) => return Ok(Err(Unanswered::Refused(Verdict::failed(Reason::Spawn, &why)))),
            Err(Failure::Network(why)) => return Ok(Err(Unanswered::Failed(why))),
        };
        job.log.notice(&format!("HTTP {} from {} ({} bytes of {:?})", answer.status, answer.url, answer.bytes, answer.content_type));
        if is_success(answer.status.as_u16()) {
            return Ok(Ok(answer));
        }
        // Masked before it is cut.
        let body = job.masks().text(&clean(&answer.body[..answer.body.len().min(SHOWN_BYTES)]));
        let shown: String = body.chars().take(MAX_SHOWN_CHARS).collect();
        let said = if shown.is_empty() { "it says nothing more".to_owned() } else { shown };
        Ok(Err(Unanswered::Failed(format!("HTTP {} from {}: {said}", answer.status.as_u16(), answer.url))))
    }

    async fn message(&self, job: &mut Job<'_>) -> Result<Message, Verdict> {
        let http = self.0;
        let wrong = |why: String| Verdict::failed(Reason::Template, &why);
        let method = Method::from_bytes(http.method.as_bytes()).map_err(|_| wrong(format!("http.method: {:?} is none", http.method)))?;
        let url =
            job.templates.pieces("http.url", &http.url).and_then(|pieces| target::url(&pieces).map_err(|why| format!("http.url: {why}")));
        let url = url.map_err(wrong)?;

        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        let mut set = |name: HeaderName, value: &str| HeaderValue::from_str(value).ok().map(|value| headers.insert(name, value));
        set(ACCEPT, "*/*");
        set(USER_AGENT, concat!("penstock/", env!("CARGO_PKG_VERSION")));
        set(HeaderName::from_static("idempotency-key"), &job.lease.idempotency_key());
        if !job.lease.traceparent.is_empty() {
            set(HeaderName::from_static("traceparent"), &job.lease.traceparent);
        }
        let body = match &http.body {
            None => Bytes::new(),
            Some(Body::Text(text)) => {
                set(CONTENT_TYPE, "text/plain; charset=utf-8");
                job.templates.text("http.body", text).map_err(wrong)?.into()
            }
            Some(Body::Json(value)) => {
                set(CONTENT_TYPE, "application/json");
                job.templates.json("http.body", value).map_err(wrong)?.to_string().into()
            }
        };
        for (name, setting) in &http.headers {
            let element = format!("http.headers.{name}");
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(format!("{element}: this is no name of a header")))?;
            if OF_CONNECTION.contains(&header.as_str()) {
                return Err(wrong(format!("{element}: Penstock sets this header itself, from what is sent")));
            }
            let value = match setting {
                Setting::Template(template) => job.templates.text(&element, template).map_err(wrong)?,
                Setting::Secret { secret } => {
                    secrets.push(header.clone());
                    job.secret(secret).await?
                }
            };
            // The value is not shown: it may be a secret.
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| wrong(format!("{element}: its value holds a newline or another control character, which no header can")))?;
            headers.insert(header, value);
        }
        Ok(Message { method, url, headers, secrets, body })
    }
}

fn body(answer: &Answer, job: &mut Job<'_>) -> Value {
    let media = answer.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if (media == "application/json" || media.ends_with("+json")) && !answer.body.is_empty() {
        match json::read(&answer.body) {
            Ok(value) => return value,
            Err(error) => job.log.notice(&format!("the body is said to be {media} and is not read as such, but put out as text: {error}")),
        }
    }
    String::from_utf8_lossy(&answer.body).into()
}
