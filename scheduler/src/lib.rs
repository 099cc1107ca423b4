//! What decides. A pure state machine: inputs in, events and effects out.
//!
//! ```text
//!  driver ──Input, Now──▶ decide ──▶ Event ──▶ apply ──▶ State   (replayed, checkpointed, equal on every replica)
//!                            │                    └─touched─▶ Term  (what only the present leader knows)
//!                            └──▶ Effect        (held by the driver until the events are durable)
//! ```
//!
//! No async, clock, randomness, hash-order iteration or I/O: time and jitter come in as values. A replica that replays
//! the events of `decide` has the identical [`State`]; that is why failover, hot standby, history and simulation work.
//!
//! Reading order: [`input`] (what goes in and out), `machine/` (the transition tables), `state` (apply), `term`,
//! `lanes`, `gates` and `timers` (who waits for what), `decide/` (one file a verb).

mod backfill;
pub mod calendar;
mod comparison;
mod cut;
mod decide;
pub mod explain;
mod expression;
mod gates;
pub mod input;
mod intervals;
mod lanes;
mod machine;
pub mod plan;
mod state;
mod term;
#[cfg(test)]
mod tests;
mod timers;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_common::{Digest, Event, Items, Now, Seq, Timestamp};

pub use backfill::{BackfillAsked, Planned, Reprocess};
pub use cut::{Cut, RestoreError, RunCut, Snapshot, SnapshotRun};
pub use decide::{Recalled, outputs_in};
pub use input::{Announced, Answer, Decision, Effect, Emitted, FoundFile, Input, Recall, Rejection};
pub use plan::{Plan, PlanError};
pub use state::State;
pub use view::{PoolView, RunFilter, WorkerView};

/// State, and the term of the leader if this replica leads.
#[derive(Debug, Default)]
pub struct Scheduler {
    state: State,
    term: term::Term,
}

impl Scheduler {
    /// The only way state changes on a leader. Total: bad input is a [`Rejection`] that changes nothing, never a panic.
    pub fn decide(&mut self, input: Input, now: Now) -> Result<Decision, Rejection> {
        decide::decide(&mut self.state, &mut self.term, input, now)
    }

    /// The only way state changes elsewhere: recovery and followers. The same `apply` that `decide` uses.
    pub fn replay(&mut self, event: &Event) {
        self.state.apply(event, &mut Vec::new());
    }

    /// Gives a definition, which must happen before an event or a snapshot that names its digest.
    pub fn learn(&mut self, plan: Arc<Plan>) {
        self.state.learn(plan);
    }

    /// Gives an items file, which must happen before an event or a snapshot that names its digest.
    pub fn learn_items(&mut self, items: Arc<Items>) {
        self.state.items.insert(items.digest(), items);
    }

    /// Whether an items file is known.
    pub fn knows_items(&self, digest: &Digest) -> bool {
        self.state.items.contains_key(digest)
    }

    /// Every blob that state names: definitions, items files, runs that are about to be live again.
    pub fn named(&self) -> BTreeSet<Digest> {
        let state = &self.state;
        let definitions = state.pipelines.values().flat_map(|v| v.by_number.values()).map(|(digest, _)| *digest);
        let mut named: BTreeSet<Digest> = definitions.chain(state.reopening.keys().copied()).collect();
        for run in state.runs.values() {
            named.extend((0..run.slots()).filter_map(|task| run.task(task).rare.as_ref()?.items));
        }
        named
    }

    /// Lets go of definitions and items files that nothing names.
    pub fn forget_unnamed(&mut self, named: &BTreeSet<Digest>) {
        self.state.definitions.retain(|digest, _| named.contains(digest));
        self.state.items.retain(|digest, _| named.contains(digest));
    }

    /// Gives an archived run, which must happen before the event that reopens it.
    pub fn learn_run(&mut self, digest: Digest, run: SnapshotRun) {
        self.state.reopening.insert(digest, run);
    }

    /// Whether a definition is known.
    pub fn knows(&self, digest: &Digest) -> bool {
        self.state.definitions.contains_key(digest)
    }

    /// Begins a term: forgets what a former one knew and indexes the state. Call after replaying to the journal's end.
    pub fn lead(&mut self, now: Now) {
        self.term = term::Term::of(&self.state, now);
    }

    /// At takeover: every effect that state says is not yet done and that needs no worker's Hello (history writes; leases
    /// and cancels are owed to a session when it says Hello).
    pub fn owed(&mut self) -> Vec<Effect> {
        decide::owed(&self.state, &mut self.term)
    }

    /// When to feed [`Input::Tick`] next; a time that is past means now.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.term.next_deadline()
    }

    /// The journal position of the entry whose events are replayed or decided from here on.
    pub fn at(&mut self, seq: Seq) {
        self.state.seq = seq;
    }

    /// What [`Input::Register`] would answer, by the same function: the version, and whether it would be a new one.
    pub fn would_register(&self, plan: &Plan) -> Result<(u32, bool), Rejection> {
        decide::would_register(&self.state, plan)
    }

    /// State, for reading.
    pub fn state(&self) -> &State {
        &self.state
    }
}
