//! The transition tables of runs, tasks and attempts: one machine, one file, one `match`.

pub(crate) mod attempt;
pub(crate) mod ledger;
pub(crate) mod mapping;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod task;

/// What `apply` refuses: an event that no decision on this state can have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}
