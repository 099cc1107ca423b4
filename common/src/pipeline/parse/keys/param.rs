//! The keys of a parameter.

use std::collections::BTreeMap;

use super::super::fields::{Key, Located};
use super::super::values::{self, Scalar};
use crate::pipeline::{Param, ParamType, schema};

#[derive(Default)]
pub(in crate::pipeline) struct Params {
    /// By name; `None`: something in it is wrong.
    pub(in super::super) declared: BTreeMap<String, Option<Param>>,
    /// Something is wrong with the whole, so that nothing can be said of a name that is missing.
    pub(in super::super) unclear: bool,
}

#[derive(Default)]
pub(in crate::pipeline) struct RawParam {
    pub(in super::super) kind: Option<ParamType>,
    pub(in super::super) kind_unclear: bool,
    pub(in super::super) default: Option<Located<Scalar>>,
    pub(in super::super) values: Vec<Located<Scalar>>,
    pub(in super::super) description: String,
}

/// One of `params`
pub(in crate::pipeline) const PARAM: &[Key<RawParam>] = &[
    Key::new("type", "Its type.", schema::param_type, |r, n, raw| {
        raw.kind = r.one_of(n, PARAM_TYPES);
        raw.kind_unclear = raw.kind.is_none();
    }),
    Key::new("default", "Used when a run gives none; without it a run must.", schema::scalar, |r, n, raw| {
        raw.default = values::scalar(r, n);
    }),
    Key::new("enum", "The only values allowed.", schema::scalars, |r, n, raw| {
        raw.values = r.items(n, "write the values, or leave the key out").iter().filter_map(|v| values::scalar(r, v)).collect();
    }),
    Key::new("description", "What it is for.", schema::text, |r, n, raw| raw.description = r.string(n).unwrap_or_default()),
];

pub(in crate::pipeline) const PARAM_TYPES: &[(&str, ParamType)] =
    &[("string", ParamType::String), ("int", ParamType::Int), ("number", ParamType::Number), ("bool", ParamType::Bool)];
