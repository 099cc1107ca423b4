//! The pipeline document: the model every other part works on, and how text becomes it.
//!
//! [`parse`] reads YAML or JSON into a [`Document`] or returns *all* that is wrong with it, each with line,
//! column and a hint.

mod action;
mod diagnostic;
mod flow;
mod model;
mod parse;
mod schema;
mod timing;
mod uses;

pub use action::{Action, Approve, Body, ChildRun, Container, Http, Pull, Setting, Sql, Statement, Until, Wait, strings};
pub use diagnostic::{Diagnostic, Diagnostics, Location};
pub use flow::{Condition, Dependency, Expect, ExpectAction, ForEach, MaxFailed, TriggerRule};
pub use model::{ExitPolicy, Jitter, Param, ParamType, Pipeline, Retries, Task};
pub use parse::{Document, Likeness, likeness, parse, with_uses};
pub use schema::schema;
pub use timing::{Catchup, Ending, Overlap, ScheduleSpec, TriggerSource, TriggerSpec};
pub use uses::{OutputsOf, Uses};
