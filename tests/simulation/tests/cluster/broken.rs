//! The oracle itself: a true history, broken in one place as a broken coordinator would, and each break is called by its number.

use bytes::Bytes;
use penstock_proto::v1::event::Kind;
use penstock_proto::v1::{self, State};
use penstock_simulation::etcd::Commit;
use penstock_simulation::oracle::{entry, judge};
use penstock_simulation::user::{Observation, Pipeline, Saw};
use penstock_simulation::world::World;
use penstock_store::{Keys, Op};
use prost::Message;

use super::{log, options};

/// A history that can be changed.
struct History {
    keys: Keys,
    pipelines: Vec<Pipeline>,
    commits: Vec<Commit>,
    seen: Vec<Observation>,
}

impl History {
    fn true_one() -> Self {
        log();
        let mut options = options(1);
        options.plan.cancelled = 0;
        let mut world = World::new(options);
        world.heal();
        world.run(|_| {});
        let (keys, pipelines) = (world.keys().clone(), world.pipelines().to_vec());
        let history = Self { keys, pipelines, commits: world.etcd.commits(), seen: world.notes.all() };
        assert_eq!(history.wrong(), Vec::<String>::new());
        history
    }

    fn wrong(&self) -> Vec<String> {
        judge(&self.keys, &self.pipelines, &self.commits, &self.seen).wrong
    }

    /// Changes the events of every entry, and chains the entries anew.
    fn rewrite(&mut self, mut change: impl FnMut(&mut v1::EntryHeader, &mut Vec<Kind>)) {
        let mut previous = Vec::new();
        let keys = self.keys.clone();
        for op in self.commits.iter_mut().flat_map(|c| c.txn.then.iter_mut()) {
            let Op::Put(key, value, _) = op else { continue };
            if keys.seq_of(key).is_none() {
                continue;
            }
            let mut events = entry::read(value).expect("it is true").events;
            let mut header = v1::Entry::decode(value.as_ref()).expect("it is true").header.expect("it is true");
            change(&mut header, &mut events);
            header.previous = previous.into();
            let events = events.into_iter().map(|kind| v1::Event { kind: Some(kind) }).collect();
            let entry = v1::Entry { header: Some(header), body: v1::Events { events }.encode_to_vec().into(), compressed: false };
            *value = Bytes::from(entry.encode_to_vec());
            previous = blake3::hash(value).as_bytes().to_vec();
        }
    }

    /// The same for the first event that `is` one and is not among the first ten entries.
    fn at_first(&mut self, is: impl Fn(&Kind) -> bool, mut change: impl FnMut(&mut Vec<Kind>, usize)) {
        let mut done = false;
        self.rewrite(|header, events| {
            if let Some(place) = events.iter().position(&is).filter(|_| !done && header.seq > 10) {
                change(events, place);
                done = true;
            }
        });
        assert!(done, "the history has no such event");
    }

    fn is_called(&self, number: &str) {
        let wrong = self.wrong();
        assert!(
            wrong.iter().any(|w| w.starts_with(&format!("{number} ")) || w.starts_with(&format!("{number}:"))),
            "{number} is not called: {wrong:?}"
        );
    }
}

fn leased(kind: &Kind) -> bool {
    matches!(kind, Kind::AttemptLeased(_))
}

fn ended(kind: &Kind) -> bool {
    matches!(kind, Kind::AttemptEnded(_))
}

/// Of the first task of a run, on which others depend.
fn first_ended(kind: &Kind) -> bool {
    matches!(kind, Kind::AttemptEnded(ended) if ended.task == 0)
}

#[test]
fn terms_that_do_not_rise_are_called_l1() {
    let mut history = History::true_one();
    let mut term = None;
    history.rewrite(|header, events| match (&term, events.first()) {
        (None, Some(Kind::TermStarted(_))) => term = events.first().cloned(),
        (Some(first), _) if header.seq == 20 => events.insert(0, first.clone()),
        _ => {}
    });
    history.is_called("L1");
}

#[test]
fn a_write_without_the_leading_term_is_called_l2() {
    let mut history = History::true_one();
    let last = history.commits.iter_mut().rev().find(|c| c.txn.guards.len() == 3).expect("an append");
    last.txn.guards.remove(0);
    history.is_called("L2");
    let mut history = History::true_one();
    history.rewrite(|header, _| {
        if let Some(epoch) = header.epoch.as_mut().filter(|_| header.seq == 20) {
            epoch.revision += 1;
        }
    });
    history.is_called("L2");
}

