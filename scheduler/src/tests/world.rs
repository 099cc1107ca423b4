//! A cluster without a network: one leader, replicas, and modelled workers that speak the protocol of `protocol.md` 6.
//!
//! Decisions are held like a driver holds them: events reach followers and effects reach workers only when they are committed, and a
//! failover drops what is not. What clients, time and workers do is in [`super::people`] and [`super::fleet`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use penstock_common::record::Report;
use penstock_common::{Epoch, Event, Fence, Now, RunId, RunNo, Seq, SessionId, Timestamp};

use super::checker::{Asked, Attached, Checker};
use super::model::Worker;
use crate::input::Hello;
use crate::{Answer, Effect, Input, Recall, Rejection, Scheduler, SnapshotRun};

/// Noon of some day: a time that is not 0, so that a forgotten time is seen.
pub(super) const START: i64 = 1_700_000_000_000;

/// A decision that is not durable yet.
#[derive(Debug)]
struct Batch {
    events: Vec<Event>,
    now: i64,
    effects: Vec<Effect>,
    answer: Answer,
    about: About,
}

/// Whom an answer concerns.
#[derive(Debug, Clone)]
enum About {
    Nobody,
    Submit(RunId),
    Report(SessionId, Fence),
}

pub(super) struct World {
    pub(super) leader: Scheduler,
    /// Replays every decided event at once.
    pub(super) mirror: Scheduler,
    /// Replays what is committed.
    pub(super) follower: Scheduler,
    pub(super) checker: Checker,
    pub(super) committed: Vec<(i64, Event)>,
    held: VecDeque<Batch>,
    /// How many decisions may wait to be committed.
    pub(super) hold: usize,
    pub(super) now: i64,
    /// The wall clock is ahead of it by this.
    pub(super) skew: i64,
    /// It is not to be trusted.
    pub(super) distrusted: bool,
    draws: u64,
    seq: u64,
    term: u64,
    pub(super) workers: BTreeMap<&'static str, Worker>,
    /// Runs whose history is being written.
    pub(super) archives: Vec<RunNo>,
    /// What is to be looked up in history.
    pub(super) recalls: Vec<Recall>,
    /// Runs whose history was asked to be written, as it was asked last.
    pub(super) history: BTreeMap<RunId, SnapshotRun>,
    /// Runs whose submit was acknowledged.
    pub(super) acknowledged: BTreeSet<RunId>,
    /// What has been decided since it was last read, in short.
    pub(super) log: Vec<String>,
    /// Effects delivered since they were last read.
    pub(super) delivered: Vec<Effect>,
    steps: u64,
}

impl World {
    /// A cluster with a leader that has started its term.
    pub(super) fn new() -> Self {
        let mut world = Self {
            leader: Scheduler::default(),
            mirror: Scheduler::default(),
            follower: Scheduler::default(),
            checker: Checker::new(),
            committed: Vec::new(),
            held: VecDeque::new(),
            hold: 0,
            now: START,
            skew: 0,
            distrusted: false,
            draws: 0,
            seq: 0,
            term: 0,
            workers: BTreeMap::new(),
            archives: Vec::new(),
            recalls: Vec::new(),
            history: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            log: Vec::new(),
            delivered: Vec::new(),
            steps: 0,
        };
        world.start_term();
        world.log.clear();
        world
    }

    fn start_term(&mut self) {
        self.term += 1;
        let now = self.clock();
        self.leader.lead(now);
        let epoch = Epoch { incarnation: 1, revision: self.term };
        self.feed(Input::StartTerm { epoch, node: "n".parse().unwrap() }).unwrap();
        let owed = self.leader.owed();
        owed.into_iter().for_each(|effect| self.deliver(effect));
    }

    pub(super) fn clock(&mut self) -> Now {
        self.draws += 1;
        Now {
            now: Timestamp(self.now),
            wall: Timestamp(self.now + self.skew),
            may_fire: !self.distrusted,
            random: self.draws.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        }
    }

    /// One step: decide, and check everything that must hold after it.
    pub(super) fn feed(&mut self, input: Input) -> Result<Answer, Rejection> {
        let about = match &input {
            Input::Submit(submit) => About::Submit(submit.run.clone()),
            Input::Report { session, fence, .. } => About::Report(session.clone(), *fence),
            _ => About::Nobody,
        };
        let noted = input.clone();
        self.learn(&input);
        let now = self.clock();
        self.leader.at(Seq(self.seq + 1));
        self.mirror.at(Seq(self.seq + 1));
        let decision = match self.leader.decide(input, now) {
            Ok(decision) => decision,
            Err(rejection) => {
                assert!(self.leader.state() == self.mirror.state(), "a rejection changed state: {rejection}");
                return Err(rejection);
            }
        };
        self.checker.asked = match &noted {
            Input::Rerun { tasks, .. } => Some(Asked::Rerun(tasks.clone())),
            Input::Mark(mark) => Some(Asked::Mark(mark.tasks.clone())),
            _ => None,
        };
        self.note_workers(noted);
        self.checker.observe(&decision.events, now.now);
        decision.events.iter().for_each(|event| self.mirror.replay(event));
        let all_done = self.leader.next_deadline().is_none_or(|at| at > now.now);
        if self.checker.deep {
            assert!(self.leader.state() == self.mirror.state(), "a replica differs after {:?}", decision.events);
            if all_done {
                self.checker.judge(&self.leader, now.now);
            }
            self.steps += 1;
            if self.steps.is_multiple_of(8) {
                self.checker.reloads(&mut self.leader);
            }
        }
        for event in &decision.events {
            let lines = self.brief(event);
            self.log.extend(lines.lines().map(str::to_owned));
        }
        self.seq += u64::from(!decision.events.is_empty());
        let answer = decision.answer.clone();
        self.held.push_back(Batch { events: decision.events, now: self.now, effects: decision.effects, answer: decision.answer, about });
        while self.held.len() > self.hold {
            self.commit();
        }
        Ok(answer)
    }

