//! The leader's loop: group commit.
//!
//! ```text
//!  queues ──▶ decide ──▶ batch (events, held effects and replies) ──▶ append, one in flight ──▶ release ──▶ workers, clients
//! ```
//!
//! Nothing leaves before its events are durable: leases, acknowledgements, answers, and reads of what is not durable yet.
//! While an append is in flight the next batch is decided, so batches grow with load. When leadership is lost everything held
//! is dropped: whoever waits asks again, with the same id.

mod dispatch;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use penstock_common::limits::{BATCH_BYTES, COORDINATOR_SESSION_S, MAX_INPUTS_PER_BATCH};
use penstock_common::record::Report;
use penstock_common::{Digest, Epoch, Event, Fence, NodeName, Seq, SessionId};
use penstock_proto::encode_events;
use penstock_scheduler::{Answer, Decision, Input, Recall, Rejection, RunCut};
use penstock_store::{Candidacy, Error as StoreError, Fenced, FencedError, blobs};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::archive::{self, History, Retention};
use crate::checkpoint::{Due, Policy};
use crate::chores::{keep_house, watch_candidates, write_checkpoints};
use crate::clock::{Clock, TermClock};
use crate::entry::{self, Header};
use crate::files::{FileTrouble, watch_files};
use crate::handle::{AsOf, Command, Handle, Queues, Read, Refusal, Reported, Role, Subscribe};
use crate::held::{Batch, Held, InFlight, Work};
use crate::replica::Replica;
use crate::sessions::{Lost, Sessions};
use crate::sweep::{Unnamed, look_for_blobs};
use crate::watch::Watchers;

/// Why a term ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Asked to: everything decided is durable.
    Stepped,
    /// Another leads, or the session is over: what was held is dropped.
    Deposed(String),
}

/// What a term needs from its node.
pub(crate) struct Term<'a> {
    pub(crate) replica: &'a mut Replica,
    pub(crate) queues: &'a mut Queues,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) candidacy: &'a Candidacy,
    pub(crate) node: &'a NodeName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    pub(crate) retention: Retention,
    /// For what the leader does beside its loop and decides through it.
    pub(crate) handle: Handle,
}

struct Driver<'a> {
    term: Term<'a>,
    fenced: Fenced,
    header: Header,
    time: TermClock,
    batch: Batch,
    in_flight: Option<InFlight>,
    archivist: mpsc::Sender<RunCut>,
    to_archive: VecDeque<RunCut>,
    recaller: mpsc::Sender<Recall>,
    to_recall: VecDeque<Recall>,
    checkpoints: mpsc::Sender<Due>,
    checkpointing: bool,
    since_checkpoint: (u64, usize, Instant),
    last_turn: Instant,
    /// Definitions being stored before they are decided on.
    storing: Option<Storing>,
    /// Blobs being deleted: none is stored meanwhile.
    sweeping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    unnamed: Unnamed,
    /// Commands whose definitions are stored after that one.
    to_store: VecDeque<Command>,
    /// Taken from the queues, not yet decided: a batch has room for so much only.
    waiting: VecDeque<Work>,
}

/// A definition being stored, and the command that waits for it.
type Storing = Pin<Box<dyn Future<Output = (Command, Result<(), FencedError>)> + Send>>;

const LIVENESS_TURN: Duration = Duration::from_millis(100);

