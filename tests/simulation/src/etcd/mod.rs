//! The etcd of the simulation: one member, on the product's memory store, with a record of every commit from the first on.
//!
//! Like the real one it may commit and lose the answer, commit late, or restart and give every lease its full time again.
//! Its gRPC services are in [`serve`]. Not here: several members, compaction of what is read, NOSPACE.

mod serve;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_proto::v1;
use penstock_store::{Error, Guard, Key, KeyValue, Keys, Memory, Op, Outcome, Range, Store, Txn};

use crate::chance::Dice;
use crate::net;
use crate::oracle::entry;

/// Its host's name.
pub const HOST: &str = "etcd";
/// Its port.
pub const PORT: u16 = 2379;

/// A transaction that committed.
#[derive(Debug, Clone)]
pub struct Commit {
    /// At this revision.
    pub revision: u64,
    /// Milliseconds since the simulation began.
    pub at_ms: u64,
    /// The first candidate at that moment: its key and the revision at which it was created.
    pub leader: Option<(Key, u64)>,
    /// What was asked.
    pub txn: Txn,
}

/// What becomes of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It commits, and no answer leaves.
    AnswerLost,
    /// It commits, and etcd says that it timed out.
    AnsweredWithTimeout,
    /// It never arrives.
    RequestLost,
    /// It commits after this time, when whoever sent it may have given up.
    Late(Duration),
    /// It commits, and the process that sent it is killed before the answer leaves.
    SenderKilled,
}

/// Which append a trap is for.
pub type When = Box<dyn FnMut(&[v1::event::Kind]) -> bool + Send>;

/// A trap that went off.
#[derive(Debug, Clone)]
pub struct Sprung {
    /// The coordinator that sent the append.
    pub node: String,
    /// The entry.
    pub seq: u64,
    /// What became of it.
    pub fate: Fate,
}

/// How often transactions meet a fate, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// [`Fate::AnswerLost`].
    pub answer_lost: u64,
    /// [`Fate::AnsweredWithTimeout`].
    pub timeout: u64,
    /// [`Fate::RequestLost`].
    pub request_lost: u64,
    /// [`Fate::Late`], by up to 4 s.
    pub late: u64,
}

#[derive(Default)]
struct State {
    commits: Vec<Commit>,
    /// What a range was when its first page was read, for its later pages.
    pages: VecDeque<Page>,
    compacted: u64,
    trap: Option<(When, Fate)>,
    sprung: Vec<Sprung>,
    weather: Weather,
    watches_stalled: bool,
}

struct Page {
    revision: u64,
    from: Key,
    to: Key,
    pairs: Vec<KeyValue>,
}

/// A handle; a clone is the same etcd.
#[derive(Clone)]
pub struct Etcd {
    memory: Memory,
    keys: Keys,
    state: Arc<Mutex<State>>,
    dice: Dice,
}