    /// Blobs are stored before the input that names them is decided, so every replica can load them.
    fn learn(&mut self, input: &Input) {
        let mut learn_items = |items: &Arc<penstock_common::Items>| {
            self.checker.items.insert(items.digest(), items.clone());
            [&mut self.mirror, &mut self.follower].into_iter().for_each(|replica| replica.learn_items(items.clone()));
        };
        match input {
            Input::Report { report, .. } => {
                if let Report::Ended { items: Some(items), .. } = &**report {
                    learn_items(items)
                }
            }
            Input::Reopen { run, items, digest } => {
                items.iter().for_each(&mut learn_items);
                [&mut self.mirror, &mut self.follower].into_iter().for_each(|replica| replica.learn_run(*digest, (**run).clone()));
            }
            _ => {}
        }
    }

    /// What the leader's term must know of workers after an input.
    fn note_workers(&mut self, input: Input) {
        let sessions = &mut self.checker.sessions;
        match input {
            Input::Hello(hello) => {
                let Hello { session, worker, slots, queues, labels, leaving, .. } = *hello;
                sessions.insert(session, Attached { worker, slots, queues, labels, leaving });
            }
            Input::Leaving { session } => sessions.get_mut(&session).unwrap().leaving = true,
            Input::Gone { session, .. } => {
                sessions.remove(&session);
            }
            _ => {}
        }
    }

    /// The oldest decision that is held becomes durable.
    pub(super) fn commit(&mut self) {
        let Some(batch) = self.held.pop_front() else { return };
        for event in batch.events {
            self.follower.replay(&event);
            self.committed.push((batch.now, event));
        }
        batch.effects.into_iter().for_each(|effect| self.deliver(effect));
        match (batch.about, batch.answer) {
            (About::Submit(run), Answer::Run { .. }) => {
                self.acknowledged.insert(run);
            }
            (About::Report(session, fence), Answer::Reported { .. }) => {
                if let Some(worker) = self.of_session(&session) {
                    worker.finished.remove(&fence);
                }
            }
            _ => {}
        }
        if self.held.is_empty() && self.checker.deep {
            assert!(self.follower.state() == self.leader.state(), "the follower differs");
        }
    }

    pub(super) fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    pub(super) fn of_session(&mut self, session: &SessionId) -> Option<&mut Worker> {
        self.workers.values_mut().find(|w| w.session.as_ref() == Some(session))
    }

    fn deliver(&mut self, effect: Effect) {
        self.delivered.push(effect.clone());
        match effect {
            Effect::Lease { session, lease } => {
                let worker = self.of_session(&session).filter(|w| w.connected);
                if let Some(worker) = worker
                    && worker.seen.insert(lease.fence)
                {
                    worker.running.insert(lease.fence, *lease);
                }
            }
            Effect::Cancel { session, fence, .. } => {
                if let Some(worker) = self.of_session(&session).filter(|w| w.connected && w.running.contains_key(&fence)) {
                    worker.stopping.insert(fence);
                }
            }
            Effect::Kill { session, fence } => {
                if let Some(worker) = self.of_session(&session).filter(|w| w.connected) {
                    worker.running.remove(&fence);
                    worker.stopping.remove(&fence);
                }
            }
            Effect::Recall(recall) => self.recalls.push(*recall),
            Effect::Archive(cut) => {
                let tasks = (0..cut.chunks()).flat_map(|chunk| cut.tasks(chunk)).collect();
                self.history.insert(cut.record.id.clone(), SnapshotRun { record: cut.record.clone(), tasks });
                self.archives.push(cut.record.no);
            }
        }
    }

    /// The leader is lost with all that is not committed; the follower takes over. Workers have not said Hello yet.
    pub(super) fn fail_over(&mut self) {
        self.held.clear();
        self.archives.clear();
        self.recalls.clear();
        self.workers.values_mut().for_each(|w| w.connected = false);
        self.checker = self.checker.reread(&self.committed);
        // The new follower starts from a checkpoint, so replay after a restore is compared too.
        self.mirror = self.checker.reloads(&mut self.follower);
        let follower = self.checker.reloads(&mut self.follower);
        self.leader = std::mem::replace(&mut self.follower, follower);
        self.start_term();
        self.commit_all();
    }
}
