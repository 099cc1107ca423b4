//! For tests: a scheduler that leads behind real queues, without a journal. What it decides is durable at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use penstock_common::{Epoch, Now, PipelineName, Seq, Timestamp};
use penstock_scheduler::calendar::FileTrigger;
use penstock_scheduler::{Decision, Input, Plan, RunFilter, Scheduler};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::handle::{AsOf, Command, Handle, Queues, Refusal, Role, queues};
use crate::sessions::Sessions;

/// The runtime's clock, which a test may pause.
pub(crate) struct TestClock(Instant);

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + i64::try_from(self.uptime().as_millis()).unwrap())
    }
    fn random(&self) -> u64 {
        7
    }
    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) struct Desk {
    pub(crate) handle: Handle,
    pub(crate) clock: Arc<TestClock>,
    /// Of the events decided so far: a follower that replays them is the next leader.
    pub(crate) scheduler: Arc<Mutex<Scheduler>>,
    pub(crate) file_trouble: Arc<tokio::sync::watch::Sender<crate::files::FileTrouble>>,
    seq: Arc<Mutex<u64>>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (handle, queues) = queues(Arc::new(Sessions::default()));
        let desk = Self {
            handle,
            clock: Arc::new(TestClock(Instant::now())),
            scheduler: Arc::default(),
            file_trouble: queues.file_trouble.clone(),
            seq: Arc::default(),
        };
        let epoch = Epoch { incarnation: 1, revision: 1 };
        desk.scheduler.lock().unwrap().lead(now(&desk.clock));
        desk.decide(Input::StartTerm { epoch, node: "n1".parse().unwrap() }).unwrap();
        queues.role.send_replace(Role::Leader(epoch));
        tokio::spawn(serve(queues, desk.scheduler.clone(), desk.clock.clone(), desk.seq.clone()));
        desk
    }

    pub(crate) fn decide(&self, input: Input) -> Result<Decision, penstock_scheduler::Rejection> {
        decide(&self.scheduler, &self.clock, &self.seq, input)
    }

    pub(crate) fn register(&self, document: &str) {
        let (plan, _) = Plan::load("p.yaml", document).map_err(|error| error.to_string()).unwrap();
        self.decide(Input::Register { plan: Arc::new(plan) }).unwrap();
    }

    /// The sources of all runs, in the order in which they were created.
    pub(crate) fn runs(&self) -> Vec<String> {
        let mut all = self.scheduler.lock().unwrap().list(&RunFilter::default(), usize::MAX);
        all.sort_by_key(|run| run.no);
        all.into_iter().map(|run| run.trigger.source.to_string()).collect()
    }

    pub(crate) fn trigger(&self, pipeline: &str, trigger: &str) -> FileTrigger {
        let (pipeline, trigger) = (PipelineName::parse(pipeline).unwrap(), trigger.parse().unwrap());
        self.scheduler.lock().unwrap().file_trigger(&pipeline, &trigger).unwrap()
    }
}

fn now(clock: &TestClock) -> Now {
    Now { now: clock.wall(), wall: clock.wall(), random: clock.random(), may_fire: true }
}

fn decide(
    scheduler: &Mutex<Scheduler>,
    clock: &TestClock,
    seq: &Mutex<u64>,
    input: Input,
) -> Result<Decision, penstock_scheduler::Rejection> {
    let mut scheduler = scheduler.lock().unwrap();
    let mut seq = seq.lock().unwrap();
    *seq += 1;
    scheduler.at(Seq(*seq));
    let decision = scheduler.decide(input, now(clock))?;
    let bytes: usize = penstock_proto::encode_events(decision.events.clone()).len();
    assert!(bytes <= penstock_common::limits::MAX_EVENT_BYTES_PER_INPUT, "an input yields {bytes} bytes");
    Ok(decision)
}

async fn serve(mut queues: Queues, scheduler: Arc<Mutex<Scheduler>>, clock: Arc<TestClock>, seq: Arc<Mutex<u64>>) {
    let answer = |Command { input, reply, .. }: Command| {
        let answer = decide(&scheduler, &clock, &seq, input).map(|decision| (decision.answer, Seq(1))).map_err(Refusal::from);
        // What is left over is done at the next tick.
        drop(decide(&scheduler, &clock, &seq, Input::Tick));
        drop(reply.send(answer));
    };
    loop {
        tokio::select! {
            Some(command) = queues.commands.recv() => answer(command),
            Some(command) = queues.submits.recv() => answer(command),
            Some(read) = queues.reads.recv() => {
                let reply = read(&scheduler.lock().unwrap(), AsOf { seq: Seq(1), age_ms: 0 });
                reply();
            }
            else => return,
        }
    }
}
