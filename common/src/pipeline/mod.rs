//! The pipeline document: the model every other part works on, and how text becomes it.
//!
//! [`parse`] reads YAML or JSON into a [`Document`] or returns *all* that is wrong with it, each with line,
//! column and a hint. Cycles are found by the scheduler's plan, which adds its diagnostics to these.

mod diagnostic;
mod model;
mod parse;
mod schema;

pub use diagnostic::{Diagnostic, Diagnostics, Location};
pub use model::{Action, ExitPolicy, Jitter, Param, ParamType, Pipeline, Retries, Task};
pub use parse::{Document, parse};
pub use schema::schema;
