//! The hosts, and what can be done to them: a process is killed, stopped or lost with its host; a link is cut, one way or both.
//!
//! A killed process leaves a host that refuses connections until the next life begins, as after SIGKILL. A lost host answers nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use penstock_common::{NodeName, QueueName, SessionId, WorkerName};
use penstock_coordinator::{CheckpointPolicy, NodeError, ReplayError, Retention};
use penstock_proto::v1::State;
use penstock_proto::v1::event::Kind;
use penstock_store::{EtcdOptions, Keys, Op};
use penstock_worker::attempt::Host;
use tokio::sync::Notify;

use crate::chance::{Dice, SimulatedClock, wall};
use crate::etcd::{self, Etcd, Fate};
use crate::machine;
use crate::net;
use crate::oracle::model::Model;
use crate::oracle::{entry, judge, open_runs};
use crate::user::{self, Notes, Pipeline, Plan};

/// A coordinator's port.
const PORT: u16 = 7070;
/// The user's host.
pub const USER: &str = "user";

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: usize,
    /// Slots of each.
    pub slots: u32,
    /// Entries between two checkpoints.
    pub checkpoint_entries: u64,
    /// Entries are kept so long after a checkpoint covers them.
    pub keep_entries: Duration,
    /// Each way between a coordinator and a worker (milliseconds): tasks that do nothing then take a while all the same.
    pub worker_latency_ms: u64,
    /// What the user does.
    pub plan: Plan,
}

/// One world at a time in a process: see [`take_turn`].
static TURN: Mutex<()> = Mutex::new(());

/// tokio drops the tasks of a killed process in an order that depends on their ids, and ids are counted over the whole process:
/// worlds take turns, and each begins at a multiple of the number of lists that ids are spread over.
fn take_turn() -> MutexGuard<'static, ()> {
    const LISTS: u64 = 64;
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        while runtime.spawn(async {}).id().to_string().parse::<u64>().is_ok_and(|id| id % LISTS != 0) {}
    }
    turn
}

/// A process and its lives.
struct Process {
    name: String,
    lives: AtomicU64,
    /// How long its next life waits before it begins.
    rest_ms: AtomicU64,
    stop: Notify,
    /// It has ended by itself, for this reason.
    ended: Mutex<Option<String>>,
    /// What must never happen.
    alarm: Mutex<Option<String>>,
}

impl Process {
    fn new(name: String) -> Arc<Self> {
        Arc::new(Self {
            name,
            lives: AtomicU64::new(0),
            rest_ms: AtomicU64::new(0),
            stop: Notify::new(),
            ended: Mutex::default(),
            alarm: Mutex::default(),
        })
    }

    /// Begins a life; its number.
    async fn begin(&self) -> u64 {
        let life = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::time::sleep(Duration::from_millis(self.rest_ms.swap(0, Ordering::Relaxed))).await;
        life
    }

    /// The process has ended: the world takes its remains away and starts it again.
    async fn end(&self, why: String) -> turmoil::Result {
        tracing::info!(target: "world", name = %self.name, %why, "ended");
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        std::future::pending().await
    }
}

/// A cluster, its network, its user.
pub struct World {
    /// The network.
    pub sim: turmoil::Sim<'static>,
    /// The store.
    pub etcd: Etcd,
    /// What the user saw.
    pub notes: Notes,
    options: Options,
    keys: Keys,
    coordinators: Vec<Arc<Process>>,
    workers: Vec<Arc<Process>>,
    store: Arc<Process>,
    events: Vec<String>,
    lost: BTreeSet<String>,
    fates: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for World {
    fn drop(&mut self) {
        machine::set_elapsed(None);
    }
}

/// A coordinator's host.
pub fn coordinator(number: usize) -> String {
    format!("coordinator-{number}")
}

/// A worker's host.
pub fn worker(number: usize) -> String {
    format!("worker-{number}")
}

impl World {
    /// Builds the hosts. Nothing runs before the first step.
    pub fn new(options: Options) -> Self {
        let seed = options.seed;
        let turn = take_turn();
        machine::set_elapsed(Some(Duration::ZERO));
        let sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(Duration::from_millis(1))
            .epoch(SystemTime::UNIX_EPOCH + machine::EPOCH)
            .rng_seed(seed)
            .enable_random_order()
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(10))
            .tcp_capacity(4_096)
            .build();
        let keys = Keys::default();
        let etcd = Etcd::new(keys.clone(), Dice::new(seed, "etcd"));
        let mut world = Self {
            sim,
            etcd,
            notes: Notes::default(),
            keys,
            coordinators: (1..=options.coordinators).map(|n| Process::new(coordinator(n))).collect(),
            workers: (1..=options.workers).map(|n| Process::new(worker(n))).collect(),
            store: Process::new(etcd::HOST.to_owned()),
            options,
            events: Vec::new(),
            lost: BTreeSet::new(),
            fates: 0,
            _turn: turn,
        };
        world.build();
        world
    }

