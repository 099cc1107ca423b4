//! What the scheduler does itself: `pipeline` and `approve`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::fields::Reader;
use super::super::found::cut;
use super::super::keys::{APPROVE, CHILD};
use super::super::node::Node;
use super::short_or_mapping;
use crate::PipelineName;
use crate::ids::is_identifier;
use crate::pipeline::{Approve, ChildRun};

pub(in super::super) fn child(r: &mut Reader, node: &Node<'_>) -> Option<ChildRun> {
    let raw = short_or_mapping(r, node, CHILD, "name")?;
    Some(ChildRun { name: raw.name?, params: raw.params, wait: raw.wait.unwrap_or(true) })
}

pub(in super::super) fn child_name(r: &mut Reader, node: &Node<'_>) -> Option<PipelineName> {
    let text = r.verbatim(node, "which pipelines start which is known before a run", "write its name; what varies is a parameter")?;
    r.name_of(node.at, &text)
}

pub(in super::super) fn child_params(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, Value>) {
    for entry in r.entries(node, "write NAME: value") {
        if !is_identifier(&entry.key) {
            let message = format!("\"{}\" is not a valid parameter name", cut(&entry.key));
            r.found.error(entry.at, message, "use a lower-case letter, then at most 62 of a-z, 0-9 and _");
        }
        if let Some(value) = r.named("parameter", &entry.key, |r| r.json(&entry.value)) {
            into.insert(entry.key.clone().into_owned(), value);
        }
    }
}

pub(in super::super) fn approve(r: &mut Reader, node: &Node<'_>) -> Option<Approve> {
    let message = short_or_mapping(r, node, APPROVE, "message")??;
    Some(Approve { message })
}

pub(in super::super) fn message(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let why = "it is shown as it is written";
    let text = r.verbatim(node, why, "write it without braces; the run, its interval and its parameters are shown with it")?;
    if text.trim().is_empty() {
        r.refuse(node.at, "is empty", "write what the person is asked");
        return None;
    }
    Some(text)
}
