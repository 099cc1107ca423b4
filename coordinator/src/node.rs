//! A node: loads state, stands as a candidate, follows the journal until it is the first candidate, leads until it is not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use penstock_common::{Digest, NodeName, Seq};
use penstock_proto::dial::Dialer;
use penstock_proto::{FORMAT, v1};
use penstock_store::election::{self, Candidate};
use penstock_store::{Candidacy, Error as StoreError, Journal, Keys, Store};
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::archive::Retention;
use crate::checkpoint::Policy;
use crate::clock::Clock;
use crate::driver::{self, Ended, Term};
use crate::entry::{self, Header};
use crate::handle::{AsOf, Handle, Leader, Queues, Refusal, Role};
use crate::replica::{ReplayError, Replica};
use crate::sessions::Sessions;
use crate::takeover;
use crate::watch::Watchers;

/// What a node is made of.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) address: String,
    pub(crate) process: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dialer: Dialer,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) policy: Policy,
    pub(crate) retention: Retention,
    pub(crate) handle: Handle,
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A watch may stall: the journal's end and the candidates are read at least this often.
const POLL: Duration = Duration::from_secs(2);

/// What a follower reads before it waits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nowhere,
    AtJournal,
    Everywhere,
}

impl Node {
    /// Runs until stopped, or until what is stored cannot be used.
    pub(crate) async fn run(self, mut queues: Queues, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        self.create_cluster().await?;
        let mut replica = Replica::load(self.store.clone(), self.keys.clone()).await?;
        queues.checkpoint.send_replace(replica.checkpoint);
        self.remove_former_life().await?;
        let mut trouble = 0u32;
        while !*stop.borrow() {
            match self.stand_and_serve(&mut replica, &mut queues, &mut stop).await {
                Ok(()) => trouble = 0,
                Err(error) => {
                    trouble += 1;
                    queues.role.send_replace(Role::Follower(None));
                    if matches!(
                        error,
                        Error::Replay(ReplayError::Entry(_) | ReplayError::Checkpoint { .. } | ReplayError::Definition { .. })
                    ) {
                        return Err(error);
                    }
                    tracing::warn!(%error, trouble, "this coordinator starts over");
                    self.pause(&mut queues, &mut stop).await;
                }
            }
            if *stop.borrow() {
                break;
            }
            match self.reload(&mut queues, &mut stop).await? {
                Some(loaded) => replica = loaded,
                None => break,
            }
        }
        Ok(())
    }