#[test]
fn a_gap_a_repeat_and_a_fork_of_the_journal_are_called_l3() {
    let is_append = |keys: &Keys, c: &Commit| matches!(&c.txn.then[..], [Op::Put(key, ..)] if keys.seq_of(key).is_some_and(|s| s.0 == 20));
    let mut gap = History::true_one();
    let place = gap.commits.iter().position(|c| is_append(&gap.keys, c)).expect("entry 20");
    let taken = gap.commits.remove(place);
    gap.is_called("L3");
    let mut repeat = gap;
    repeat.commits.insert(place, taken.clone());
    repeat.commits.insert(place, taken);
    repeat.is_called("L3");
    let mut fork = History::true_one();
    let place = fork.commits.iter().position(|c| is_append(&fork.keys, c)).expect("entry 20");
    let Some(Op::Put(_, value, _)) = fork.commits[place].txn.then.first_mut() else { return };
    let mut entry = v1::Entry::decode(value.as_ref()).expect("it is true");
    entry.body = Bytes::new();
    entry.compressed = false;
    *value = entry.encode_to_vec().into();
    fork.is_called("L3");
}

#[test]
fn runs_that_break_their_rules_are_called_by_number() {
    let mut history = History::true_one();
    history.at_first(|k| matches!(k, Kind::RunCreated(_)), |events, place| events.insert(place, events[place].clone()));
    history.is_called("R1");
    let mut history = History::true_one();
    history.at_first(
        |k| matches!(k, Kind::RunCreated(_)),
        |events, place| {
            if let Kind::RunCreated(created) = &mut events[place] {
                created.version = 7;
            }
        },
    );
    history.is_called("R2");
    let mut history = History::true_one();
    history.at_first(|k| matches!(k, Kind::RunEnded(_)), |events, place| events.insert(place, events[place].clone()));
    history.is_called("R3");
    let mut history = History::true_one();
    history.at_first(
        |k| matches!(k, Kind::RunEnded(_)),
        |events, place| {
            if let Kind::RunEnded(ended) = &mut events[place] {
                ended.set_state(State::Failed);
            }
        },
    );
    history.is_called("R4");
    let mut history = History::true_one();
    let saw = Saw::Submitted { run: "nobody-knows-it".to_owned(), created: true, seq: 5 };
    history.seen.push(Observation { at_ms: 1, saw });
    history.is_called("R5");
}

#[test]
fn tasks_that_break_their_rules_are_called_by_number() {
    type Is = fn(&Kind) -> bool;
    type Change = fn(&mut Vec<Kind>, usize);
    let breaks: [(&str, Is, Change); 7] = [
        ("T1", ended, |events, place| {
            if let Kind::AttemptEnded(v1::AttemptEnded { ended: Some(ended), .. }) = &mut events[place] {
                ended.set_state(State::Failed);
            }
        }),
        ("T2", first_ended, |events, place| drop(events.remove(place))),
        ("T3", leased, |events, place| {
            if let Kind::AttemptLeased(lease) = &mut events[place] {
                lease.number += 1;
            }
        }),
        ("T4", leased, |events, place| events.insert(place, events[place].clone())),
        ("T5", ended, |events, place| {
            if let Kind::AttemptEnded(ended) = &mut events[place] {
                ended.fence += 1_000;
            }
        }),
        ("T8", leased, |events, place| {
            if let Kind::AttemptLeased(lease) = &events[place] {
                let cancel = v1::CancelRequested { run: lease.run, reason: "user".to_owned(), ..v1::CancelRequested::default() };
                events.insert(place, Kind::CancelRequested(cancel));
            }
        }),
        // A lease of the very task that just succeeded.
        ("T9", ended, |events, place| {
            if let Kind::AttemptEnded(ended) = &events[place] {
                let (run, task) = (ended.run, ended.task);
                events.insert(
                    place + 1,
                    Kind::AttemptLeased(v1::AttemptLeased { run, task, number: 2, fence: 1_000_000, ..v1::AttemptLeased::default() }),
                );
            }
        }),
    ];
    for (number, is, change) in breaks {
        let mut history = History::true_one();
        history.at_first(is, change);
        history.is_called(number);
    }
}

#[test]
fn a_retry_before_its_time_is_called_t6() {
    let mut history = History::true_one();
    history.at_first(ended, |events, place| {
        let Kind::AttemptEnded(v1::AttemptEnded { run, task, fence, ended: Some(ended), .. }) = &mut events[place] else { return };
        ended.set_state(State::Failed);
        ended.reason = "exit_code".to_owned();
        let (run, task, fence) = (*run, *task, *fence);
        let retry = v1::TaskRetrying { run, task, fence, ended: Some(ended.clone()), not_before_ms: 1_000 };
        let lease = v1::AttemptLeased { run, task, number: 2, fence: 1_000_000, at_ms: 999, ..v1::AttemptLeased::default() };
        events.splice(place..=place, [Kind::TaskRetrying(retry), Kind::AttemptLeased(lease)]);
    });
    history.is_called("T6");
}
