//! Lanes: ready tasks waiting for slots, one lane for each (queue, labels, pool) that tasks ask for. Matching costs what it
//! assigns: a blocked lane never hides another.
//!
//! Within a lane the highest priority goes first, and runs of one priority take turns. Workers of a lane take turns too. The first task
//! of a lane that has a worker but not enough slots of its pool *reserves* the pool: nobody behind it takes a slot before it, so a wide
//! task is not starved by narrow ones. Part of the leader's term: built again from state at takeover.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use penstock_common::{PoolName, QueueName, RunNo, SessionId, WorkerName};

/// What a task asks of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wants {
    pub(crate) queue: QueueName,
    pub(crate) labels: BTreeMap<String, String>,
    /// And of the cluster.
    pub(crate) pool: Option<PoolName>,
}

/// What a worker offers.
#[derive(Debug, Clone)]
pub(crate) struct Offers {
    pub(crate) worker: WorkerName,
    pub(crate) queues: BTreeSet<QueueName>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) slots: u32,
    /// A person drained it; undone by a person.
    pub(crate) drained: bool,
    /// It stops; never undone.
    pub(crate) leaving: bool,
}

impl Offers {
    /// Attached but takes nothing new.
    pub(crate) fn closed(&self) -> bool {
        self.drained || self.leaving
    }

    fn serves(&self, wants: &Wants) -> bool {
        self.queues.contains(&wants.queue) && wants.labels.iter().all(|(k, v)| self.labels.get(k) == Some(v))
    }
}

#[derive(Debug, Default)]
struct Lane {
    /// Those of backfills come last.
    ready: BTreeMap<Rank, Rotation>,
    /// Sessions that serve this lane, and of those the ones with a free slot.
    members: BTreeSet<SessionId>,
    free: BTreeSet<SessionId>,
    last: Option<SessionId>,
    turn: u64,
}

/// What goes first in a lane: what is of no backfill, then what has the higher priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) yields: bool,
    pub(crate) priority: Reverse<i32>,
}

impl Rank {
    pub(crate) fn new(yields: bool, priority: i32) -> Self {
        Self { yields, priority: Reverse(priority) }
    }
}

/// Runs take turns.
#[derive(Debug, Default)]
struct Rotation {
    order: VecDeque<RunNo>,
    /// With the pool slots they want.
    tasks: BTreeMap<RunNo, VecDeque<(u32, u32)>>,
}

/// All lanes and the workers that serve them.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<Wants, Lane>,
    sessions: BTreeMap<SessionId, (Offers, u32)>,
    turns: u64,
}

/// A task taken from its lane, and a session with a free slot for it.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) run: RunNo,
    pub(crate) task: u32,
    pub(crate) session: SessionId,
}

/// What became of a task that was first in its lane.
#[derive(Debug)]
pub(crate) enum Next {
    /// It is to be leased.
    Lease(Match),
    /// It left its lane: it is no longer to be leased.
    Stale(RunNo, u32),
    /// It left its lane: a limit of its run holds it back again.
    HeldBack(RunNo, u32),
    /// It left its lane: it wants more slots than its pool has at all.
    TooWide(RunNo, u32),
}

/// What the caller knows of a task that was queued.
pub(crate) enum Candidate {
    /// It is no longer to be leased.
    Stale,
    /// It is, but a limit of its run was reached while it waited.
    HeldBack,
    /// It is; best not to this worker, which lost it.
    Ready { avoid: Option<WorkerName> },
}

impl Lanes {
    /// A worker is there, with so many slots taken.
    pub(crate) fn attach(&mut self, session: SessionId, offers: Offers, used: u32) {
        for (wants, lane) in &mut self.lanes {
            lane.free.remove(&session);
            if offers.serves(wants) {
                lane.members.insert(session.clone());
            } else {
                lane.members.remove(&session);
            }
        }
        self.sessions.insert(session.clone(), (offers, used));
        self.refresh(&session);
    }

    pub(crate) fn detach(&mut self, session: &SessionId) -> Option<Offers> {
        for lane in self.lanes.values_mut() {
            lane.members.remove(session);
            lane.free.remove(session);
        }
        self.sessions.remove(session).map(|(offers, _)| offers)
    }

    /// A worker takes nothing new, or does again unless it is leaving.
    pub(crate) fn drain(&mut self, session: &SessionId, drained: bool) {
        if let Some((offers, _)) = self.sessions.get_mut(session) {
            offers.drained = drained;
            self.refresh(session);
        }
    }

    /// A worker stops and takes nothing new.
    pub(crate) fn leave(&mut self, session: &SessionId) {
        if let Some((offers, _)) = self.sessions.get_mut(session) {
            offers.leaving = true;
            self.refresh(session);
        }
    }

    /// So many slots of a session are taken now.
    pub(crate) fn set_used(&mut self, session: &SessionId, used: u32) {
        if let Some((_, old)) = self.sessions.get_mut(session) {
            *old = used;
            self.refresh(session);
        }
    }

