//! What the user names and gives a text: variables, headers, labels, secrets.

use std::collections::BTreeMap;

use super::super::fields::Reader;
use super::super::found::cut;
use super::super::keys::{RawSetting, SECRET};
use super::super::node::{Kind, Node};
use crate::ids::{is_secret_name, is_token};
use crate::pipeline::Setting;

/// Variables the worker sets.
const RESERVED_PREFIX: &str = "PENSTOCK_";

pub(in super::super) fn env(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, RawSetting>) {
    for entry in r.entries(node, "write NAME: \"value\"") {
        let name = &*entry.key;
        let valid = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let message = format!("\"{}\" is not a valid variable name", cut(name));
            r.found.error(entry.at, message, "use letters, digits and _, not a digit first");
        } else if name.starts_with(RESERVED_PREFIX) {
            let hint = format!("names with {RESERVED_PREFIX} are set by the worker; use another name");
            r.found.error(entry.at, format!("the variable `{}` is reserved", cut(name)), hint);
        }
        let value = r.named("variable", name, |r| match secret(r, &entry.value) {
            Some(secret) => secret.map(RawSetting::Secret),
            None => r.template(&entry.value).map(RawSetting::Template),
        });
        if let Some(value) = value {
            into.insert(name.to_owned(), value);
        }
    }
}

/// The headers of a request.
pub(in super::super) fn headers(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, Setting>) {
    let mut seen = BTreeMap::new();
    for entry in r.entries(node, "write Name: \"value\"") {
        let name = &*entry.key;
        if name.is_empty() || !name.bytes().all(is_header_byte) {
            let message = format!("\"{}\" is not a valid header name", cut(name));
            r.found.error(entry.at, message, "use letters, digits and -, such as Content-Type");
        } else if let Some(first) = seen.insert(name.to_ascii_lowercase(), name) {
            let hint = format!("`{first}` is the same header: keep one of them");
            r.found.error(entry.at, format!("the header `{name}` is there twice"), hint);
        }
        let value = r.named("header", name, |r| match secret(r, &entry.value) {
            Some(secret) => secret.map(|secret| Setting::Secret { secret }),
            None => r.text(&entry.value).and_then(|text| {
                if !text.contains(['\r', '\n']) {
                    return Some(Setting::Template(text));
                }
                r.refuse(entry.value.at, "must be one line", "remove the line break; a block text (`|`) ends with one, `>-` with none");
                None
            }),
        });
        if let Some(value) = value {
            into.insert(name.to_owned(), value);
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_header_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// `{secret: NAME}`. `None`: it is nothing of the kind; `Some(None)`: an error is noted.
fn secret(r: &mut Reader, node: &Node<'_>) -> Option<Option<String>> {
    let Kind::Mapping(entries) = node.kind() else { return None };
    if entries.is_empty() {
        return None;
    }
    let mut name = None;
    r.mapping(node, &[SECRET], &mut name);
    Some(name)
}

pub(in super::super) fn secret_name(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let name = r.string(node)?;
    if is_secret_name(&name) {
        return Some(name);
    }
    let message = format!("\"{}\" is not a valid secret name", cut(&name));
    r.found.error(node.at, message, "use a letter, then at most 127 of A-Z, a-z, 0-9, _, . and -; its value is the worker's to know");
    None
}

pub(in super::super) fn labels(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<String, String>) {
    for entry in r.entries(node, "write KEY: value") {
        if !is_token(&entry.key) {
            let message = format!("\"{}\" is not a valid label", cut(&entry.key));
            r.found.error(entry.at, message, "use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and -");
        }
        if let Some(value) = r.named("label", &entry.key, |r| r.word(&entry.value)) {
            into.insert(entry.key.clone().into_owned(), value);
        }
    }
}