    /// Whatever was decided and not written is dropped: state is loaded again, however long that takes, and nothing is done with the
    /// old one meanwhile. `None`: the node stops.
    async fn reload(&self, queues: &mut Queues, stop: &mut watch::Receiver<bool>) -> Result<Option<Replica>, Error> {
        while !*stop.borrow() {
            match Replica::load(self.store.clone(), self.keys.clone()).await {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(error @ (ReplayError::Store(_) | ReplayError::Behind(_))) => {
                    tracing::warn!(%error, "state cannot be loaded; trying again");
                    self.pause(queues, stop).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Waits a second, refusing whoever asks meanwhile.
    async fn pause(&self, queues: &mut Queues, stop: &mut watch::Receiver<bool>) {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                _ = stop.changed() => return,
                Some(command) = queues.commands.recv() => drop(command.reply.send(Err(Refusal::NotLeader(None)))),
                Some(command) = queues.submits.recv() => drop(command.reply.send(Err(Refusal::NotLeader(None)))),
                Some(_) = queues.reports.recv() => {}
                Some(_) = queues.reads.recv() => {}
                Some(_) = queues.subscriptions.recv() => {}
            }
        }
    }

    /// `meta` and entry 0, once for the cluster.
    async fn create_cluster(&self) -> Result<(), Error> {
        let journal = Journal::new(self.store.clone(), self.keys.clone());
        if journal.meta().await?.is_some() {
            return Ok(());
        }
        let wall = self.clock.wall();
        let seed = format!("{}{}{}", self.clock.random(), self.clock.random(), wall.0);
        let cluster = Digest::of(seed.as_bytes()).to_string()[..26].to_owned();
        let meta = v1::Meta { format: FORMAT, cluster: cluster.clone(), incarnation: 1 }.encode_to_vec();
        let header = Header { cluster, epoch: penstock_common::Epoch { incarnation: 1, revision: 0 } };
        journal.create(meta.into(), entry::encode(&header, Seq(0), wall, wall, None, Vec::new())).await?;
        Ok(())
    }

    /// Keys that carry our own address belong to a former life of this process.
    async fn remove_former_life(&self) -> Result<(), Error> {
        for old in election::candidates(&*self.store, &self.keys).await? {
            if read_candidate(&old).is_some_and(|c| c.address == self.address && c.process != self.process) {
                election::remove(&*self.store, &old).await?;
            }
        }
        Ok(())
    }

    async fn stand_and_serve(&self, replica: &mut Replica, queues: &mut Queues, stop: &mut watch::Receiver<bool>) -> Result<(), Error> {
        let value = v1::Candidate {
            node: self.name.to_string(),
            address: self.address.clone(),
            process: self.process.clone(),
            reads_up_to_format: FORMAT,
        };
        let candidacy = Candidacy::stand(self.store.clone(), self.keys.clone(), &self.name, value.encode_to_vec().into()).await?;
        let outcome = self.serve(replica, queues, &candidacy, stop).await;
        let successor =
            candidacy.candidates().await.ok().and_then(|all| all.iter().filter(|c| c.key != candidacy.key()).find_map(leader_of));
        queues.role.send_replace(Role::Follower(successor.clone()));
        if let Err(error) = candidacy.withdraw().await {
            tracing::warn!(%error, "the candidate key could not be deleted; it ends with its session");
        }
        self.dismiss_workers(successor);
        outcome
    }

    async fn serve(
        &self,
        replica: &mut Replica,
        queues: &mut Queues,
        candidacy: &Candidacy,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Error> {
        if !self.follow(replica, queues, candidacy, stop).await? {
            return Ok(());
        }
        replica.catch_up().await?;
        let term = Term {
            replica,
            queues,
            sessions: self.sessions.clone(),
            candidacy,
            node: &self.name,
            clock: self.clock.clone(),
            policy: self.policy,
            retention: self.retention,
            handle: self.handle.clone(),
        };
        match driver::lead(term, stop).await {
            Ended::Stepped => Ok(()),
            Ended::Deposed(why) => {
                tracing::warn!(%why, "leadership is over");
                Ok(())
            }
        }
    }

    /// Replays the journal and answers reads until this candidate is first (`true`) or the node stops.
    async fn follow(
        &self,
        replica: &mut Replica,
        queues: &mut Queues,
        candidacy: &Candidacy,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, Error> {
        let mut confirmed = Instant::now();
        let mut polled = confirmed;
        let mut wakes = self.store.watch(&self.keys.journal()).await?;
        let mut election_wakes = self.store.watch(&self.keys.candidates()).await?;
        let mut validity = candidacy.validity();
        let mut suspicion = takeover::Suspicion::default();
        let mut look = Look::Everywhere;
        loop {
            if look != Look::Nowhere {
                let asked = Instant::now();
                replica.catch_up().await?;
                confirmed = asked;
            }
            if look == Look::Everywhere {
                polled = Instant::now();
                let candidates = candidacy.candidates().await?;
                let leads = candidates.first().is_some_and(|first| first.key == candidacy.key());
                if leads {
                    return Ok(true);
                }
                if !candidates.iter().any(|c| c.key == candidacy.key()) {
                    return Err(StoreError::Unavailable("this coordinator's candidate key is gone".to_owned()).into());
                }
                let leader = candidates.first().and_then(leader_of);
                queues.role.send_if_modified(|role| {
                    let new = Role::Follower(leader);
                    let changed = *role != new;
                    *role = new;
                    changed
                });
                suspicion.watch(&self.dialer, candidates.into_iter().next().filter(|c| read_candidate(c).is_some()), &self.store);
            }
            look = Look::Everywhere;
            tokio::select! {
                biased;
                _ = stop.changed() => return Ok(false),
                changed = validity.changed() => {
                    if changed.is_err() || validity.borrow().is_none() {
                        return Err(StoreError::Unavailable("the session in the store is over".to_owned()).into());
                    }
                    look = Look::Nowhere;
                }
                woken = election_wakes.next() => if woken.is_err() {
                    election_wakes = self.store.watch(&self.keys.candidates()).await?;
                },
                read = queues.reads.recv() => {
                    look = Look::Nowhere;
                    let Some(read) = read else { return Ok(false) };
                    let age_ms = u64::try_from(confirmed.elapsed().as_millis()).unwrap_or(u64::MAX);
                    read(&replica.scheduler, AsOf { seq: replica.seq, age_ms })();
                }
                subscribe = queues.subscriptions.recv() => {
                    look = Look::Nowhere;
                    let Some(subscribe) = subscribe else { return Ok(false) };
                    let pages = Watchers::snapshot(&replica.scheduler, &subscribe.run, replica.seq);
                    let ended = replica.scheduler.run(&subscribe.run).is_some_and(|run| run.state.is_terminal());
                    let found = pages.is_some();
                    for page in pages.into_iter().flatten() {
                        drop(subscribe.sender.try_send(page));
                    }
                    if found && !ended {
                        replica.watchers.add(subscribe.run, subscribe.sender);
                    }
                    let _ = subscribe.found.send(found);
                }
                Some(command) = queues.commands.recv() => {
                    look = Look::Nowhere;
                    drop(command.reply.send(Err(Refusal::NotLeader(None))));
                }
                Some(command) = queues.submits.recv() => {
                    look = Look::Nowhere;
                    drop(command.reply.send(Err(Refusal::NotLeader(None))));
                }
                Some(_) = queues.reports.recv() => look = Look::Nowhere,
                () = suspicion.confirmed() => {}
                () = tokio::time::sleep_until(polled + POLL) => {}
                // Last, and several as one: commits may come faster than they are read, and hide nothing else.
                woken = wakes.next() => match woken {
                    Ok(()) => {
                        while let Some(Ok(())) = wakes.next().now_or_never() {}
                        look = Look::AtJournal;
                    }
                    Err(_) => wakes = self.store.watch(&self.keys.journal()).await?,
                },
            }
        }
    }

    /// The term is over: workers are sent to whoever comes next.
    fn dismiss_workers(&self, successor: Option<Leader>) {
        let leader = successor.map_or(String::new(), |l| l.address);
        for stream in self.sessions.clear() {
            let redirect = v1::Redirect { leader: leader.clone(), why: "this coordinator leads no longer".to_owned() };
            drop(stream.try_send(Ok(v1::ToWorker { epoch: None, seq: 0, kind: Some(v1::to_worker::Kind::Redirect(redirect)) })));
        }
    }
}

fn read_candidate(candidate: &Candidate) -> Option<v1::Candidate> {
    v1::Candidate::decode(candidate.value.clone()).ok()
}

pub(crate) fn leader_of(candidate: &Candidate) -> Option<Leader> {
    let value = read_candidate(candidate)?;
    Some(Leader { node: value.node.parse().ok()?, address: value.address })
}
