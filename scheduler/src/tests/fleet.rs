//! What time and workers do in a [`World`].

use std::sync::Arc;

use penstock_common::{Fence, Millis, SessionId, Timestamp};

use super::model::{Outcome, Worker, report};
use super::world::World;
use crate::input::Hello;
use crate::{Announced, Answer, Input, Rejection};

impl World {
    pub(super) fn tick(&mut self) {
        self.feed(Input::Tick).unwrap();
    }

    /// Time passes, and the leader is woken at each deadline on the way.
    pub(super) fn pass(&mut self, time: Millis) {
        let until = Timestamp(self.now).after(time);
        while let Some(at) = self.leader.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at.0);
            self.tick();
        }
        self.now = until.0;
    }

    /// Ticks until nothing is left over; returns how many it took.
    pub(super) fn settle(&mut self) -> usize {
        let mut ticks = 0;
        while self.leader.next_deadline().is_some_and(|at| at.0 <= self.now) {
            self.tick();
            ticks += 1;
        }
        ticks
    }

    /// Defines a worker that serves the default queue, and attaches it.
    pub(super) fn attach(&mut self, name: &'static str, slots: u32) {
        self.attach_with(name, slots, &["default"], &[]);
    }

    pub(super) fn attach_with(&mut self, name: &'static str, slots: u32, queues: &[&'static str], labels: &[(&'static str, &'static str)]) {
        self.define(name, slots, queues, labels);
        self.hello(name);
    }

    pub(super) fn define(&mut self, name: &'static str, slots: u32, queues: &[&'static str], labels: &[(&'static str, &'static str)]) {
        let worker = self.workers.entry(name).or_default();
        (worker.slots, worker.queues, worker.labels) = (slots, queues.to_vec(), labels.to_vec());
    }

    /// A worker says Hello, in a new life if it has none. If its name is taken by its former life, that is over.
    pub(super) fn hello(&mut self, name: &'static str) {
        let worker = self.workers.get_mut(name).unwrap();
        if worker.session.is_none() {
            let Worker { slots, queues, labels, lives, .. } = std::mem::take(worker);
            let session = Some(format!("{name}.{}", lives + 1).parse().unwrap());
            *worker = Worker { session, slots, queues, labels, lives: lives + 1, ..Worker::default() };
        }
        worker.connected = true;
        let session = worker.session.clone().unwrap();
        let hello = Hello {
            session,
            worker: name.parse().unwrap(),
            slots: worker.slots,
            queues: worker.queues.iter().map(|q| q.parse().unwrap()).collect(),
            labels: worker.labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            leaving: worker.leaving,
            announced: Announced { running: worker.running.keys().copied().collect(), finished: worker.finished.keys().copied().collect() },
        };
        if let Err(rejection) = self.feed(Input::Hello(Box::new(hello.clone()))) {
            let Rejection::WorkerNameTaken { other, .. } = rejection else { panic!("{rejection}") };
            self.gone(&other, true);
            self.feed(Input::Hello(Box::new(hello))).unwrap();
        }
    }

    pub(super) fn gone(&mut self, session: &SessionId, died: bool) {
        self.feed(Input::Gone { session: session.clone(), died, detail: Arc::from("gone") }).unwrap();
    }

    /// The worker's process ends, and with it its attempts; the leader is not told.
    pub(super) fn die(&mut self, name: &str) -> Option<SessionId> {
        let worker = self.workers.get_mut(name).unwrap();
        worker.connected = false;
        worker.running.clear();
        worker.finished.clear();
        worker.session.take()
    }

    /// The worker's process ends, and the leader sees it.
    pub(super) fn kill(&mut self, name: &str) {
        if let Some(session) = self.die(name) {
            self.gone(&session, true);
        }
    }

    /// The worker runs on but its stream is cut; its session is over for the leader.
    pub(super) fn silence(&mut self, name: &str) {
        let worker = self.workers.get_mut(name).unwrap();
        worker.connected = false;
        if let Some(session) = worker.session.clone() {
            self.gone(&session, false);
        }
    }

    /// The fence under which a worker runs a task.
    pub(super) fn fence(&self, worker: &str, task: &str) -> Fence {
        let running = &self.workers[worker].running;
        *running.iter().find(|(_, l)| l.task.to_string() == task).unwrap_or_else(|| panic!("{worker} does not run {task}: {running:?}")).0
    }

    /// A program ends, and its worker reports it if it can.
    pub(super) fn finish(&mut self, worker: &str, fence: Fence, outcome: &Outcome) -> Option<Answer> {
        let report = report(outcome, self.now);
        let model = self.workers.get_mut(worker).unwrap();
        model.running.remove(&fence);
        model.stopping.remove(&fence);
        model.finished.insert(fence, report);
        self.report(worker, fence)
    }

    /// A worker reports, first or again, an attempt that ended.
    pub(super) fn report(&mut self, worker: &str, fence: Fence) -> Option<Answer> {
        let model = &self.workers[worker];
        let (Some(session), true) = (model.session.clone(), model.connected) else { return None };
        let report = Box::new(model.finished.get(&fence).cloned()?);
        Some(self.feed(Input::Report { session, fence, report }).unwrap())
    }

    /// The program of a task ends on worker `w`.
    pub(super) fn end(&mut self, task: &str, outcome: &Outcome) {
        self.end_on("w", task, outcome);
    }

    pub(super) fn end_on(&mut self, worker: &str, task: &str, outcome: &Outcome) {
        let fence = self.fence(worker, task);
        self.finish(worker, fence, outcome).unwrap();
    }

    /// Every program that runs succeeds, until none runs.
    pub(super) fn succeed_all(&mut self) {
        while let Some((name, fence)) = self.any_running() {
            self.finish(name, fence, &Outcome::Success);
            self.settle();
        }
    }

    /// An attempt that a connected worker runs.
    pub(super) fn any_running(&self) -> Option<(&'static str, Fence)> {
        let connected = self.workers.iter().filter(|(_, w)| w.connected);
        connected.filter_map(|(name, w)| w.running.keys().next().map(|f| (*name, *f))).next()
    }
}