/// Leads until deposed or told to step down.
pub(crate) async fn lead(term: Term<'_>, stop: &mut tokio::sync::watch::Receiver<bool>) -> Ended {
    let fenced = term.candidacy.fenced();
    let keys = term.replica.journal.keys().clone();
    let (archivist, runs) = mpsc::channel(256);
    let (history_tx, of_history) = mpsc::channel(1_024);
    let (recaller, recalls) = mpsc::channel(64);
    let (checkpoints, due) = mpsc::channel(1);
    let (written_tx, written) = mpsc::channel(1);
    let (deposed_tx, deposed) = mpsc::channel(1);
    let (blobs_tx, found_blobs) = mpsc::channel(1);
    let tasks = [
        tokio::spawn(look_for_blobs(fenced.clone(), keys.clone(), blobs_tx)),
        tokio::spawn(watch_candidates(fenced.clone(), keys.clone(), deposed_tx)),
        tokio::spawn(archive::archivist(fenced.clone(), keys.clone(), runs, history_tx.clone())),
        tokio::spawn(archive::recaller(History { store: fenced.store().clone(), keys: keys.clone() }, recalls, history_tx)),
        tokio::spawn(write_checkpoints(fenced.clone(), term.replica.journal.clone(), term.policy, due, written_tx)),
        tokio::spawn(keep_house(fenced.clone(), keys, term.retention, term.clock.clone(), term.queues.trouble.clone())),
        tokio::spawn(watch_files(term.handle.clone(), term.clock.clone(), term.queues.file_trouble.clone())),
    ];
    let epoch = Epoch { incarnation: term.replica.incarnation, revision: term.candidacy.created() };
    let time = TermClock::start(&*term.clock, term.replica.now);
    let header = Header { cluster: term.replica.cluster.clone(), epoch };
    let mut driver = Driver {
        fenced,
        header,
        time,
        batch: Batch::default(),
        in_flight: None,
        archivist,
        to_archive: VecDeque::new(),
        recaller,
        to_recall: VecDeque::new(),
        checkpoints,
        checkpointing: false,
        since_checkpoint: (term.replica.seq.0 - term.replica.checkpoint.0, 0, Instant::now()),
        last_turn: Instant::now(),
        storing: None,
        sweeping: None,
        unnamed: Unnamed::default(),
        to_store: VecDeque::new(),
        waiting: VecDeque::new(),
        term,
    };
    let ended = driver.run(epoch, stop, of_history, written, deposed, found_blobs).await;
    for task in tasks {
        task.abort();
    }
    driver.term.queues.trouble.send_replace(None);
    driver.term.queues.clock_trouble.send_replace(None);
    driver.term.queues.file_trouble.send_replace(FileTrouble::new());
    driver.term.replica.watchers.clear();
    tracing::info!(%epoch, ?ended, "the term is over");
    ended
}

