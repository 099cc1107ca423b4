//! The worker's loop. Attempts go on while no leader is reachable, but not beyond the session: counted from the *sending* of the
//! last heartbeat that was answered, they get SIGTERM at two thirds of it and are dead before its end, so that a leader that calls
//! them lost at its end is right.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use penstock_common::lease::Lease;
use penstock_common::limits::{HEARTBEAT_MS, WORKER_SEEK_LEADER_MS, WORKER_SESSION_MS};
use penstock_common::pipeline::Action;
use penstock_common::record::Report;
use penstock_common::{Epoch, Fence, Reason};
use penstock_proto::dial::Dialer;
use penstock_proto::v1::{self, from_worker, to_worker};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::attempt::judge::Verdict;
use crate::attempt::{self, Host, Stop, job};
use crate::executor::noop;
use crate::link::{self, Coordinators, Link, Outcome};
use crate::table::Table;
use crate::{Config, Error};

/// Reports in one message.
const REPORTS_PER_MESSAGE: usize = 2_000;

pub(crate) struct Runner {
    config: Config,
    host: Host,
    table: Table,
    coordinators: Coordinators,
    ended_tx: mpsc::Sender<(Fence, Report)>,
    ended: mpsc::Receiver<(Fence, Report)>,
    link: Option<Link>,
    /// The highest term and entry seen.
    epoch: Epoch,
    seq: u64,
    /// Heartbeats sent and not answered: (number, when).
    beats: VecDeque<(u64, Instant)>,
    beat: u64,
    /// When the last answered heartbeat was sent.
    acked: Instant,
    session: Duration,
    leaving: bool,
    /// Why the last try to reach a leader failed.
    trouble: String,
}

