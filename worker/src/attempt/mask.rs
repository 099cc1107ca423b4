//! Secrets are shown as `***`: in logs, details, outputs and items. Pure.
//!
//! What is masked are literal values: each secret, each line of it where it has several, and the form it takes within a JSON
//! text. What a program encodes otherwise (base64, a URL) is not recognised: the guide says so.

use std::sync::Arc;

use penstock_common::metrics::Outputs;
use serde_json::Value;

/// Shorter values would mask half of any text.
const MIN_BYTES: usize = 4;
/// What stands in a secret's place.
const MASK: &[u8] = b"***";

/// The values to mask.
#[derive(Clone, Default)]
pub(crate) struct Masks(Option<Arc<Patterns>>);

#[derive(Clone)]
struct Patterns {
    values: Vec<Vec<u8>>,
    /// By first byte, whether a value begins so: most positions of a text need no other look.
    begins: [bool; 256],
}

impl Masks {
    /// Adds a secret. False: it, or a line of it, is too short to be masked.
    pub(crate) fn add(&mut self, secret: &str) -> bool {
        let mut patterns = self.0.take().map_or_else(|| Patterns { values: Vec::new(), begins: [false; 256] }, |shared| (*shared).clone());
        let escaped = Value::from(secret).to_string();
        let whole = secret.trim_end_matches(['\r', '\n']);
        // `Bearer …`, of which a server may show the second word alone.
        let scheme = |word: &str| ["basic", "bearer", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        let token = whole.split_once(' ').filter(|(word, _)| scheme(word)).map_or("", |(_, token)| token);
        // A shell that splits words takes the spaces around it away.
        let parts = secret.lines().flat_map(|line| [line, line.trim()]).chain([secret, whole, token, escaped.trim_matches('"')]);
        let mut all = true;
        for part in parts.filter(|part| !part.is_empty()) {
            let bytes = part.as_bytes();
            if bytes.len() < MIN_BYTES {
                all = false;
            } else if !patterns.values.iter().any(|known| known == bytes) {
                patterns.values.push(bytes.to_vec());
                patterns.begins[usize::from(bytes[0])] = true;
            }
        }
        self.0 = Some(Arc::new(patterns)).filter(|patterns| !patterns.values.is_empty());
        all && !secret.is_empty()
    }

    /// Whether there is nothing to mask.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut masker = Masker::default();
        let mut out = Vec::with_capacity(text.len());
        masker.feed(self, text.as_bytes(), &mut out);
        masker.end(self, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Outputs whose values are without secrets.
    pub(crate) fn outputs(&self, outputs: Outputs) -> Outputs {
        if self.is_empty() {
            return outputs;
        }
        let mask = |json: String| serde_json::from_str(&json).map_or(json, |value| self.value(value).to_string());
        Outputs(outputs.0.into_iter().map(|(key, json)| (key, mask(json))).collect())
    }

    fn is_secret(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|patterns| patterns.values.iter().any(|value| value == text.as_bytes()))
    }

    /// The JSON value without secrets, in keys neither.
    pub(crate) fn value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(key, field)| (self.text(&key), self.value(field))).collect(),
            // A secret of digits that was put out as a number; no part of a number is.
            Value::Number(number) if self.is_secret(&number.to_string()) => String::from_utf8_lossy(MASK).into(),
            Value::Number(_) => value,
            Value::Null | Value::Bool(_) => value,
        }
    }
}

impl Patterns {
    /// Whether more bytes could make this a secret, or a longer one.
    fn may_go_on(&self, rest: &[u8]) -> bool {
        self.values.iter().any(|value| value.len() > rest.len() && value.starts_with(rest))
    }
    /// How many bytes from here on are a secret.
    fn here(&self, rest: &[u8]) -> usize {
        self.values.iter().filter(|value| rest.starts_with(value)).map(Vec::len).max().unwrap_or(0)
    }
}