impl Etcd {
    /// An empty one.
    pub fn new(keys: Keys, dice: Dice) -> Self {
        Self { memory: Memory::new(), keys, state: Arc::default(), dice }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One life of its process: what it holds outlives it.
    pub async fn life(self) -> turmoil::Result {
        self.memory.renew_sessions();
        self.serve(net::listen(PORT).await?).await?;
        Ok(())
    }

    /// Every commit so far.
    pub fn commits(&self) -> Vec<Commit> {
        self.state().commits.clone()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.state().commits.len()
    }

    /// Every commit from one on.
    pub fn commits_since(&self, place: usize) -> Vec<Commit> {
        self.state().commits.get(place..).unwrap_or_default().to_vec()
    }

    /// Everything it holds, as it is.
    pub fn pairs(&self) -> Vec<KeyValue> {
        self.memory.pairs()
    }

    /// The next append of a leader for which `when` holds meets this fate.
    pub fn trap(&self, when: impl FnMut(&[v1::event::Kind]) -> bool + Send + 'static, fate: Fate) {
        self.state().trap = Some((Box::new(when), fate));
    }

    /// The traps that went off since the last call.
    pub fn sprung(&self) -> Vec<Sprung> {
        std::mem::take(&mut self.state().sprung)
    }

    /// From now on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Watches wake nobody while this holds.
    pub fn stall_watches(&self, stalled: bool) {
        self.state().watches_stalled = stalled;
    }

    /// No trap, no weather, watches that wake: from now on it is a good etcd.
    pub fn calm(&self) {
        let mut state = self.state();
        state.trap = None;
        state.weather = Weather::default();
        state.watches_stalled = false;
    }

    fn watches_are_stalled(&self) -> bool {
        self.state().watches_stalled
    }

    /// What becomes of a transaction that just arrived.
    fn fate(&self, txn: &Txn) -> Option<Fate> {
        let mut state = self.state();
        if let Some((seq, kinds)) = self.append_of(txn)
            && let Some((mut when, fate)) = state.trap.take()
        {
            if when(&kinds) {
                let node = self.node_of(txn);
                state.sprung.push(Sprung { node, seq, fate });
                return Some(fate);
            }
            state.trap = Some((when, fate));
        }
        let Weather { answer_lost, timeout, request_lost, late } = state.weather;
        if answer_lost + timeout + request_lost + late == 0 {
            return None;
        }
        let drawn = self.dice.number(0, 100);
        let mut limit = 0;
        let mut below = |percent: u64| {
            limit += percent;
            drawn < limit
        };
        if below(answer_lost) {
            Some(Fate::AnswerLost)
        } else if below(timeout) {
            Some(Fate::AnsweredWithTimeout)
        } else if below(request_lost) {
            Some(Fate::RequestLost)
        } else if below(late) {
            Some(Fate::Late(self.dice.millis(100, 4_000)))
        } else {
            None
        }
    }

    /// The entry that a transaction appends, if it is an append.
    fn append_of(&self, txn: &Txn) -> Option<(u64, Vec<v1::event::Kind>)> {
        let [Op::Put(key, value, None)] = txn.then.as_slice() else { return None };
        let seq = self.keys.seq_of(key)?;
        Some((seq.0, entry::read(value).ok()?.events))
    }

    /// Whose candidate key a transaction names.
    fn node_of(&self, txn: &Txn) -> String {
        let candidates = self.keys.candidates();
        let named = txn.guards.iter().find_map(|guard| match guard {
            Guard::CreatedAt(key, _) => key.strip_prefix(&candidates),
            _ => None,
        });
        named.and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned()
    }

    /// Commits or refuses, and records what committed. Nothing in between is awaited, so it is one step.
    async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        let candidates = self.memory.range(Range::prefix(&self.keys.candidates())).await?;
        let leader = candidates.into_iter().min_by_key(|pair| pair.created).map(|pair| (pair.key, pair.created));
        let outcome = self.memory.txn(txn.clone()).await?;
        if let Outcome::Committed(revision) = outcome {
            let at_ms = elapsed_ms();
            self.state().commits.push(Commit { revision, at_ms, leader, txn });
        }
        Ok(outcome)
    }

    /// Pairs in `[from, to)` at a revision, 0 being now, and that revision; `None` where it is no longer known.
    async fn read(&self, from: &str, to: &str, revision: u64) -> Result<Option<(Vec<KeyValue>, u64)>, Error> {
        let now = self.memory.revision();
        if revision == 0 || revision == now {
            let range = Range { to: to.to_owned(), ..Range::key(from).limit(0) };
            return Ok(Some((self.memory.range(range).await?, now)));
        }
        let state = self.state();
        let page = state.pages.iter().find(|p| p.revision == revision && p.from.as_str() <= from && to <= p.to.as_str());
        Ok(page.map(|page| {
            let within = |pair: &&KeyValue| from <= pair.key.as_str() && pair.key.as_str() < to;
            (page.pairs.iter().filter(within).cloned().collect(), revision)
        }))
    }

    /// Keeps what a range is at a revision, for the pages that follow.
    fn keep(&self, from: &str, to: &str, revision: u64, pairs: &[KeyValue]) {
        const KEPT: usize = 64;
        let mut state = self.state();
        if state.pages.len() >= KEPT {
            state.pages.pop_front();
        }
        state.pages.push_back(Page { revision, from: from.to_owned(), to: to.to_owned(), pairs: pairs.to_vec() });
    }

    fn forget_before(&self, revision: u64) -> bool {
        let mut state = self.state();
        if revision <= state.compacted {
            return false;
        }
        state.compacted = revision;
        state.pages.retain(|page| page.revision >= revision);
        true
    }
}

/// Milliseconds since the simulation began.
pub fn elapsed_ms() -> u64 {
    turmoil::sim_elapsed().map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}
