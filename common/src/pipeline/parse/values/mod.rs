//! Readers for the values that only one key has, by topic.

mod container;
mod env;
mod flow;
mod http;
mod param;
mod program;
mod retries;
mod scheduled;
mod sql;
mod task;
mod timing;
mod wait;
mod zone;

pub(super) use self::container::{container, cpu, image, kubernetes_name, size, words};
pub(super) use self::env::{env, headers, labels, secret_name};
pub(super) use self::flow::{check_records, depends_on, expect, for_each, length, max_failed, trigger_rule};
pub(super) use self::http::{http, only_body, statuses, url};
pub(in crate::pipeline) use self::param::Scalar;
pub(super) use self::param::{params, scalar};
pub(super) use self::program::{argv, noop, script};
pub(super) use self::retries::{backoff, check_delays, exit_codes, policy, reasons, retries};
pub(super) use self::scheduled::{approve, child, child_name, child_params, message};
pub(super) use self::sql::{bind, connection, sql, statement, statements};
pub(super) use self::task::tasks;
pub(super) use self::timing::{
    catchup, cron, date, event, grace, landing, landing_path, period, schedule, trigger_name, trigger_params, triggers, upstream,
    upstream_names, upstreams,
};
pub(super) use self::wait::{every, file, time, wait};
pub(super) use self::zone::timezone;

use super::fields::{Key, Reader};
use super::node::{Kind, Node};

/// Reads a mapping that has a short form: a text that is the value of its main key. `None`: it is neither.
fn short_or_mapping<T: Default>(r: &mut Reader, node: &Node<'_>, table: &'static [Key<T>], main: &'static str) -> Option<T> {
    let mut raw = T::default();
    match node.kind() {
        Kind::Mapping(_) => {
            r.mapping(node, &[table], &mut raw);
            lacks(r, node, main);
        }
        Kind::Scalar { text, plain, .. } if !(*plain && super::scalar::resolve(text) == super::scalar::Core::Null) => {
            r.short(node, table, main, &mut raw);
        }
        _ => {
            let keys: Vec<_> = table.iter().map(|key| key.name).collect();
            r.mismatch(node, &format!("a text (its `{main}`) or a mapping"), format!("its keys are: {}", keys.join(", ")));
            return None;
        }
    }
    Some(raw)
}

/// Whether a mapping has a key, right or wrong.
fn has(node: &Node<'_>, key: &str) -> bool {
    matches!(node.kind(), Kind::Mapping(entries) if entries.iter().any(|e| e.key == key))
}

/// Notes that a mapping lacks a key that it must have.
fn lacks(r: &mut Reader, node: &Node<'_>, key: &str) -> bool {
    let lacks = matches!(node.kind(), Kind::Mapping(_)) && !has(node, key);
    if lacks {
        r.refuse(node.at, &format!("has no `{key}`"), format!("add `{key}:`"));
    }
    lacks
}
