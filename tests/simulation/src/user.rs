//! The user: registers pipelines, submits runs, repeats and cancels some, waits for the ends, and notes everything it sees.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_client::{Client, Error, Submit};
use penstock_proto::v1::State;
use tokio::time::{Instant, sleep, timeout_at};

use crate::chance::Dice;
use crate::etcd::elapsed_ms;
use crate::net;

/// A pipeline of tasks that do nothing. Ids sort as indices do.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// In the default namespace.
    pub name: String,
    /// For each task the indices of its upstreams.
    pub tasks: Vec<Vec<usize>>,
}

impl Pipeline {
    /// Up to so many tasks, each below some of those before it.
    pub fn drawn(name: &str, most: u64, dice: &Dice) -> Self {
        let tasks = (0..dice.number(2, most + 1)).map(|task| (0..task).filter(|_| dice.chance(30)).map(|up| up as usize).collect());
        Self { name: name.to_owned(), tasks: tasks.collect() }
    }

    /// So many tasks, one after the other.
    pub fn chain(name: &str, length: usize) -> Self {
        Self { name: name.to_owned(), tasks: (0..length).map(|task| task.checked_sub(1).into_iter().collect()).collect() }
    }

    fn document(&self) -> String {
        let mut document = format!("pipeline: {}\ntasks:\n", self.name);
        for (index, upstreams) in self.tasks.iter().enumerate() {
            let upstreams: Vec<_> = upstreams.iter().map(|up| format!("t{up:03}")).collect();
            let _ = writeln!(document, "  t{index:03}: {{noop: true, depends_on: [{}]}}", upstreams.join(", "));
        }
        document
    }
}

/// What the user does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What can be run.
    pub pipelines: Vec<Pipeline>,
    /// Submitters at once.
    pub submitters: u64,
    /// Runs of each.
    pub runs: u64,
    /// Between two runs of one submitter, at most (milliseconds).
    pub pause_ms: u64,
    /// How many runs are submitted again under the same id, in percent.
    pub repeated: u64,
    /// How many are cancelled after a moment, in percent.
    pub cancelled: u64,
}

/// What the user saw.
#[derive(Debug, Clone)]
pub enum Saw {
    /// A definition was acknowledged.
    Registered {
        /// Its name.
        pipeline: String,
        /// Its version.
        version: u32,
    },
    /// A submit was acknowledged.
    Submitted {
        /// Its id.
        run: String,
        /// It did not exist before.
        created: bool,
        /// By this entry.
        seq: u64,
    },
    /// A cancel was acknowledged.
    Cancelled {
        /// Which.
        run: String,
        /// The run's state.
        state: State,
    },
    /// A call had no answer: it may have been done or not.
    NoAnswer {
        /// Which.
        call: String,
        /// The client's last word.
        last: String,
    },
    /// A run has ended, read at the end.
    Ended {
        /// Which.
        run: String,
        /// How.
        state: State,
        /// Each task's state and the fences of its attempts.
        tasks: Vec<(State, Vec<u64>)>,
    },
    /// For whoever reads the trace.
    Note(String),
}

/// What was seen, and when.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Milliseconds since the simulation began.
    pub at_ms: u64,
    /// What.
    pub saw: Saw,
}

/// A user's notes; a clone is the same notes.
#[derive(Clone, Default)]
pub struct Notes {
    all: Arc<Mutex<Vec<Observation>>>,
    calm_at: Arc<AtomicU64>,
}

const LEADER_WITHIN: Duration = Duration::from_secs(15);
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);

