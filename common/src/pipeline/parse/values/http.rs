//! `http`: one request, as a task or as what is waited for.

use super::super::fields::{Located, Reader};
use super::super::found::cut;
use super::super::keys::HTTP;
use super::super::node::{Kind, Node};
use super::super::template::has_tags;
use super::short_or_mapping;
use crate::pipeline::{Body, Http, Location};

/// Status codes there are.
const STATUSES: (u16, u16) = (100, 599);

pub(in super::super) fn http(r: &mut Reader, node: &Node<'_>) -> Option<Http> {
    let raw = short_or_mapping(r, node, HTTP, "url")?;
    let method = raw.method.unwrap_or("GET");
    if let Some(body) = raw.body.as_ref().filter(|_| matches!(method, "GET" | "HEAD")) {
        let hint = "write method: POST, or remove the body";
        r.found.warning(body.at, format!("a {method} request has a body, which most servers pass over"), hint);
    }
    Some(Http {
        method: method.to_owned(),
        url: raw.url?,
        headers: raw.headers,
        body: raw.body.map(|body| body.value),
        success: if raw.success.is_empty() { vec![(200, 299)] } else { raw.success },
        keep_body: raw.keep_body,
    })
}

/// A template whose beginning says `http` or `https`, as far as it is no template itself.
pub(in super::super) fn url(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let text = r.text(node)?;
    let literal = ["{{", "{%", "{#"].iter().filter_map(|open| text.find(open)).min().map_or(text.as_str(), |end| &text[..end]);
    let is_whole = literal.len() == text.len();
    let fits = ["http://", "https://"].iter().any(|scheme| match literal.strip_prefix(scheme) {
        Some(rest) => !is_whole || !rest.is_empty(),
        None => !is_whole && scheme.starts_with(literal),
    });
    if !fits {
        r.refuse(node.at, &format!("is not a URL: \"{}\"", cut(&text)), "write http://HOST/PATH or https://HOST/PATH");
        return None;
    }
    if literal.contains(char::is_whitespace) {
        r.refuse(node.at, "contains white space", "write %20 for a space, and no line break");
        return None;
    }
    Some(text)
}

/// `body` and `json` say the same thing twice.
pub(in super::super) fn only_body(r: &mut Reader, at: Location, into: &mut Option<Located<Body>>, body: Option<Located<Body>>) {
    if into.is_some() {
        r.found.error(at, "the request has both `body` and `json`", "keep one of them: `json` is rendered as JSON, `body` as it is");
    } else {
        *into = body;
    }
}

/// Status codes as inclusive ranges, sorted, none within or beside another.
pub(in super::super) fn statuses(r: &mut Reader, node: &Node<'_>) -> Vec<(u16, u16)> {
    let items = match node.kind() {
        Kind::Sequence(_) => r.items(node, "write [200, 2xx, 201-204], or leave the key out for 2xx"),
        _ => std::slice::from_ref(node),
    };
    let mut ranges: Vec<_> = items.iter().filter_map(|item| status(r, item)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn status(r: &mut Reader, node: &Node<'_>) -> Option<(u16, u16)> {
    const EXPECTED: &str = "a status code, as 200, 2xx or 201-204";
    let Kind::Scalar { text, .. } = node.kind() else {
        r.mismatch(node, EXPECTED, "");
        return None;
    };
    let code = |digits: &str| digits.parse::<u16>().ok().filter(|code| digits.len() == 3 && (STATUSES.0..=STATUSES.1).contains(code));
    let range = match (text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")), text.split_once('-')) {
        (Some(class), _) => code(&format!("{class}00")).map(|first| (first, first + 99)),
        (None, Some((first, last))) => code(first).zip(code(last)).filter(|(first, last)| first <= last),
        (None, None) => code(text).map(|code| (code, code)),
    };
    if range.is_none() {
        let hint = if has_tags(text) { "status codes are no templates" } else { "write 200, 2xx or 201-204, each from 100 to 599" };
        r.mismatch(node, EXPECTED, hint);
    }
    range
}