type Opening = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Runner {
    pub(crate) fn new(config: Config, host: Host, dialer: Dialer) -> Result<Self, Error> {
        if config.coordinators.is_empty() {
            return Err(Error::NoCoordinators);
        }
        for address in &config.coordinators {
            dialer.channel(address)?;
        }
        let (ended_tx, ended) = mpsc::channel(1_024);
        let coordinators = Coordinators::new(dialer, config.coordinators.clone());
        Ok(Self {
            config,
            host,
            table: Table::default(),
            coordinators,
            ended_tx,
            ended,
            link: None,
            epoch: Epoch::default(),
            seq: 0,
            beats: VecDeque::new(),
            beat: 0,
            acked: Instant::now(),
            session: Duration::from_millis(WORKER_SESSION_MS),
            leaving: false,
            trouble: String::new(),
        })
    }

    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let mut shutdown = Box::pin(shutdown);
        let mut opening: Option<Opening> = None;
        let mut pause = Instant::now();
        let mut asked = pause;
        let mut heartbeat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drain_until: Option<Instant> = None;
        loop {
            if self.leaving && self.table.is_idle() {
                self.say(from_worker::Kind::Goodbye(v1::Goodbye {})).await;
                self.farewell().await;
                return Ok(());
            }
            if self.link.is_none() && opening.is_none() && Instant::now() >= pause {
                match self.coordinators.next() {
                    Some((address, channel, round)) => {
                        tracing::debug!(%address, "saying Hello");
                        if round {
                            pause = Instant::now() + self.jitter();
                        }
                        asked = Instant::now();
                        opening = Some(Box::pin(link::open(channel, self.hello())));
                    }
                    None => pause = Instant::now() + self.jitter(),
                }
            }
            tokio::select! {
                biased;
                () = &mut shutdown, if !self.leaving => {
                    tracing::info!("leaving: nothing new is taken, what runs may end");
                    self.leaving = true;
                    drain_until = Some(Instant::now() + self.config.drain_timeout);
                    self.say(from_worker::Kind::Leaving(v1::Leaving {})).await;
                }
                _ = heartbeat.tick() => {
                    self.beat().await;
                    self.guard_session();
                    if drain_until.is_some_and(|at| Instant::now() >= at) {
                        self.table.stop_all(Stop::Cancel(Reason::Lost));
                        // Without a leader nobody acknowledges: what is left goes to another worker when this session ends.
                        if self.table.runs_nothing() && self.link.is_none() {
                            return Ok(());
                        }
                    }
                }
                outcome = async { match &mut opening { Some(o) => o.await, None => std::future::pending().await } } => {
                    opening = None;
                    self.opened(outcome, asked, &mut pause).await?;
                }
                message = async { match &mut self.link { Some(l) => l.from_leader.message().await, None => std::future::pending().await } } => {
                    match message {
                        Ok(Some(message)) => self.obey(message),
                        Ok(None) => self.unlink("the leader ended the stream"),
                        Err(status) => self.unlink(status.message()),
                    }
                }
                Some((fence, report)) = self.ended.recv() => {
                    self.table.finish(fence, report);
                    while let Ok((fence, report)) = self.ended.try_recv() {
                        self.table.finish(fence, report);
                    }
                }
                () = tokio::time::sleep_until(pause), if self.link.is_none() && opening.is_none() => {}
            }
            self.report().await;
        }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            session: self.config.session.to_string(),
            worker: self.config.name.to_string(),
            slots: self.config.slots,
            queues: self.config.queues.iter().map(ToString::to_string).collect(),
            labels: self.config.labels.clone(),
            leaving: self.leaving,
            epoch: Some(self.epoch.into()),
            seq: self.seq,
            running: self.table.running(),
            finished: self.table.finished(),
        }
    }

    /// Between 100 and 600 ms, so that workers do not come back all at once.
    fn jitter(&self) -> Duration {
        Duration::from_millis(100 + (self.config.random)() % 500)
    }

    async fn opened(&mut self, outcome: Outcome, asked: Instant, pause: &mut Instant) -> Result<(), Error> {
        match outcome {
            Outcome::Linked(mut link) if link.epoch >= self.epoch => {
                tracing::info!(epoch = %link.epoch, "attached to the leader");
                self.trouble.clear();
                self.epoch = link.epoch;
                self.session = link.session;
                self.acked = asked;
                self.beats.clear();
                let early = std::mem::take(&mut link.early);
                self.link = Some(*link);
                self.table.tell_all_again();
                self.beat().await;
                for message in early {
                    self.obey(message);
                }
            }
            Outcome::Linked(link) => tracing::warn!(term = %link.epoch, seen = %self.epoch, "a coordinator leads an older term: ignored"),
            Outcome::Redirected(leader) if leader.is_empty() => *pause = Instant::now() + self.jitter(),
            Outcome::Redirected(leader) => self.coordinators.hint(leader),
            Outcome::Failed(why) => {
                // Said once for each reason, not ten times a second.
                if self.trouble != why {
                    tracing::warn!(%why, "no stream to a leader; asking on");
                    self.trouble = why;
                }
            }
            Outcome::Refused(why) => {
                // What runs is not thrown away for it; with nothing to lose, the operator must know at once.
                if self.table.is_idle() {
                    return Err(Error::Refused(why));
                }
                tracing::error!(%why, "the coordinator refuses this worker");
                *pause = Instant::now() + Duration::from_secs(1);
            }
        }
        Ok(())
    }

    fn unlink(&mut self, why: &str) {
        tracing::warn!(%why, "the stream to the leader is over; looking for the leader");
        self.link = None;
    }

    async fn say(&mut self, kind: from_worker::Kind) {
        if let Some(link) = &self.link
            && link.to_leader.send(v1::FromWorker { kind: Some(kind) }).await.is_err()
        {
            self.unlink("the stream takes nothing more");
        }
    }

    /// Lets the Goodbye out before the process ends: the leader closes the stream when it has read it.
    async fn farewell(&mut self) {
        if let Some(mut link) = self.link.take() {
            let closed = async { while let Ok(Some(_)) = link.from_leader.message().await {} };
            drop(tokio::time::timeout(Duration::from_secs(2), closed).await);
        }
    }

    async fn beat(&mut self) {
        if self.link.is_none() {
            return;
        }
        if self.acked.elapsed() > Duration::from_millis(WORKER_SEEK_LEADER_MS) && self.beats.len() > 2 {
            return self.unlink("the leader does not answer");
        }
        self.beat += 1;
        self.beats.push_back((self.beat, Instant::now()));
        self.say(from_worker::Kind::Heartbeat(v1::Heartbeat { number: self.beat, wall_ms: (self.host.clock)().0 })).await;
    }

    fn guard_session(&self) {
        let silent = self.acked.elapsed();
        if silent > self.session.mul_f64(0.9) {
            self.table.stop_all(Stop::Kill);
        } else if silent > self.session.mul_f64(2.0 / 3.0) {
            self.table.stop_all(Stop::Cancel(Reason::Lost));
        }
    }

    fn obey(&mut self, message: v1::ToWorker) {
        self.seq = self.seq.max(message.seq);
        match message.kind {
            Some(to_worker::Kind::Leases(leases)) => {
                for lease in leases.leases {
                    self.take(lease);
                }
            }
            Some(to_worker::Kind::Acks(acks)) => {
                for fence in acks.fences {
                    self.table.acknowledge(Fence(fence));
                }
            }
            Some(to_worker::Kind::Heartbeat(ack)) => {
                while let Some((number, sent)) = self.beats.pop_front() {
                    if number >= ack.number {
                        self.acked = self.acked.max(sent);
                        break;
                    }
                }
            }
            Some(to_worker::Kind::Cancel(cancel)) => {
                let reason = Reason::parse(&cancel.reason).unwrap_or(Reason::User);
                for fence in cancel.fences {
                    self.table.stop(Fence(fence), Stop::Cancel(reason));
                }
            }
            Some(to_worker::Kind::Kill(kill)) => {
                for fence in kill.fences {
                    self.table.stop(Fence(fence), Stop::Kill);
                }
            }
            Some(to_worker::Kind::Redirect(redirect)) => {
                self.coordinators.hint(redirect.leader);
                self.unlink(&redirect.why);
            }
            Some(to_worker::Kind::Welcome(_)) | None => {}
        }
    }

    /// Starts an attempt, once for each fence.
    fn take(&mut self, lease: v1::Lease) {
        let fence = Fence(lease.fence);
        if self.table.knows(fence) {
            return;
        }
        let lease = match Lease::try_from(lease) {
            Ok(lease) => lease,
            Err(error) => {
                let detail = format!("worker {} cannot read this lease ({error}): is it older than the coordinator?", self.config.name);
                return self.table.finish(fence, job::never_began(&self.host, Verdict::failed(Reason::Spawn, &detail)));
            }
        };
        let stop = self.table.start(fence);
        let (host, ended) = (self.host.clone(), self.ended_tx.clone());
        if lease.spec.action == Action::Noop {
            // Answered here: a task that does nothing should cost nothing.
            return self.table.finish(fence, noop::report((host.clock)()));
        }
        let span = tracing::info_span!("attempt", run = %lease.run, task = %lease.task, attempt = lease.number);
        penstock_telemetry::continue_trace(&span, &lease.traceparent);
        let execute = async move {
            let outcome = attempt::execute(&lease, &host, stop, None).await;
            drop(ended.send((fence, outcome)).await);
        };
        tokio::spawn(execute.instrument(span));
    }

    async fn report(&mut self) {
        while self.link.is_some() && self.table.has_fresh() {
            let reports = self.table.take_fresh(REPORTS_PER_MESSAGE);
            let reports = reports.into_iter().map(|(fence, report)| v1::Report::of(fence, report)).collect();
            self.say(from_worker::Kind::Reports(v1::Reports { reports })).await;
        }
    }
}
