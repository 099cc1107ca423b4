//! The judge. It reads every commit that the simulated etcd recorded and what the user saw, and knows nothing of the coordinator's
//! code: entries are read by their wire format ([`entry`]), states by a model of its own ([`model`]).
//!
//! L1, L2, L3, R1, R2, R3, R4, R5, T1, T2, T3, T4, T5, T6, T8 and T9 are judged at every entry.

pub mod entry;
pub mod model;

use penstock_proto::v1::State;
use penstock_store::{Guard, Keys, Op};

use crate::etcd::Commit;
use crate::user::{Observation, Pipeline, Saw};
use model::Model;

/// Judges a history; the model's `wrong` is empty if all holds.
pub fn judge(keys: &Keys, pipelines: &[Pipeline], commits: &[Commit], seen: &[Observation]) -> Model {
    let mut model = Model::new(pipelines);
    let mut journal = Journal { keys, next: 0, first: 0, digest: Vec::new() };
    let mut wrong = Vec::new();
    for commit in commits {
        if let Err(what) = fenced(keys, commit) {
            wrong.push(format!("L2 at revision {}: {what}", commit.revision));
        }
        for op in &commit.txn.then {
            match journal.follow(op) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    let led = commit.leader.as_ref().map_or(0, |(_, created)| *created);
                    if entry.seq > 0 && entry.epoch.1 != led {
                        wrong.push(format!("L2 at entry {}: it is of term {:?} while {led} leads", entry.seq, entry.epoch));
                    }
                    model.take(entry.seq, entry.epoch, &entry.events);
                }
                Err(what) => wrong.push(format!("L3 at revision {}: {what}", commit.revision)),
            }
        }
    }
    wrong.extend(
        seen.iter().filter_map(|observation| agrees(&model, observation).err().map(|what| format!("{what} (seen: {observation:?})"))),
    );
    model.wrong.extend(wrong);
    model
}

/// L2: who changes anything but candidate keys, or creates the cluster, names the term that leads.
fn fenced(keys: &Keys, commit: &Commit) -> Result<(), String> {
    let candidates = keys.candidates();
    let of_candidate = |op: &Op| match op {
        Op::Put(key, ..) | Op::Delete(key) => key.starts_with(&candidates),
        Op::DeleteRange(..) => false,
    };
    let creates = commit.txn.guards.contains(&Guard::Absent(keys.meta()));
    if creates || commit.txn.then.iter().all(of_candidate) {
        return Ok(());
    }
    let Some((key, created)) = &commit.leader else { return Err("nobody leads".to_owned()) };
    if commit.txn.guards.contains(&Guard::CreatedAt(key.clone(), *created)) {
        return Ok(());
    }
    Err(format!("{key} leads since {created}, and this does not name it: {:?}", commit.txn.guards))
}

/// L3: the journal's chain.
struct Journal<'a> {
    keys: &'a Keys,
    next: u64,
    first: u64,
    digest: Vec<u8>,
}

impl Journal<'_> {
    fn follow(&mut self, op: &Op) -> Result<Option<entry::Entry>, String> {
        match op {
            Op::Put(key, value, _) => {
                let Some(seq) = self.keys.seq_of(key) else { return Ok(None) };
                if seq.0 != self.next {
                    return Err(format!("entry {seq} is put where {} is next", self.next));
                }
                let entry = entry::read(value).map_err(|e| format!("entry {seq}: {e}"))?;
                if entry.seq != seq.0 || entry.previous != self.digest {
                    return Err(format!("entry {seq} says that it is {} and does not follow the one before it", entry.seq));
                }
                self.next += 1;
                self.digest = blake3::hash(value).as_bytes().to_vec();
                Ok(Some(entry))
            }
            Op::Delete(key) if self.keys.seq_of(key).is_some() => Err(format!("{key} is deleted alone")),
            Op::DeleteRange(from, to) if from.starts_with(&self.keys.journal()) => {
                let (Some(from), Some(to)) = (self.keys.seq_of(from), self.keys.seq_of(to)) else {
                    return Err(format!("{from}..{to} is trimmed"));
                };
                if from.0 > self.first || to.0 >= self.next {
                    return Err(format!("entries {from} to {to} are trimmed of {} to {}", self.first, self.next));
                }
                self.first = self.first.max(to.0);
                Ok(None)
            }
            Op::Delete(_) | Op::DeleteRange(..) => Ok(None),
        }
    }
}

/// What the user saw is what the journal says.
fn agrees(model: &Model, observation: &Observation) -> Result<(), String> {
    let known = |id: &str| model.run(id).ok_or_else(|| format!("R5: run {id} was acknowledged and does not exist"));
    match &observation.saw {
        Saw::Submitted { run, created, seq } => {
            let found = known(run)?;
            if *created && found.created_seq != *seq {
                return Err(format!("R5: run {run} was created by entry {}", found.created_seq));
            }
        }
        Saw::Cancelled { run, .. } => {
            let found = known(run)?;
            if !found.cancelled && found.state != State::Success && found.state != State::Failed {
                return Err(format!("R5: the cancel of {run} was acknowledged, and the journal does not know it"));
            }
        }
        Saw::Ended { run, state, tasks } => {
            let found = known(run)?;
            let told: Vec<_> = found.tasks.iter().map(|task| (task.state, task.fences.clone())).collect();
            if found.state != *state || told != *tasks {
                return Err(format!("X3: the journal says {:?}, {told:?}", found.state));
            }
        }
        Saw::Registered { .. } | Saw::NoAnswer { .. } | Saw::Note(_) => {}
    }
    Ok(())
}

/// Runs that have not ended, as the journal tells.
pub fn open_runs(model: &Model) -> Vec<String> {
    let open = |run: &&model::Run| !matches!(run.state, State::Success | State::Failed | State::Cancelled | State::Skipped);
    model.runs.values().filter(open).map(|run| format!("{} is {:?}: {:?}", run.id, run.state, run.tasks)).collect()
}