    fn build(&mut self) {
        let seed = self.options.seed;
        let (etcd, process) = (self.etcd.clone(), self.store.clone());
        self.sim.host(etcd::HOST, move || {
            let (etcd, process) = (etcd.clone(), process.clone());
            async move {
                process.begin().await;
                etcd.life().await
            }
        });
        for process in self.coordinators.clone() {
            let (dice, options) = (Dice::new(seed, &process.name), self.options.clone());
            self.sim.host(process.name.clone(), move || coordinate(process.clone(), options.clone(), dice.clone()));
        }
        let addresses: Vec<_> = self.coordinators.iter().map(|c| format!("{}:{PORT}", c.name)).collect();
        for process in self.workers.clone() {
            let (dice, slots, addresses) = (Dice::new(seed, &process.name), self.options.slots, addresses.clone());
            self.sim.host(process.name.clone(), move || work(process.clone(), slots, addresses.clone(), dice.clone()));
        }
        for worker in &self.workers {
            for coordinator in &self.coordinators {
                let latency = Duration::from_millis(self.options.worker_latency_ms);
                self.sim.set_link_latency(worker.name.as_str(), coordinator.name.as_str(), latency);
            }
        }
        self.sim.client(USER, user::act(self.options.plan.clone(), addresses, self.notes.clone(), Dice::new(seed, "user")));
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// How many traps went off.
    pub fn fates(&self) -> usize {
        self.fates
    }

    /// How many coordinators and workers there are.
    pub fn size(&self) -> (usize, usize) {
        (self.coordinators.len(), self.workers.len())
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One millisecond; true when the user has done all it wanted.
    pub fn step(&mut self) -> bool {
        machine::set_elapsed(Some(self.sim.elapsed()));
        let done = match self.sim.step() {
            Ok(done) => done,
            Err(error) => self.fail(&error.to_string()),
        };
        for sprung in self.etcd.sprung() {
            self.event(format!("{:?} for entry {} of {}", sprung.fate, sprung.seq, sprung.node));
            self.fates += 1;
            if sprung.fate == Fate::SenderKilled {
                self.kill(&sprung.node, Duration::from_millis(1_500));
            }
        }
        for process in self.coordinators.iter().chain(&self.workers).cloned().collect::<Vec<_>>() {
            let alarm = process.alarm.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(alarm) = alarm {
                self.fail(&format!("{}: {alarm}", process.name));
            }
            let ended = process.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(why) = ended {
                self.event(format!("{} ended: {why}", process.name));
                self.kill(&process.name, Duration::from_secs(1));
            }
        }
        done
    }

    /// Steps until the user is done, and `meanwhile` before each step.
    pub fn run(&mut self, mut meanwhile: impl FnMut(&mut Self)) {
        loop {
            meanwhile(self);
            if self.step() {
                // What leaves state after its end has left it by then.
                return self.pass(Duration::from_secs(3));
            }
        }
    }

    /// Steps for so long.
    pub fn pass(&mut self, time: Duration) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.step();
        }
    }

    /// Steps until something holds.
    pub fn until(&mut self, what: &str, within: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let until = self.sim.elapsed() + within;
        while !holds(self) {
            if self.sim.elapsed() >= until {
                self.fail(&format!("{what} does not hold within {within:?}"));
            }
            self.step();
        }
    }

    fn process(&self, name: &str) -> Option<&Arc<Process>> {
        self.coordinators.iter().chain(&self.workers).chain([&self.store]).find(|p| p.name == name)
    }

    fn event(&mut self, what: String) {
        tracing::info!(target: "world", at_ms = self.now_ms(), "{what}");
        self.events.push(format!("{} {what}", self.now_ms()));
    }

    /// SIGKILL; its next life begins after this time.
    pub fn kill(&mut self, name: &str, down: Duration) {
        if self.lost.contains(name) {
            return;
        }
        self.event(format!("kill {name}, down for {down:?}"));
        if let Some(process) = self.process(name) {
            process.rest_ms.store(u64::try_from(down.as_millis()).unwrap_or(0), Ordering::Relaxed);
        }
        self.sim.crash(name);
        self.sim.bounce(name);
    }

