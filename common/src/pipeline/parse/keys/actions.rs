//! The keys within those of the actions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::fields::{Key, Located};
use super::super::values;
use super::NO_LIMIT;
use crate::pipeline::{Body, Http, Pull, Setting, Sql, schema};
use crate::{Millis, PipelineName};

#[derive(Default)]
pub(in crate::pipeline) struct RawHttp {
    pub(in super::super) url: Option<String>,
    pub(in super::super) method: Option<&'static str>,
    pub(in super::super) headers: BTreeMap<String, Setting>,
    /// What `body` or `json` says, and where.
    pub(in super::super) body: Option<Located<Body>>,
    pub(in super::super) success: Vec<(u16, u16)>,
    pub(in super::super) keep_body: bool,
}

/// `http`
pub(in crate::pipeline) const HTTP: &[Key<RawHttp>] = &[
    Key::new("url", "Where it is sent; a template.", schema::text, |r, n, raw| raw.url = values::url(r, n)),
    Key::new("method", "GET if it is not written.", schema::method, |r, n, raw| raw.method = r.one_of(n, METHODS)),
    Key::new("headers", "By name; values are templates or secrets.", schema::headers, |r, n, raw| {
        values::headers(r, n, &mut raw.headers);
    }),
    Key::new("body", "What is sent, as it is rendered; a template.", schema::scalar, |r, n, raw| {
        let body = r.text(n).map(|text| Located { at: n.at, value: Body::Text(text) });
        values::only_body(r, n.at, &mut raw.body, body);
    }),
    Key::new("json", "What is sent, as JSON; texts in it are templates.", schema::any, |r, n, raw| {
        let body = r.json(n).map(|value| Located { at: n.at, value: Body::Json(value) });
        values::only_body(r, n.at, &mut raw.body, body);
    }),
    Key::new("success", "Status codes that are a success; 2xx if it is not written.", schema::statuses, |r, n, raw| {
        raw.success = values::statuses(r, n);
    }),
    Key::new("output", "`body`: the answer's body becomes the output `body`.", schema::http_output, |r, n, raw| {
        raw.keep_body = r.one_of(n, HTTP_OUTPUTS).unwrap_or_default();
    }),
];

pub(in crate::pipeline) const METHODS: &[(&str, &str)] =
    &[("GET", "GET"), ("HEAD", "HEAD"), ("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH"), ("DELETE", "DELETE"), ("OPTIONS", "OPTIONS")];

pub(in crate::pipeline) const HTTP_OUTPUTS: &[(&str, bool)] = &[("none", false), ("body", true)];

#[derive(Default)]
pub(in crate::pipeline) struct RawSql {
    pub(in super::super) connection: Option<String>,
    /// `None`: something in it is wrong.
    pub(in super::super) statements: Option<Vec<RawStatement>>,
    pub(in super::super) bind: Option<Located<Vec<Value>>>,
    pub(in super::super) transaction: Option<bool>,
    pub(in super::super) keep_row: bool,
}

#[derive(Default)]
pub(in crate::pipeline) struct RawStatement {
    pub(in super::super) sql: Option<Located<String>>,
    pub(in super::super) bind: Option<Vec<Value>>,
}

/// `sql`
pub(in crate::pipeline) const SQL: &[Key<RawSql>] = &[
    Key::new("connection", "A connection of the worker's configuration.", schema::dotted, |r, n, raw| {
        raw.connection = values::connection(r, n);
    }),
    Key::new("run", "A statement, or several, one after another; never a template.", schema::statements, |r, n, raw| {
        raw.statements = values::statements(r, n);
    }),
    Key::new("bind", "The values of $1, $2… of the only statement; texts are templates.", schema::bind, |r, n, raw| {
        raw.bind = values::bind(r, n).map(|value| Located { at: n.at, value });
    }),
    Key::new("transaction", "All or nothing; true if it is not written.", schema::flag, |r, n, raw| raw.transaction = r.flag(n)),
    Key::new("output", "`row`: the first row of the last statement becomes outputs, by column.", schema::sql_output, |r, n, raw| {
        raw.keep_row = r.one_of(n, SQL_OUTPUTS).unwrap_or_default();
    }),
];

/// An item of `sql.run`
pub(in crate::pipeline) const STATEMENT: &[Key<RawStatement>] = &[
    Key::new("sql", "The statement; never a template.", schema::text, |r, n, raw| raw.sql = values::statement(r, n)),
    Key::new("bind", "The values of $1, $2…; texts are templates.", schema::bind, |r, n, raw| raw.bind = values::bind(r, n)),
];

pub(in crate::pipeline) const SQL_OUTPUTS: &[(&str, bool)] = &[("none", false), ("row", true)];

