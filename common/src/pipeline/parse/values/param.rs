//! Parameters: their types, and values that fit them.

use serde_json::Value;

use super::super::fields::{Located, Reader, describe_scalar};
use super::super::found::{cut, listed};
use super::super::keys::{PARAM, Params, RawParam};
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, is_yaml_1_1_bool, resolve};
use crate::ids::is_identifier;
use crate::pipeline::{Location, Param, ParamType};

/// A value whose type another key says.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Scalar {
    text: String,
    plain: bool,
}

pub(in super::super) fn scalar(r: &mut Reader, node: &Node<'_>) -> Option<Located<Scalar>> {
    match node.kind() {
        Kind::Scalar { text, plain } => Some(Located { at: node.at, value: Scalar { text: text.clone().into_owned(), plain: *plain } }),
        _ => {
            r.mismatch(node, "a single value", "parameters are text, numbers and booleans");
            None
        }
    }
}

pub(in super::super) fn params(r: &mut Reader, node: &Node<'_>, into: &mut Params) {
    let hint = "write NAME: {type: string, default: …}";
    into.unclear = !matches!(node.kind(), Kind::Mapping(_));
    for entry in r.entries(node, hint) {
        if !is_identifier(&entry.key) {
            let message = format!("\"{}\" is not a valid parameter name", cut(&entry.key));
            r.found.error(entry.at, message, "use a lower-case letter, then at most 62 of a-z, 0-9 and _");
        }
        let mut raw = RawParam::default();
        let param =
            r.named("parameter", &entry.key, |r| if r.mapping(&entry.value, &[PARAM], &mut raw) { param(r, entry.at, raw) } else { None });
        into.declared.insert(entry.key.clone().into_owned(), param);
    }
}

fn param(r: &mut Reader, at: Location, raw: RawParam) -> Option<Param> {
    let Some(kind) = raw.kind else {
        if !raw.kind_unclear {
            r.found.error(at, "the parameter has no type", "add type: string, int, number or bool");
        }
        return None;
    };
    let mut values = Vec::new();
    for value in raw.values {
        let Some(typed) = typed(r, &value, kind) else { continue };
        if values.contains(&typed) {
            r.found.error(value.at, format!("{typed} is in `enum` twice"), "remove one of them");
        }
        values.push(typed);
    }
    let mut default = None;
    if let Some(raw) = raw.default {
        default = typed(r, &raw, kind);
        if let Some(value) = default.as_ref().filter(|value| !values.is_empty() && !values.contains(value)) {
            let words: Vec<String> = values.iter().map(bare).collect();
            let names = || words.iter().map(String::as_str);
            let hint = r.found.did_you_mean(&bare(value), names(), || format!("use one of {}, or add it there", listed(names())));
            r.found.error(raw.at, format!("the default {value} is not in `enum`"), hint);
        }
    }
    Some(Param { kind, default, values, description: raw.description })
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value, if it is of the type.
fn typed(r: &mut Reader, value: &Located<Scalar>, kind: ParamType) -> Option<Value> {
    let Located { at, value: Scalar { text, plain } } = value;
    let core = if *plain { resolve(text) } else { Core::Text };
    let hint = match (kind, core) {
        (ParamType::String, Core::Text) => {
            if *plain {
                r.warn_of_bools(*at, text);
            }
            return Some(Value::from(text.as_str()));
        }
        (ParamType::Int, Core::Int(Some(n))) | (ParamType::Number, Core::Int(Some(n))) => return Some(Value::from(n)),
        (ParamType::Number, Core::Int(None)) => {
            "write it with at most 64 bits, or as a float: a number would become another one".to_owned()
        }
        (ParamType::Number, Core::Float(_)) => match text.parse::<f64>() {
            Ok(f) if f.is_finite() => return Some(Value::from(f)),
            _ => "write a finite number".to_owned(),
        },
        (ParamType::Bool, Core::Bool(b)) => return Some(Value::from(b)),
        (ParamType::String, _) => format!("put it in quotes: \"{}\"", cut(text)),
        (ParamType::Int, Core::Int(None)) => "write a number of at most 64 bits".to_owned(),
        (ParamType::Int | ParamType::Number, Core::Text) if !matches!(resolve(text), Core::Text | Core::Null) => {
            format!("write {} without quotes", cut(text))
        }
        (ParamType::Int, _) => "write a whole number, or use type: number".to_owned(),
        (ParamType::Number, _) => "write a number, or use type: string".to_owned(),
        (ParamType::Bool, _) => match is_yaml_1_1_bool(text) {
            Some(meant) => format!("`{text}` is text in YAML 1.2: write {meant}"),
            None => "write true or false, without quotes".to_owned(),
        },
    };
    let message = format!("{} is not a value of type {}", describe_scalar(text, *plain), kind.as_str());
    r.found.error(*at, message, hint);
    None
}