    /// SIGTERM.
    pub fn stop(&mut self, name: &str) {
        self.event(format!("stop {name}"));
        if let Some(process) = self.process(name) {
            process.stop.notify_one();
        }
    }

    /// The host goes dark: nobody hears from it.
    pub fn lose(&mut self, name: &str) {
        self.event(format!("lose {name}"));
        for other in self.names() {
            if other != name {
                self.sim.partition(name, other.as_str());
            }
        }
        self.sim.crash(name);
        self.lost.insert(name.to_owned());
    }

    /// A lost host is there again.
    pub fn find(&mut self, name: &str) {
        if self.lost.remove(name) {
            self.event(format!("find {name}"));
            for other in self.names() {
                if other != name {
                    self.sim.repair(name, other.as_str());
                }
            }
            self.sim.bounce(name);
        }
    }

    /// Nothing gets from one to the other.
    pub fn cut_one_way(&mut self, from: &str, to: &str) {
        self.event(format!("cut {from} to {to}"));
        self.sim.partition_oneway(from, to);
    }

    /// Nothing passes between them.
    pub fn cut(&mut self, a: &str, b: &str) {
        self.event(format!("cut {a} and {b}"));
        self.sim.partition(a, b);
    }

    /// Nothing passes between one and all others.
    pub fn isolate(&mut self, name: &str) {
        for other in self.names() {
            if other != name {
                self.cut(name, &other);
            }
        }
    }

    /// What is sent between them from now on arrives.
    pub fn mend(&mut self, a: &str, b: &str) {
        self.event(format!("mend {a} and {b}"));
        self.sim.repair(a, b);
    }

    /// The opposite of [`World::isolate`].
    pub fn rejoin(&mut self, name: &str) {
        for other in self.names() {
            if other != name {
                self.mend(name, &other);
            }
        }
    }

    /// Every fault ends now, and the user is told.
    pub fn heal(&mut self) {
        self.event("heal".to_owned());
        for name in self.lost.clone() {
            self.find(&name);
        }
        let names = self.names();
        for (place, a) in names.iter().enumerate() {
            for b in &names[place + 1..] {
                self.sim.repair(a.as_str(), b.as_str());
            }
        }
        self.etcd.calm();
        self.sim.set_max_message_latency(Duration::from_millis(10));
        self.notes.calm(self.now_ms());
    }

    /// Every host.
    pub fn names(&self) -> Vec<String> {
        let processes = self.coordinators.iter().chain(&self.workers).chain([&self.store]);
        processes.map(|p| p.name.clone()).chain([USER.to_owned()]).collect()
    }

    /// The coordinator that leads, as the store tells.
    pub fn leader(&self) -> Option<String> {
        let candidates = self.keys.candidates();
        let first = self.etcd.pairs().into_iter().filter(|pair| pair.key.starts_with(&candidates)).min_by_key(|pair| pair.created)?;
        Some(first.key[candidates.len()..].split('/').next()?.to_owned())
    }