#[derive(Default)]
pub(in crate::pipeline) struct RawWait {
    pub(in super::super) file: Option<String>,
    pub(in super::super) http: Option<Http>,
    pub(in super::super) sql: Option<Sql>,
    pub(in super::super) time: Option<String>,
    pub(in super::super) settle: Option<Located<Millis>>,
    pub(in super::super) every: Option<Millis>,
    pub(in super::super) timeout: Option<Millis>,
    pub(in super::super) on_timeout: Option<Located<bool>>,
}

/// `wait`
pub(in crate::pipeline) const WAIT: &[Key<RawWait>] = &[
    Key::new("file", "A file that matches a path with `*`, `?` and `[…]`; a template.", schema::text, |r, n, raw| {
        raw.file = values::file(r, n);
    }),
    Key::new("http", "A request that succeeds.", schema::http, |r, n, raw| raw.http = values::http(r, n)),
    Key::new("sql", "A query that gives a row whose first column is neither NULL, false nor 0.", schema::sql, |r, n, raw| {
        raw.sql = values::sql(r, n);
    }),
    Key::new("time", "A time: HH:MM, RFC 3339 or a template.", schema::text, |r, n, raw| raw.time = values::time(r, n)),
    Key::new("settle", "How long the file must not have changed.", schema::duration, |r, n, raw| {
        raw.settle = r.duration(n, None).map(|value| Located { at: n.at, value });
    }),
    Key::new("every", "Between probes; 30s if it is not written.", schema::duration, |r, n, raw| raw.every = values::every(r, n)),
    Key::new("timeout", "Longest time it waits.", schema::duration, |r, n, raw| raw.timeout = r.duration(n, Some(NO_LIMIT))),
    Key::new("on_timeout", "What the task then is: FAILED, or SKIPPED.", schema::on_timeout, |r, n, raw| {
        raw.on_timeout = r.one_of(n, ON_TIMEOUT).map(|value| Located { at: n.at, value });
    }),
];

/// Of these, `wait` has one.
pub(in crate::pipeline) const WAITED_FOR: [&str; 4] = ["file", "http", "sql", "time"];

pub(in crate::pipeline) const ON_TIMEOUT: &[(&str, bool)] = &[("fail", false), ("skip", true)];

#[derive(Default)]
pub(in crate::pipeline) struct RawChild {
    pub(in super::super) name: Option<PipelineName>,
    pub(in super::super) params: BTreeMap<String, Value>,
    pub(in super::super) wait: Option<bool>,
}

/// `pipeline` of a task
pub(in crate::pipeline) const CHILD: &[Key<RawChild>] = &[
    Key::new("name", "Which pipeline: `name` or `namespace/name`.", schema::pipeline_name, |r, n, raw| raw.name = values::child_name(r, n)),
    Key::new("params", "Its parameters; texts are templates.", schema::child_params, |r, n, raw| {
        values::child_params(r, n, &mut raw.params);
    }),
    Key::new("wait", "Whether the task ends as that run does, or as soon as it is created.", schema::flag, |r, n, raw| {
        raw.wait = r.flag(n)
    }),
];

/// `approve`
pub(in crate::pipeline) const APPROVE: &[Key<Option<String>>] =
    &[Key::new("message", "What is asked.", schema::text, |r, n, message| *message = values::message(r, n))];

#[derive(Default)]
pub(in crate::pipeline) struct RawContainer {
    pub(in super::super) image: Option<String>,
    pub(in super::super) command: Vec<String>,
    pub(in super::super) args: Vec<String>,
    pub(in super::super) cpu_millis: Option<u32>,
    pub(in super::super) memory_bytes: Option<u64>,
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) service_account: Option<String>,
    pub(in super::super) pull: Option<Pull>,
}

/// `container`
pub(in crate::pipeline) const CONTAINER: &[Key<RawContainer>] = &[
    Key::new("image", "The image; a template.", schema::text, |r, n, raw| raw.image = values::image(r, n)),
    Key::new("command", "Replaces the image's entry point; templates.", schema::argv, |r, n, raw| raw.command = values::words(r, n)),
    Key::new("args", "Arguments; templates.", schema::argv, |r, n, raw| raw.args = values::words(r, n)),
    Key::new("cpu", "CPUs, requested and limited: 2, 0.5 or 500m.", schema::cpu, |r, n, raw| raw.cpu_millis = values::cpu(r, n)),
    Key::new("memory", "Memory, requested and limited: 512MiB.", schema::size, |r, n, raw| raw.memory_bytes = values::size(r, n)),
    Key::new("namespace", "The Kubernetes namespace.", schema::kubernetes_name, |r, n, raw| {
        raw.namespace = values::kubernetes_name(r, n);
    }),
    Key::new("service_account", "The Kubernetes service account.", schema::kubernetes_name, |r, n, raw| {
        raw.service_account = values::kubernetes_name(r, n);
    }),
    Key::new("pull", "When the image is pulled.", schema::pull, |r, n, raw| raw.pull = r.one_of(n, PULLS)),
];

pub(in crate::pipeline) const PULLS: &[(&str, Pull)] = &[("missing", Pull::Missing), ("always", Pull::Always), ("never", Pull::Never)];