/// Masks what comes in pieces. Bytes that may be the beginning of a secret are held until it is known.
#[derive(Default)]
pub(crate) struct Masker {
    held: Vec<u8>,
    /// So many of the next bytes belong to a secret that was found.
    covered: usize,
}

impl Masker {
    pub(crate) fn feed(&mut self, masks: &Masks, bytes: &[u8], out: &mut Vec<u8>) {
        self.go(masks, bytes, out, false);
    }

    /// No more comes.
    pub(crate) fn end(&mut self, masks: &Masks, out: &mut Vec<u8>) {
        self.go(masks, &[], out, true);
    }

    fn go(&mut self, masks: &Masks, bytes: &[u8], out: &mut Vec<u8>, ended: bool) {
        self.held.extend_from_slice(bytes);
        let Some(patterns) = &masks.0 else { return out.append(&mut self.held) };
        let mut at = 0;
        while let Some(first) = self.held.get(at) {
            if patterns.begins[usize::from(*first)] {
                let rest = &self.held[at..];
                if !ended && patterns.may_go_on(rest) {
                    break;
                }
                let secret = patterns.here(rest);
                if secret > self.covered {
                    if self.covered == 0 {
                        out.extend_from_slice(MASK);
                    }
                    self.covered = secret;
                }
            }
            if self.covered == 0 {
                out.push(*first);
            }
            self.covered = self.covered.saturating_sub(1);
            at += 1;
        }
        self.held.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masks(secrets: &[&str]) -> Masks {
        let mut masks = Masks::default();
        for secret in secrets {
            masks.add(secret);
        }
        masks
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let mut masks = masks(&["hunter22", "hunter2", "abcd", "cdef"]);
        assert_eq!(masks.text("a hunter2 b hunter22, hunter"), "a *** b ***, hunter");
        assert_eq!(masks.text("abcdef"), "***", "two that overlap");
        assert_eq!(masks.text("xabcdx"), "x***x");
        masks.add("Bearer t0ken");
        assert_eq!(masks.text("not t0ken nor Bearer t0ken"), "not *** nor ***");
    }

    #[test]
    fn each_line_of_a_secret_is_one() {
        let masks = masks(&["-----BEGIN KEY-----\nMIIEow\nab\n-----END KEY-----\n"]);
        assert_eq!(masks.text("key: MIIEow, end"), "key: ***, end");
        assert_eq!(masks.text("-----BEGIN KEY-----\nMIIEow\nab\n-----END KEY-----"), "***");
        assert_eq!(masks.text(r#"{"k": "-----BEGIN KEY-----\nMIIEow\nab\n-----END KEY-----\n"}"#), r#"{"k": "***"}"#);
    }

    #[test]
    fn spaces_around_a_secret_are_none_of_it() {
        assert_eq!(masks(&["  hunter2 \n\ttwo words "]).text("hunter2, two words; two"), "***, ***; two");
    }

    #[test]
    fn what_is_too_short_is_not_masked_and_said() {
        let mut masks = Masks::default();
        assert!(!masks.add("abc"));
        assert!(masks.is_empty());
        assert!(!masks.add(""));
        assert!(masks.add("abcd"));
    }

    #[test]
    fn json_is_masked_in_its_values_and_keys() {
        let masks = masks(&["p\"w\nd1", "123456"]);
        let value = serde_json::json!({"a": ["p\"w\nd1", 123456, 91234567, true], "p\"w\nd1": null});
        assert_eq!(masks.value(value), serde_json::json!({"a": ["***", "***", 91234567, true], "***": null}));
    }

    proptest! {
        #[test]
        fn pieces_are_masked_as_the_whole_is(text in "[ab\n]{0,60}", secrets in prop::collection::vec("[ab\n]{4,7}", 1..4), cut in 1_usize..8) {
            let masks = masks(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let mut masker = Masker::default();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                masker.feed(&masks, piece, &mut out);
            }
            masker.end(&masks, &mut out);
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(&out, &masks.text(&text));
            for secret in &secrets {
                prop_assert!(!out.contains(secret.as_str()), "{:?} in {:?}", secret, out);
            }
        }
    }
}