impl Notes {
    /// Everything seen so far.
    pub fn all(&self) -> Vec<Observation> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes something.
    pub fn note(&self, saw: Saw) {
        let seen = Observation { at_ms: elapsed_ms(), saw };
        tracing::info!(target: "user", ?seen);
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// No fault is left: from now on the cluster must converge.
    pub fn calm(&self, now_ms: u64) {
        self.calm_at.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// Whether faults are over.
    pub fn is_calm(&self) -> bool {
        self.calm_at.load(Ordering::Relaxed) != 0
    }

    async fn until_calm(&self) {
        while !self.is_calm() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Does what the plan says, waits for calm, and demands that everything acknowledged ends; what had no answer may not exist.
pub async fn act(plan: Plan, coordinators: Vec<String>, notes: Notes, dice: Dice) -> turmoil::Result {
    let client = Client::with(net::dialer(), &coordinators, Duration::from_secs(60), "user")?;
    for pipeline in &plan.pipelines {
        let answer = client.register("user", &pipeline.document()).await?;
        notes.note(Saw::Registered { pipeline: answer.pipeline, version: answer.version });
    }
    let submitters = (0..plan.submitters).map(|number| submitter(number, &plan, &client, &notes, &dice));
    let runs = futures_util::future::join_all(submitters).await.into_iter().flatten();
    notes.until_calm().await;
    let calm = Instant::now();

    // Somebody leads, and takes a new run.
    let probe = Submit { run_id: Some("probe".to_owned()), ..Submit::of(&plan.pipelines[0].name) };
    let answer =
        timeout_at(calm + LEADER_WITHIN, client.submit(probe)).await.map_err(|_| "liveness: no leader took a run within 15 s")??;
    notes.note(Saw::Submitted { run: answer.run_id, created: answer.created, seq: answer.seq });
    for (run, acknowledged) in runs.chain([("probe".to_owned(), true)]) {
        if !acknowledged && client.get(&run, 0).await.is_err_and(|e| e.is_not_found()) {
            continue;
        }
        let ended = timeout_at(calm + CONVERGED_WITHIN, client.wait(&run)).await;
        if ended.is_err() {
            let why = client.explain(&run, None).await.map(|e| e.chain.into_iter().map(|w| w.text).collect::<Vec<_>>());
            return Err(format!("liveness: run {run} has not ended within 60 s: {why:?}").into());
        }
        let found = client.get(&run, 0).await?;
        if !found.run.quarantined.is_empty() {
            return Err(format!("run {run} was set aside: {}", found.run.quarantined).into());
        }
        let tasks = found.tasks.iter().map(|task| (task.state(), task.attempts.iter().map(|a| a.fence).collect())).collect();
        notes.note(Saw::Ended { run, state: found.run.state(), tasks });
    }
    Ok(())
}

async fn submitter(number: u64, plan: &Plan, client: &Client, notes: &Notes, dice: &Dice) -> Vec<(String, bool)> {
    let mut runs = Vec::new();
    for turn in 0..plan.runs {
        sleep(dice.millis(0, plan.pause_ms + 1)).await;
        let run = format!("run-{number}-{turn}");
        let pipeline = dice.pick(&plan.pipelines).name.clone();
        let submit = Submit { run_id: Some(run.clone()), ..Submit::of(&pipeline) };
        let times = 1 + u64::from(dice.chance(plan.repeated));
        let mut acknowledged = false;
        for _ in 0..times {
            match client.submit(submit.clone()).await {
                Ok(answer) => {
                    notes.note(Saw::Submitted { run: answer.run_id, created: answer.created, seq: answer.seq });
                    acknowledged = true;
                }
                Err(error) => no_answer(notes, format!("submit {run}"), &error),
            }
        }
        runs.push((run.clone(), acknowledged));
        if dice.chance(plan.cancelled) {
            sleep(dice.millis(0, 200)).await;
            match client.cancel(&run, false, "for the test").await {
                Ok(answer) => notes.note(Saw::Cancelled { run, state: answer.state() }),
                Err(error) => no_answer(notes, format!("cancel {run}"), &error),
            }
        }
    }
    runs
}

fn no_answer(notes: &Notes, call: String, error: &Error) {
    notes.note(Saw::NoAnswer { call, last: error.to_string() });
}