    fn refresh(&mut self, session: &SessionId) {
        let Some((offers, used)) = self.sessions.get(session) else { return };
        let free = !offers.closed() && *used < offers.slots;
        for lane in self.lanes.values_mut().filter(|l| l.members.contains(session)) {
            if free {
                lane.free.insert(session.clone());
            } else {
                lane.free.remove(session);
            }
        }
    }

    /// A task waits for a slot, and for so many of its pool.
    pub(crate) fn push(&mut self, wants: &Wants, rank: Rank, run: RunNo, task: u32, pool_slots: u32) {
        if !self.lanes.contains_key(wants) {
            let members: BTreeSet<_> = self.sessions.iter().filter(|(_, (o, _))| o.serves(wants)).map(|(s, _)| s.clone()).collect();
            let has_slot = |s: &&SessionId| self.sessions.get(*s).is_some_and(|(o, used)| !o.closed() && *used < o.slots);
            let free = members.iter().filter(has_slot).cloned().collect();
            self.lanes.insert(wants.clone(), Lane { members, free, ..Lane::default() });
        }
        if let Some(lane) = self.lanes.get_mut(wants) {
            lane.push(rank, run, (task, pool_slots));
        }
    }

    /// A task waits for a slot no more. Those that waited longest are found first.
    pub(crate) fn withdraw(&mut self, wants: &Wants, rank: Rank, run: RunNo, task: u32) {
        if let Some(lane) = self.lanes.get_mut(wants) {
            lane.withdraw(rank, run, task);
        }
    }

    /// A run leases nothing more: its queued tasks go, so that none heaps up in a lane that no worker serves.
    pub(crate) fn forget(&mut self, run: RunNo) {
        for lane in self.lanes.values_mut() {
            lane.forget(run);
        }
    }

    /// The next task that a free slot fits, if any. `look` tells whether a queued task is still to be leased, `pool` how many slots of
    /// a pool are free and how many it has, `share` whether backfills may take so many slots more of a pool, given the slots that serve
    /// the queue.
    pub(crate) fn next(
        &mut self,
        mut look: impl FnMut(RunNo, u32) -> Candidate,
        pool: impl Fn(&PoolName) -> (u32, u32),
        share: impl Fn(&Wants, u32, u32) -> bool,
    ) -> Option<Next> {
        let mut reserved: BTreeSet<PoolName> = BTreeSet::new();
        let mut passed: BTreeSet<Wants> = BTreeSet::new();
        loop {
            let wants = self.first_of(&passed)?;
            let lane = self.lanes.get_mut(&wants)?;
            let Some((run, (task, pool_slots))) = lane.peek() else {
                passed.insert(wants);
                continue;
            };
            let avoid = match look(run, task) {
                Candidate::Ready { avoid } => avoid,
                Candidate::Stale => {
                    lane.pop();
                    return Some(Next::Stale(run, task));
                }
                Candidate::HeldBack => {
                    lane.pop();
                    return Some(Next::HeldBack(run, task));
                }
            };
            let yields = lane.ready.keys().next().is_some_and(|rank| rank.yields);
            if yields && !share(&wants, pool_slots, slots_of(&self.sessions, &wants.queue)) {
                passed.insert(wants);
                continue;
            }
            if let Some(name) = &wants.pool {
                let (free, slots) = pool(name);
                if pool_slots > slots {
                    lane.pop();
                    return Some(Next::TooWide(run, task));
                }
                if pool_slots > free || reserved.contains(name) {
                    reserved.insert(name.clone());
                    passed.insert(wants);
                    continue;
                }
            }
            lane.pop();
            let name = |s: &SessionId| self.sessions.get(s).map(|(o, _)| &o.worker);
            let fits = |s: &&SessionId| avoid.is_none() || name(s) != avoid.as_ref();
            let after = lane.last.clone();
            let turn_of = |s: &&SessionId| after.as_ref().is_none_or(|last| *s > last);
            let chosen = lane.free.iter().filter(fits).find(turn_of).or_else(|| lane.free.iter().find(fits)).cloned();
            // Another worker is only better, not needed: a ready task never waits beside a free slot.
            let session = chosen.or_else(|| lane.free.first().cloned())?;
            self.turns += 1;
            lane.turn = self.turns;
            lane.last = Some(session.clone());
            return Some(Next::Lease(Match { run, task, session }));
        }
    }

    /// Of the lanes with a free slot and a task, the one whose turn it is.
    fn first_of(&self, passed: &BTreeSet<Wants>) -> Option<Wants> {
        let open = self.lanes.iter().filter(|(wants, lane)| !lane.free.is_empty() && (passed.is_empty() || !passed.contains(wants)));
        let order = |(wants, lane)| {
            let lane: &Lane = lane;
            Some(((*lane.ready.keys().next()?, lane.turn), wants))
        };
        open.filter_map(order).min_by_key(|(order, _)| *order).map(|(_, wants): (_, &Wants)| wants.clone())
    }

    pub(crate) fn offers(&self, session: &SessionId) -> Option<&Offers> {
        self.sessions.get(session).map(|(offers, _)| offers)
    }