impl Driver<'_> {
    async fn run(
        &mut self,
        epoch: Epoch,
        stop: &mut tokio::sync::watch::Receiver<bool>,
        mut of_history: mpsc::Receiver<Input>,
        mut written: mpsc::Receiver<Option<(u64, Seq)>>,
        mut deposed: mpsc::Receiver<String>,
        mut found_blobs: mpsc::Receiver<BTreeSet<Digest>>,
    ) -> Ended {
        // TermStarted is durable before anything else is decided.
        let now = self.time.now(&*self.term.clock);
        self.term.replica.scheduler.lead(now);
        self.decide(Input::StartTerm { epoch, node: self.term.node.clone() });
        self.close_batch();
        let outcome = match &mut self.in_flight {
            Some(started) => (&mut started.append).await,
            None => return Ended::Deposed("TermStarted was not decided".to_owned()),
        };
        if let Err(ended) = self.committed(outcome) {
            return ended;
        }
        self.term.sessions.expect(self.term.replica.scheduler.holding_sessions(), self.term.candidacy.validity());
        let owed = self.term.replica.scheduler.owed();
        self.release_effects(owed);
        self.term.queues.role.send_replace(Role::Leader(epoch));
        tracing::info!(%epoch, seq = self.term.replica.seq.0, "leading");

        let mut liveness = tokio::time::interval(LIVENESS_TURN);
        liveness.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut validity = self.term.candidacy.validity();
        let (mut reports, mut commands, mut submits, mut reads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        loop {
            if *stop.borrow() && self.in_flight.is_none() && self.batch.events.is_empty() && self.waiting.is_empty() {
                return Ended::Stepped;
            }
            let open = self.is_open(*stop.borrow());
            let tick = self.term.replica.scheduler.next_deadline().map(|at| self.time.instant(at));
            let queues = &mut *self.term.queues;
            tokio::select! {
                biased;
                outcome = async { match &mut self.in_flight { Some(f) => (&mut f.append).await, None => std::future::pending().await } } => {
                    if let Err(ended) = self.committed(outcome) {
                        return ended;
                    }
                }
                _ = liveness.tick() => {
                    if let Some(ended) = self.watch_over(&validity) {
                        return ended;
                    }
                }
                Some(why) = deposed.recv() => return Ended::Deposed(why),
                changed = validity.changed() => {
                    if changed.is_err() || validity.borrow().is_none() {
                        return Ended::Deposed("the session in the store is over".to_owned());
                    }
                }
                n = queues.reports.recv_many(&mut reports, 64), if open => {
                    if n == 0 { return Ended::Stepped; }
                    for Reported { session, reports } in reports.drain(..) {
                        self.waiting.extend(reports.into_iter().map(|(fence, report)| Work::Report(session.clone(), fence, report)));
                    }
                }
                () = async { match tick { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } }, if open => self.decide(Input::Tick),
                (command, stored) = async { match &mut self.storing { Some(s) => s.await, None => std::future::pending().await } } => {
                    self.stored(command, stored);
                }
                n = queues.commands.recv_many(&mut commands, 1), if open => {
                    if n == 0 { return Ended::Stepped; }
                    self.waiting.extend(commands.drain(..).map(Work::Command));
                }
                n = queues.reads.recv_many(&mut reads, 64) => {
                    if n == 0 { return Ended::Stepped; }
                    for read in reads.drain(..) { self.read(read); }
                }
                subscribe = queues.subscriptions.recv() => match subscribe {
                    Some(subscribe) => self.subscribe(subscribe),
                    None => return Ended::Stepped,
                },
                Some(found) = found_blobs.recv(), if self.storing.is_none() && self.sweeping.is_none() => self.sweep(&found),
                () = async { match &mut self.sweeping { Some(s) => s.await, None => std::future::pending().await } } => {
                    self.sweeping = None;
                    if let Some(next) = self.to_store.pop_front() {
                        self.command(next);
                    }
                }
                Some(input) = of_history.recv(), if open => self.decide(input),
                Some(done) = written.recv() => {
                    self.checkpointing = false;
                    if let Some((number, seq)) = done {
                        self.term.replica.cut_since = number;
                        self.term.replica.checkpoint = seq;
                        self.term.queues.checkpoint.send_replace(seq);
                    }
                }
                n = queues.submits.recv_many(&mut submits, 64), if open => {
                    if n == 0 { return Ended::Stepped; }
                    self.waiting.extend(submits.drain(..).map(Work::Command));
                }
                _ = stop.changed() => {}
            }
            self.decide_waiting();
            if self.is_open(*stop.borrow()) {
                self.take_commands();
                self.decide_waiting();
            }
            self.feed_history();
            self.send_or_settle();
        }
    }

    /// Decides one input whose answer nobody waits for.
    fn decide(&mut self, input: Input) {
        if let Err(rejection) = self.try_decide(input) {
            tracing::debug!(%rejection, "an input of the coordinator itself was refused");
        }
    }

    fn try_decide(&mut self, input: Input) -> Result<Answer, Rejection> {
        let now = self.time.now(&*self.term.clock);
        let seq = Seq(self.next_seq());
        let replica = &mut *self.term.replica;
        replica.scheduler.at(seq);
        let Decision { events, effects, answer } = replica.scheduler.decide(input, now)?;
        // What yields no event takes no room in an entry.
        self.batch.inputs += usize::from(!events.is_empty());
        for event in &events {
            replica.watchers.observe(&replica.scheduler, event);
            note(event);
        }
        self.batch.events.extend(encode_events(events));
        self.batch.held.effects.extend(effects);
        Ok(answer)
    }

    /// A definition is stored, or not: its command is decided, or refused; and the next one's turn has come.
    fn stored(&mut self, command: Command, stored: Result<(), FencedError>) {
        self.storing = None;
        match stored {
            Ok(()) => self.command(Command { blob: None, ..command }),
            Err(FencedError::Store(error @ StoreError::NoSpace(_))) => {
                drop(command.reply.send(Err(Refusal::NoSpace(format!("the definition could not be stored: {error}")))));
            }
            Err(error) => {
                tracing::warn!(%error, "a definition could not be stored");
                drop(command.reply.send(Err(Refusal::Interrupted)));
            }
        }
        if let Some(next) = self.to_store.pop_front() {
            self.command(next);
        }
    }

    /// Deletes blobs that nothing has named for long.
    fn sweep(&mut self, found: &BTreeSet<Digest>) {
        let named = self.term.replica.scheduler.named();
        self.term.replica.scheduler.forget_unnamed(&named);
        let (seq, checkpoint) = (self.term.replica.seq, self.term.replica.checkpoint);
        let old = self.unnamed.old(found, &named, Instant::now(), seq, checkpoint);
        if old.is_empty() {
            return;
        }
        let (fenced, keys) = (self.fenced.clone(), self.term.replica.journal.keys().clone());
        self.sweeping = Some(Box::pin(async move {
            match blobs::delete(&fenced, &keys, &old).await {
                Ok(()) => tracing::info!(blobs = old.len(), "deleted what nothing names any more"),
                Err(error) => tracing::warn!(%error, "old blobs could not be deleted"),
            }
        }));
    }

    /// The seq that the batch in the making will have.
    fn next_seq(&self) -> u64 {
        self.in_flight.as_ref().map_or(self.term.replica.seq.0, |f| f.seq.0) + 1
    }

    fn command(&mut self, command: Command) {
        if let Some((digest, blob)) = command.blob.clone() {
            if self.storing.is_some() || self.sweeping.is_some() {
                self.to_store.push_back(command);
                return;
            }
            let (fenced, keys) = (self.fenced.clone(), self.term.replica.journal.keys().clone());
            self.storing = Some(Box::pin(async move {
                let stored = blobs::write(&fenced, &keys, &digest, &blob).await;
                (command, stored)
            }));
            return;
        }
        // A rejection tells of state too: it waits like an answer.
        let answer = self.try_decide(command.input).map_err(Refusal::from);
        self.batch.held.replies.push((command.reply, answer));
    }

    /// Commands and submits have a turn each time round, however many reports there are.
    fn take_commands(&mut self) {
        let queues = &mut *self.term.queues;
        self.waiting.extend(queues.commands.try_recv().ok().map(Work::Command));
        for _ in 0..64 {
            match queues.submits.try_recv() {
                Ok(command) => self.waiting.push_back(Work::Command(command)),
                Err(_) => return,
            }
        }
    }

    /// Whether more is taken from the queues.
    fn is_open(&self, stopping: bool) -> bool {
        let full = self.term.queues.trouble.borrow().as_ref().is_some_and(|trouble| trouble.full);
        !stopping && !full && self.waiting.is_empty() && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.batch.inputs < MAX_INPUTS_PER_BATCH && self.batch.events.len() < BATCH_BYTES
    }

    fn decide_waiting(&mut self) {
        while self.has_room() {
            match self.waiting.pop_front() {
                Some(Work::Report(session, fence, report)) => self.report(session, fence, report),
                Some(Work::Command(command)) => self.command(command),
                Some(Work::Gone(input)) => self.decide(input),
                None => return,
            }
        }
    }

    fn report(&mut self, session: SessionId, fence: Fence, report: Report) {
        let answer = self.try_decide(Input::Report { session: session.clone(), fence, report: Box::new(report) });
        let acks = self.batch.held.acks.entry(session).or_default();
        match answer {
            Ok(Answer::Reported { current: true }) => acks.recorded.push(fence.0),
            _ => acks.stale.push(fence.0),
        }
    }

    /// A read is held until what it saw is durable.
    fn read(&mut self, read: Read) {
        let seq = Seq(self.next_seq() - u64::from(self.batch.events.is_empty()));
        let stuck = self.term.queues.trouble.borrow().as_ref().is_some_and(|trouble| trouble.full);
        let reply = read(&self.term.replica.scheduler, AsOf { seq, age_ms: 0 });
        if stuck {
            // The store takes nothing at the moment: reads go on, of what will be written first.
            reply();
        } else {
            self.batch.held.reads.push(reply);
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe) {
        let Subscribe { run, sender, found } = subscribe;
        let seq = Seq(self.next_seq() - u64::from(self.batch.events.is_empty()));
        let replica = &mut *self.term.replica;
        let Some(pages) = Watchers::snapshot(&replica.scheduler, &run, seq) else {
            let _ = found.send(false);
            return;
        };
        // A run that has ended is shown once: its stream ends then.
        if replica.scheduler.run(&run).is_some_and(|run| !run.state.is_terminal()) {
            replica.watchers.add(run, sender.clone());
        }
        self.read(Box::new(move |_, _| {
            Box::new(move || {
                for page in pages {
                    if sender.try_send(page).is_err() {
                        break;
                    }
                }
                let _ = found.send(true);
            })
        }));
    }

    /// Sends the batch if nothing is in flight. A batch without events has nothing to wait for but what is in flight already.
    fn send_or_settle(&mut self) {
        if !self.batch.events.is_empty() {
            if self.in_flight.is_none() {
                self.close_batch();
            }
            return;
        }
        let held = std::mem::take(&mut self.batch.held);
        match &mut self.in_flight {
            Some(in_flight) => in_flight.held.absorb(held),
            None => self.release(held),
        }
    }

    /// Sends the batch. The cut of a checkpoint is taken here, where state is exactly that of the entry.
    fn close_batch(&mut self) {
        let Batch { events, mut held, .. } = std::mem::take(&mut self.batch);
        let seq = Seq(self.next_seq());
        let now = self.time.now(&*self.term.clock);
        let entry = entry::encode(&self.header, seq, now.now, now.wall, self.term.replica.digest, events);
        held.changes = self.term.replica.watchers.collect(&self.term.replica.scheduler, seq);
        self.since_checkpoint.0 += 1;
        self.since_checkpoint.1 += entry.len();
        let (entries, bytes, since) = self.since_checkpoint;
        let policy = &self.term.policy;
        let due = entries >= policy.entries || bytes >= policy.bytes || since.elapsed() >= policy.age;
        if due && !self.checkpointing {
            self.checkpointing = true;
            self.since_checkpoint = (0, 0, Instant::now());
            held.cut = Some(self.term.replica.scheduler.cut(self.term.replica.cut_since));
        }
        let (journal, fenced, bytes) = (self.term.replica.journal.clone(), self.fenced.clone(), entry.clone());
        let give_up = Duration::from_secs(COORDINATOR_SESSION_S as u64) / 2;
        self.in_flight = Some(InFlight {
            append: Box::pin(async move { journal.append(&fenced, seq, bytes, give_up).await }),
            seq,
            digest: Digest::of(&entry),
            now: now.now,
            bytes: entry.len(),
            held,
        });
    }

    /// The entry is durable: releases what waited for it.
    fn committed(&mut self, outcome: Result<u64, FencedError>) -> Result<(), Ended> {
        let Some(done) = self.in_flight.take() else { return Ok(()) };
        let revision = outcome.map_err(|error| Ended::Deposed(format!("append of entry {}: {error}", done.seq)))?;
        tracing::trace!(seq = done.seq.0, bytes = done.bytes, "committed");
        let replica = &mut *self.term.replica;
        replica.seq = done.seq;
        replica.digest = Some(done.digest);
        replica.now = done.now;
        let mut held = done.held;
        let cut = held.cut.take();
        self.release(held);
        if let Some(cut) = cut {
            let due = Due { cut, entry_digest: done.digest, now: done.now, revision };
            if self.checkpoints.try_send(due).is_err() {
                self.checkpointing = false;
            }
        }
        Ok(())
    }

    /// What was held may leave: everything it tells is durable.
    fn release(&mut self, held: Held) {
        let seq = self.term.replica.seq;
        self.release_effects(held.effects);
        for (session, acks) in held.acks {
            self.acknowledge(&session, acks);
        }
        for (reply, answer) in held.replies {
            drop(reply.send(answer.map(|answer| (answer, seq))));
        }
        for reply in held.reads {
            reply();
        }
        self.term.replica.watchers.send(held.changes);
    }

    fn feed_history(&mut self) {
        while let Some(recall) = self.to_recall.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(recall)) = self.recaller.try_send(recall) {
                self.to_recall.push_front(recall);
                break;
            }
        }
        while let Some(cut) = self.to_archive.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(cut)) = self.archivist.try_send(cut) {
                self.to_archive.push_front(cut);
                return;
            }
        }
    }

    /// Sessions that are over, our own among them.
    fn watch_over(&mut self, validity: &tokio::sync::watch::Receiver<Option<Instant>>) -> Option<Ended> {
        let now = Instant::now();
        if validity.borrow().is_none_or(|until| until <= now) {
            return Some(Ended::Deposed("the store did not confirm the session in time".to_owned()));
        }
        if now.duration_since(self.last_turn) > Duration::from_secs(1) {
            tracing::warn!("this coordinator stood still; workers are given their full time again");
            self.term.sessions.grant_full_time();
        }
        self.last_turn = now;
        self.time.compare(&*self.term.clock, self.term.sessions.clocks());
        self.time.has_room = self.term.queues.trouble.borrow().is_none();
        self.term.queues.clock_trouble.send_if_modified(|known| {
            let changed = known.as_deref() != self.time.trouble();
            if changed {
                *known = self.time.trouble().map(str::to_owned);
            }
            changed
        });
        for Lost { session, died, detail } in self.term.sessions.expired() {
            tracing::warn!(%session, %detail, "a worker is lost");
            self.waiting.push_back(Work::Gone(Input::Gone { session, died, detail }));
        }
        None
    }
}

/// What an operator reads in the log of a leader.
fn note(event: &Event) {
    match event {
        Event::RunCreated(created) => {
            tracing::info!(run = %created.id, pipeline = %created.pipeline, version = created.version, "run created")
        }
        Event::RunEnded { run, state, reason, .. } => tracing::info!(run = run.0, %state, ?reason, "run ended"),
        Event::TaskRetrying { run, task, ended, .. } => tracing::info!(run = run.0, task, reason = ?ended.reason, "task goes to RETRY"),
        _ => {}
    }
}