    /// Its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What it runs.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.options.plan.pipelines
    }

    /// The events of every entry from a commit on, by its place in [`Etcd::commits`].
    pub fn events_since(&self, commit: usize) -> Vec<Kind> {
        let entry = |op: &Op| match op {
            Op::Put(key, value, _) => self.keys.seq_of(key).and_then(|_| entry::read(value).ok()),
            Op::Delete(_) | Op::DeleteRange(..) => None,
        };
        self.etcd.commits_since(commit).iter().flat_map(|c| &c.txn.then).filter_map(entry).flat_map(|e| e.events).collect()
    }

    /// Everything that happened, in order, for a comparison byte by byte.
    pub fn trace(&self) -> Vec<String> {
        let commits = self.etcd.commits().into_iter().map(|c| {
            let digest = blake3::hash(format!("{:?}", c.txn).as_bytes());
            format!("{} revision {} {digest}", c.at_ms, c.revision)
        });
        let held = self.etcd.pairs().into_iter().map(|pair| format!("holds {pair:?}"));
        let seen = self.notes.all().into_iter().map(|o| format!("{} {:?}", o.at_ms, o.saw));
        commits.chain(held).chain(seen).chain(self.events.iter().cloned()).collect()
    }

    /// What the journal says, by the oracle; fails the test if anything is wrong.
    pub fn judge(&self) -> Model {
        let model = judge(&self.keys, &self.options.plan.pipelines, &self.etcd.commits(), &self.notes.all());
        if let Some(first) = model.wrong.first() {
            self.fail(&format!("{} violations, the first: {first}", model.wrong.len()));
        }
        let open = open_runs(&model);
        let kept = model.runs.values().find(|run| run.state == State::Success && !run.archived);
        if let Some(run) = kept {
            self.fail(&format!("run {} succeeded and was not archived", run.id));
        }
        if !open.is_empty() {
            self.fail(&format!("these have not ended: {open:?}"));
        }
        model
    }

    fn fail(&self, why: &str) -> ! {
        if let Some(file) = std::env::var_os("PENSTOCK_SIM_DUMP") {
            let entry = |op: &Op| match op {
                Op::Put(key, value, _) => self.keys.seq_of(key).and_then(|_| entry::read(value).ok()),
                Op::Delete(_) | Op::DeleteRange(..) => None,
            };
            let commits = self.etcd.commits();
            let lines = commits
                .iter()
                .flat_map(|c| c.txn.then.iter().filter_map(entry).map(move |e| format!("{} {} {e:?}\n", c.at_ms, c.revision)));
            drop(std::fs::write(file, lines.collect::<String>()));
        }
        let last: Vec<_> = self.events.iter().rev().take(40).rev().cloned().collect();
        panic!(
            "seed {} at {} ms: {why}\n(again: PENSTOCK_SIM_SEED={} make sim)\nthe last events:\n  {}",
            self.options.seed,
            self.now_ms(),
            self.options.seed,
            last.join("\n  ")
        );
    }
}

async fn coordinate(process: Arc<Process>, options: Options, dice: Dice) -> turmoil::Result {
    let life = process.begin().await;
    let endpoint = format!("{}:{}", etcd::HOST, etcd::PORT);
    let channel = net::etcd_channel(&endpoint)?;
    let store = EtcdOptions { endpoints: vec![endpoint], channels: vec![channel], ..EtcdOptions::default() };
    let store = match penstock_store::Etcd::connect(store).await {
        Ok(store) => Arc::new(store),
        Err(error) => return process.end(error.to_string()).await,
    };
    let config = penstock_coordinator::Config {
        name: NodeName::parse(&process.name)?,
        address: format!("{}:{PORT}", process.name),
        process: format!("{}.{life}", process.name),
        keys: Keys::default(),
        logs: "/nowhere".into(),
        checkpoints: CheckpointPolicy {
            entries: options.checkpoint_entries,
            keep_entries: options.keep_entries,
            ..CheckpointPolicy::default()
        },
        retention: Retention::default(),
    };
    let clock = Arc::new(SimulatedClock::new(dice));
    let incoming = net::listen(PORT).await?;
    let stop = process.clone();
    let shutdown = async move { stop.stop.notified().await };
    let why = match penstock_coordinator::run(config, incoming, None, store, clock, net::dialer(), shutdown).await {
        Ok(()) => "as it was told".to_owned(),
        Err(error) => {
            if let penstock_coordinator::Error::Node(NodeError::Replay(
                ReplayError::Entry(_) | ReplayError::Checkpoint { .. } | ReplayError::Definition { .. },
            )) = &error
            {
                *process.alarm.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
            error.to_string()
        }
    };
    process.end(why).await
}

async fn work(process: Arc<Process>, slots: u32, coordinators: Vec<String>, dice: Dice) -> turmoil::Result {
    let life = process.begin().await;
    let config = penstock_worker::Config {
        name: WorkerName::parse(&process.name)?,
        session: SessionId::parse(&format!("{}.{life}", process.name))?,
        coordinators,
        slots,
        queues: BTreeSet::from([QueueName::parse("default")?]),
        labels: std::collections::BTreeMap::new(),
        drain_timeout: Duration::from_secs(5),
        random: Arc::new(move || dice.bits()),
    };
    let nowhere = || "/nowhere".into();
    let host = Host { supervisor: Vec::new(), env: Arc::new([]), ..Host::new(nowhere(), nowhere(), nowhere(), Arc::new(wall)) };
    let stop = process.clone();
    let why = match penstock_worker::run(config, host, net::dialer(), async move { stop.stop.notified().await }).await {
        Ok(()) => "as it was told".to_owned(),
        Err(error) => error.to_string(),
    };
    process.end(why).await
}