    pub(crate) fn session_of(&self, worker: &WorkerName) -> Option<&SessionId> {
        self.sessions.iter().find(|(_, (o, _))| o.worker == *worker).map(|(s, _)| s)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&SessionId, &Offers, u32)> {
        self.sessions.iter().map(|(s, (o, used))| (s, o, *used))
    }

    /// For explain: how many workers serve these wants, how many of them take new leases, and how many tasks wait in the lane.
    pub(crate) fn lane_view(&self, wants: &Wants) -> (usize, usize, usize) {
        let serving: Vec<_> = self.sessions.values().filter(|(o, _)| o.serves(wants)).collect();
        let open = serving.iter().filter(|(o, _)| !o.closed()).count();
        (serving.len(), open, self.lanes.get(wants).map_or(0, Lane::waiting))
    }

    /// Whether a worker of the lane has a free slot.
    pub(crate) fn has_free(&self, wants: &Wants) -> bool {
        self.lanes.get(wants).is_some_and(|lane| !lane.free.is_empty())
    }

    /// Tasks that wait for slots of a pool.
    pub(crate) fn waiting_for(&self, pool: &PoolName) -> usize {
        self.lanes.iter().filter(|(wants, _)| wants.pool.as_ref() == Some(pool)).map(|(_, lane)| lane.waiting()).sum()
    }

    /// The tasks that would be leased before this one, of those that want the same pool and have a worker.
    pub(crate) fn first_for(&self, pool: &PoolName) -> Option<(RunNo, u32, u32)> {
        let lanes = self.lanes.iter().filter(|(wants, lane)| wants.pool.as_ref() == Some(pool) && !lane.free.is_empty());
        let order = |(_, lane): (&Wants, &Lane)| Some(((*lane.ready.keys().next()?, lane.turn), lane.peek()?));
        lanes.filter_map(order).min_by_key(|(order, _)| *order).map(|(_, (run, (task, slots)))| (run, task, slots))
    }

    /// Ready tasks by queue, for metrics.
    pub(crate) fn depths(&self) -> BTreeMap<QueueName, usize> {
        let mut depths = BTreeMap::new();
        for (wants, lane) in &self.lanes {
            *depths.entry(wants.queue.clone()).or_default() += lane.waiting();
        }
        depths
    }

    /// Every queued task, for comparing with a rebuilt index.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> Vec<(RunNo, u32)> {
        let ready = |lane: &Lane| -> Vec<(RunNo, u32)> {
            let rotations = lane.ready.values().flat_map(|r| r.tasks.iter());
            rotations.flat_map(|(run, tasks)| tasks.iter().map(|(t, _)| (*run, *t))).collect()
        };
        self.lanes.values().flat_map(ready).collect()
    }
}

/// Slots of the workers that serve a queue and take new work.
fn slots_of(sessions: &BTreeMap<SessionId, (Offers, u32)>, queue: &QueueName) -> u32 {
    sessions.values().filter(|(offers, _)| !offers.closed() && offers.queues.contains(queue)).map(|(offers, _)| offers.slots).sum()
}

impl Lane {
    fn push(&mut self, rank: Rank, run: RunNo, task: (u32, u32)) {
        let rotation = self.ready.entry(rank).or_default();
        let tasks = rotation.tasks.entry(run).or_default();
        if tasks.is_empty() {
            rotation.order.push_back(run);
        }
        tasks.push_back(task);
    }

    fn peek(&self) -> Option<(RunNo, (u32, u32))> {
        let rotation = self.ready.values().next()?;
        let run = rotation.order.front()?;
        Some((*run, *rotation.tasks.get(run)?.front()?))
    }

    fn pop(&mut self) -> Option<(RunNo, (u32, u32))> {
        let mut entry = self.ready.first_entry()?;
        let rotation = entry.get_mut();
        let run = rotation.order.pop_front()?;
        let tasks = rotation.tasks.get_mut(&run)?;
        let task = tasks.pop_front()?;
        if tasks.is_empty() {
            rotation.tasks.remove(&run);
        } else {
            rotation.order.push_back(run);
        }
        if rotation.order.is_empty() {
            entry.remove();
        }
        Some((run, task))
    }

    fn withdraw(&mut self, rank: Rank, run: RunNo, task: u32) {
        let Some(rotation) = self.ready.get_mut(&rank) else { return };
        let Some(tasks) = rotation.tasks.get_mut(&run) else { return };
        if let Some(at) = tasks.iter().position(|(waiting, _)| *waiting == task) {
            tasks.remove(at);
        }
        if tasks.is_empty() {
            rotation.tasks.remove(&run);
            rotation.order.retain(|other| *other != run);
        }
        if rotation.order.is_empty() {
            self.ready.remove(&rank);
        }
    }

    fn forget(&mut self, run: RunNo) {
        self.ready.retain(|_, rotation| {
            if rotation.tasks.remove(&run).is_some() {
                rotation.order.retain(|other| *other != run);
            }
            !rotation.order.is_empty()
        });
    }

    fn waiting(&self) -> usize {
        self.ready.values().flat_map(|r| r.tasks.values()).map(VecDeque::len).sum::<usize>()
    }
}
