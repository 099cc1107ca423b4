//! Journal records and checkpoints. A reader that knows less than it finds stops; it never skips.

use penstock_common::event::{RunCreated, Saw, TaskEnded};
use penstock_common::metrics::Outputs;
use penstock_common::record::{AnswerRecord, Audit, ClusterRecord, PipelineRecord, PoolRecord, PreviousRecord};
use penstock_common::{Digest, Event, EventNo, Fence, Millis, RunNo, Timestamp};
use prost::Message;

use crate::timetable::skip_reason;
use crate::types::{Malformed, digest, flat, id, malformed, ms, ranges, reason_of, required, state_of, time, word};
use crate::v1::{self, event::Kind};

/// The bytes of some events, in their order.
pub fn encode_events(events: impl IntoIterator<Item = Event>) -> Vec<u8> {
    v1::Events { events: events.into_iter().map(Into::into).collect() }.encode_to_vec()
}

/// Reads them back.
pub fn decode_events(bytes: &[u8]) -> Result<Vec<Event>, Malformed> {
    let events = v1::Events::decode(bytes).map_err(|e| malformed("events", e))?;
    events.events.into_iter().map(TryInto::try_into).collect()
}

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let kind = match event {
            Event::TermStarted { epoch, node, at } => {
                Kind::TermStarted(v1::TermStarted { epoch: Some(epoch.into()), node: node.to_string(), at_ms: at.0 })
            }
            Event::PipelineRegistered { pipeline, version, digest, dropped, at } => Kind::PipelineRegistered(v1::PipelineRegistered {
                pipeline: pipeline.full().to_owned(),
                version,
                digest: digest.0.to_vec().into(),
                dropped,
                at_ms: at.0,
            }),
            Event::RunCreated(c) => Kind::RunCreated(v1::RunCreated {
                run: c.run.0,
                run_id: c.id.to_string(),
                pipeline: c.pipeline.full().to_owned(),
                version: c.version,
                params: c.params.to_string(),
                trigger: Some(c.trigger.into()),
                interval: c.interval.map(Into::into),
                run_timeout_ms: c.run_timeout.map_or(0, |d| d.0),
                request_digest: c.request_digest,
                at_ms: c.at.0,
                parent: c.parent.map(Into::into),
                not_selected: flat(c.not_selected),
                cause: c.cause.map(Into::into),
            }),
            Event::RunStarted { run, at } => Kind::RunStarted(v1::RunStarted { run: run.0, at_ms: at.0 }),
            Event::AttemptLeased { run, task, number, fence, worker, session, at } => Kind::AttemptLeased(v1::AttemptLeased {
                run: run.0,
                task,
                number,
                fence: fence.0,
                worker: worker.to_string(),
                session: session.to_string(),
                at_ms: at.0,
            }),
            Event::AttemptEnded { run, task, fence, ended, held } => {
                Kind::AttemptEnded(v1::AttemptEnded { run: run.0, task, fence: fence.0, ended: Some((*ended).into()), held })
            }
            Event::AttemptWaiting { run, task, fence, until, detail, at } => Kind::AttemptWaiting(v1::AttemptWaiting {
                run: run.0,
                task,
                fence: fence.0,
                until_ms: until.0,
                detail: detail.to_string(),
                at_ms: at.0,
            }),
            Event::TaskWaiting { run, task, child, at } => {
                Kind::TaskWaiting(v1::TaskWaiting { run: run.0, task, child: child.map_or(String::new(), |c| c.to_string()), at_ms: at.0 })
            }
            Event::TaskStopping { run, task, reason, detail, at } => Kind::TaskStopping(v1::TaskStopping {
                run: run.0,
                task,
                reason: reason.as_str().to_owned(),
                detail: detail.to_string(),
                at_ms: at.0,
            }),
            Event::TaskExpanded { run, task, count, at } => Kind::TaskExpanded(v1::TaskExpanded { run: run.0, task, count, at_ms: at.0 }),
            Event::RunPaused { run, paused, audit } => Kind::RunPaused(v1::RunPaused { run: run.0, paused, audit: Some(audit.into()) }),
            Event::RunReopened { run, digest, at } => {
                Kind::RunReopened(v1::RunReopened { run: run.0, digest: digest.0.to_vec().into(), at_ms: at.0 })
            }
            Event::PipelineUnregistered { pipeline, audit } => {
                Kind::PipelineUnregistered(v1::PipelineUnregistered { pipeline: pipeline.full().to_owned(), audit: Some(audit.into()) })
            }
            Event::PipelinePaused { pipeline, paused, audit } => {
                Kind::PipelinePaused(v1::PipelinePaused { pipeline: pipeline.full().to_owned(), paused, audit: Some(audit.into()) })
            }
            Event::PoolSet { pool, slots, audit } => {
                Kind::PoolSet(v1::PoolSet { pool: pool.to_string(), slots, audit: Some(audit.into()) })
            }
            Event::TaskRetrying { run, task, fence, ended, not_before } => Kind::TaskRetrying(v1::TaskRetrying {
                run: run.0,
                task,
                fence: fence.0,
                ended: Some((*ended).into()),
                not_before_ms: not_before.0,
            }),
            Event::TaskEnded(t) => Kind::TaskEnded(v1::TaskEnded {
                run: t.run.0,
                task: t.task,
                state: v1::State::from(t.state).into(),
                reason: word(t.reason),
                detail: t.detail.to_string(),
                outputs: t.outputs.0,
                audit: t.audit.map(Into::into),
                at_ms: t.at.0,
                not_before_ms: ms(t.not_before),
            }),
            Event::OutputsRecalled { run, task, outputs, at } => {
                Kind::OutputsRecalled(v1::OutputsRecalled { run: run.0, task, outputs: outputs.0, at_ms: at.0 })
            }
            Event::TasksSkipped { run, ranges, reason, at } => {
                Kind::TasksSkipped(v1::TasksSkipped { run: run.0, ranges: flat(ranges), reason: reason.as_str().to_owned(), at_ms: at.0 })
            }
            Event::TasksCancelled { run, reason, teardowns, at } => {
                Kind::TasksCancelled(v1::TasksCancelled { run: run.0, reason: reason.as_str().to_owned(), at_ms: at.0, teardowns })
            }
            Event::CancelRequested { run, reason, audit } => {
                Kind::CancelRequested(v1::CancelRequested { run: run.0, reason: reason.as_str().to_owned(), audit: Some(audit.into()) })
            }
            Event::RunEnded { run, state, reason, at } => {
                Kind::RunEnded(v1::RunEnded { run: run.0, state: v1::State::from(state).into(), reason: word(reason), at_ms: at.0 })
            }
            Event::GenerationOpened { run, generation, ranges, audit } => {
                Kind::GenerationOpened(v1::GenerationOpened { run: run.0, generation, ranges: flat(ranges), audit: Some(audit.into()) })
            }
            Event::RunArchived { run, at } => Kind::RunArchived(v1::RunArchived { run: run.0, at_ms: at.0 }),
            Event::WorkerDrained { worker, drained, by, at } => {
                Kind::WorkerDrained(v1::WorkerDrained { worker: worker.to_string(), drained, by: by.to_string(), at_ms: at.0 })
            }
            Event::RequestAnswered { request, digest, answer, at } => {
                Kind::RequestAnswered(v1::RequestAnswered { request: request.to_string(), digest, answer: answer.to_string(), at_ms: at.0 })
            }
            Event::ScheduleMoved { pipeline, to, audit } => Kind::ScheduleMoved(v1::ScheduleMoved {
                pipeline: pipeline.full().to_owned(),
                to_ms: to.map(|t| t.0),
                audit: Some(audit.into()),
            }),
            Event::TriggerPaused { pipeline, trigger, paused, audit } => Kind::TriggerPaused(v1::TriggerPaused {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                paused,
                audit: Some(audit.into()),
            }),
            Event::IntervalsSkipped { pipeline, interval, count, reason, at } => Kind::IntervalsSkipped(v1::IntervalsSkipped {
                pipeline: pipeline.full().to_owned(),
                interval: Some(interval.into()),
                count,
                reason: reason.as_str().to_owned(),
                at_ms: at.0,
            }),
            Event::Happened { event, happening } => Kind::Happened(v1::Happened { event: event.0, happening: Some((*happening).into()) }),
            Event::TriggerSaw { event, pipeline, trigger, saw, at } => {
                let (gathers_until_ms, missed) = match saw {
                    Saw::Gathers(until) => (until.0, String::new()),
                    Saw::Missed(why) => (0, why.to_string()),
                };
                let (pipeline, trigger) = (pipeline.full().to_owned(), trigger.to_string());
                Kind::TriggerSaw(v1::TriggerSaw { event: event.0, pipeline, trigger, gathers_until_ms, missed, at_ms: at.0 })
            }
            Event::GatheredMissed { pipeline, trigger, why, at } => Kind::GatheredMissed(v1::GatheredMissed {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                why: why.to_string(),
                at_ms: at.0,
            }),
            Event::TriggerForgotten { pipeline, trigger, whole, at } => Kind::TriggerForgotten(v1::TriggerForgotten {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                whole,
                at_ms: at.0,
            }),
            Event::EventHandled { event, dead } => {
                Kind::EventHandled(v1::EventHandled { event: event.0, dead: dead.map_or(String::new(), |why| why.to_string()) })
            }
            Event::FilesSeen { pipeline, trigger, files, partial } => Kind::FilesSeen(v1::FilesSeen {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                files: files
                    .into_iter()
                    .map(|(path, version)| v1::SeenFile {
                        path: path.to_string(),
                        version: version.map_or(String::new(), |v| v.to_string()),
                    })
                    .collect(),
                partial,
            }),
            Event::TriggerTokenSet { pipeline, trigger, digest, audit } => Kind::TriggerTokenSet(v1::TriggerTokenSet {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                digest: digest.map_or_else(Default::default, |digest| digest.0.to_vec().into()),
                audit: Some(audit.into()),
            }),
            Event::BackfillCreated(backfill) => Kind::BackfillCreated((*backfill).into()),
            Event::BackfillPaused { backfill, paused, audit } => {
                Kind::BackfillPaused(v1::BackfillPaused { backfill: backfill.to_string(), paused, audit: Some(audit.into()) })
            }
            Event::BackfillCancelled { backfill, audit } => {
                Kind::BackfillCancelled(v1::BackfillCancelled { backfill: backfill.to_string(), audit: Some(audit.into()) })
            }
            Event::BackfillEnded { backfill, state, at } => {
                Kind::BackfillEnded(v1::BackfillEnded { backfill: backfill.to_string(), state: v1::State::from(state).into(), at_ms: at.0 })
            }
            Event::AnswersForgotten { before, archived_before } => {
                Kind::AnswersForgotten(v1::AnswersForgotten { before_ms: before.0, archived_before_ms: archived_before.0 })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Malformed;
    fn try_from(event: v1::Event) -> Result<Self, Malformed> {
        let reason = |word: &str| reason_of(word).and_then(|r| required("reason", r));
        let audit = |audit: Option<v1::Audit>| required("audit", audit).map(Audit::from);
        let kind = event.kind.ok_or_else(|| malformed("event", "a kind that this program does not know: it needs a newer version"))?;
        Ok(match kind {
            Kind::TermStarted(e) => {
                Self::TermStarted { epoch: required("epoch", e.epoch)?.into(), node: id("node", &e.node)?, at: Timestamp(e.at_ms) }
            }
            Kind::PipelineRegistered(e) => Self::PipelineRegistered {
                pipeline: id("pipeline", &e.pipeline)?,
                version: e.version,
                digest: digest(&e.digest)?,
                dropped: e.dropped,
                at: Timestamp(e.at_ms),
            },
            Kind::RunCreated(e) => Self::RunCreated(Box::new(RunCreated {
                run: RunNo(e.run),
                id: id("run_id", &e.run_id)?,
                pipeline: id("pipeline", &e.pipeline)?,
                version: e.version,
                params: e.params.into(),
                trigger: required("trigger", e.trigger)?.try_into()?,
                interval: e.interval.map(TryInto::try_into).transpose()?,
                run_timeout: (e.run_timeout_ms != 0).then_some(Millis(e.run_timeout_ms)),
                request_digest: e.request_digest,
                at: Timestamp(e.at_ms),
                parent: e.parent.map(TryInto::try_into).transpose()?,
                not_selected: ranges(&e.not_selected)?,
                cause: e.cause.map(TryInto::try_into).transpose()?,
            })),
            Kind::RunStarted(e) => Self::RunStarted { run: RunNo(e.run), at: Timestamp(e.at_ms) },
            Kind::AttemptLeased(e) => Self::AttemptLeased {
                run: RunNo(e.run),
                task: e.task,
                number: e.number,
                fence: Fence(e.fence),
                worker: id("worker", &e.worker)?,
                session: id("session", &e.session)?,
                at: Timestamp(e.at_ms),
            },
            Kind::AttemptEnded(e) => Self::AttemptEnded {
                run: RunNo(e.run),
                task: e.task,
                fence: Fence(e.fence),
                ended: Box::new(required("ended", e.ended)?.try_into()?),
                held: e.held,
            },
            Kind::AttemptWaiting(e) => Self::AttemptWaiting {
                run: RunNo(e.run),
                task: e.task,
                fence: Fence(e.fence),
                until: Timestamp(e.until_ms),
                detail: e.detail.into(),
                at: Timestamp(e.at_ms),
            },
            Kind::TaskWaiting(e) => Self::TaskWaiting {
                run: RunNo(e.run),
                task: e.task,
                child: if e.child.is_empty() { None } else { Some(id("child", &e.child)?) },
                at: Timestamp(e.at_ms),
            },
            Kind::TaskStopping(e) => Self::TaskStopping {
                run: RunNo(e.run),
                task: e.task,
                reason: reason(&e.reason)?,
                detail: e.detail.into(),
                at: Timestamp(e.at_ms),
            },
            Kind::TaskExpanded(e) => Self::TaskExpanded { run: RunNo(e.run), task: e.task, count: e.count, at: Timestamp(e.at_ms) },
            Kind::RunPaused(e) => Self::RunPaused { run: RunNo(e.run), paused: e.paused, audit: audit(e.audit)? },
            Kind::RunReopened(e) => Self::RunReopened { run: RunNo(e.run), digest: digest(&e.digest)?, at: Timestamp(e.at_ms) },
            Kind::PipelineUnregistered(e) => Self::PipelineUnregistered { pipeline: id("pipeline", &e.pipeline)?, audit: audit(e.audit)? },
            Kind::PipelinePaused(e) => {
                Self::PipelinePaused { pipeline: id("pipeline", &e.pipeline)?, paused: e.paused, audit: audit(e.audit)? }
            }
            Kind::PoolSet(e) => Self::PoolSet { pool: id("pool", &e.pool)?, slots: e.slots, audit: audit(e.audit)? },
            Kind::TaskRetrying(e) => Self::TaskRetrying {
                run: RunNo(e.run),
                task: e.task,
                fence: Fence(e.fence),
                ended: Box::new(required("ended", e.ended)?.try_into()?),
                not_before: Timestamp(e.not_before_ms),
            },
            Kind::TaskEnded(e) => Self::TaskEnded(Box::new(TaskEnded {
                run: RunNo(e.run),
                task: e.task,
                state: state_of(e.state)?,
                reason: reason_of(&e.reason)?,
                detail: e.detail.into(),
                outputs: Outputs(e.outputs),
                audit: e.audit.map(Into::into),
                at: Timestamp(e.at_ms),
                not_before: time(e.not_before_ms),
            })),
            Kind::OutputsRecalled(e) => {
                Self::OutputsRecalled { run: RunNo(e.run), task: e.task, outputs: Outputs(e.outputs), at: Timestamp(e.at_ms) }
            }
            Kind::TasksSkipped(e) => {
                Self::TasksSkipped { run: RunNo(e.run), ranges: ranges(&e.ranges)?, reason: reason(&e.reason)?, at: Timestamp(e.at_ms) }
            }
            Kind::TasksCancelled(e) => {
                Self::TasksCancelled { run: RunNo(e.run), reason: reason(&e.reason)?, teardowns: e.teardowns, at: Timestamp(e.at_ms) }
            }
            Kind::CancelRequested(e) => Self::CancelRequested { run: RunNo(e.run), reason: reason(&e.reason)?, audit: audit(e.audit)? },
            Kind::RunEnded(e) => {
                Self::RunEnded { run: RunNo(e.run), state: state_of(e.state)?, reason: reason_of(&e.reason)?, at: Timestamp(e.at_ms) }
            }
            Kind::GenerationOpened(e) => {
                Self::GenerationOpened { run: RunNo(e.run), generation: e.generation, ranges: ranges(&e.ranges)?, audit: audit(e.audit)? }
            }
            Kind::RunArchived(e) => Self::RunArchived { run: RunNo(e.run), at: Timestamp(e.at_ms) },
            Kind::WorkerDrained(e) => {
                Self::WorkerDrained { worker: id("worker", &e.worker)?, drained: e.drained, by: e.by.into(), at: Timestamp(e.at_ms) }
            }
            Kind::RequestAnswered(e) => Self::RequestAnswered {
                request: id("request", &e.request)?,
                digest: e.digest,
                answer: e.answer.into(),
                at: Timestamp(e.at_ms),
            },
            Kind::ScheduleMoved(e) => {
                Self::ScheduleMoved { pipeline: id("pipeline", &e.pipeline)?, to: e.to_ms.map(Timestamp), audit: audit(e.audit)? }
            }
            Kind::TriggerPaused(e) => Self::TriggerPaused {
                pipeline: id("pipeline", &e.pipeline)?,
                trigger: id("trigger", &e.trigger)?,
                paused: e.paused,
                audit: audit(e.audit)?,
            },
            Kind::IntervalsSkipped(e) => Self::IntervalsSkipped {
                pipeline: id("pipeline", &e.pipeline)?,
                interval: required("interval", e.interval)?.try_into()?,
                count: e.count,
                reason: skip_reason(&e.reason)?,
                at: Timestamp(e.at_ms),
            },
            Kind::Happened(e) => {
                Self::Happened { event: EventNo(e.event), happening: Box::new(required("happening", e.happening)?.try_into()?) }
            }
            Kind::TriggerSaw(e) => Self::TriggerSaw {
                event: EventNo(e.event),
                pipeline: id("pipeline", &e.pipeline)?,
                trigger: id("trigger", &e.trigger)?,
                saw: time(e.gathers_until_ms).map_or_else(|| Saw::Missed(e.missed.into()), Saw::Gathers),
                at: Timestamp(e.at_ms),
            },
            Kind::GatheredMissed(e) => Self::GatheredMissed {
                pipeline: id("pipeline", &e.pipeline)?,
                trigger: id("trigger", &e.trigger)?,
                why: e.why.into(),
                at: Timestamp(e.at_ms),
            },
            Kind::TriggerForgotten(e) => Self::TriggerForgotten {
                pipeline: id("pipeline", &e.pipeline)?,
                trigger: id("trigger", &e.trigger)?,
                whole: e.whole,
                at: Timestamp(e.at_ms),
            },
            Kind::EventHandled(e) => Self::EventHandled { event: EventNo(e.event), dead: (!e.dead.is_empty()).then(|| e.dead.into()) },
            Kind::FilesSeen(e) => {
                let file = |f: v1::SeenFile| (f.path.into(), (!f.version.is_empty()).then(|| f.version.into()));
                let (pipeline, trigger) = (id("pipeline", &e.pipeline)?, id("trigger", &e.trigger)?);
                Self::FilesSeen { pipeline, trigger, files: e.files.into_iter().map(file).collect(), partial: e.partial }
            }
            Kind::TriggerTokenSet(e) => Self::TriggerTokenSet {
                pipeline: id("pipeline", &e.pipeline)?,
                trigger: id("trigger", &e.trigger)?,
                digest: (!e.digest.is_empty()).then(|| digest(&e.digest)).transpose()?,
                audit: audit(e.audit)?,
            },
            Kind::BackfillCreated(e) => Self::BackfillCreated(Box::new(e.try_into()?)),
            Kind::BackfillPaused(e) => {
                Self::BackfillPaused { backfill: id("backfill", &e.backfill)?, paused: e.paused, audit: audit(e.audit)? }
            }
            Kind::BackfillCancelled(e) => Self::BackfillCancelled { backfill: id("backfill", &e.backfill)?, audit: audit(e.audit)? },
            Kind::BackfillEnded(e) => {
                Self::BackfillEnded { backfill: id("backfill", &e.backfill)?, state: state_of(e.state)?, at: Timestamp(e.at_ms) }
            }
            Kind::AnswersForgotten(e) => {
                Self::AnswersForgotten { before: Timestamp(e.before_ms), archived_before: Timestamp(e.archived_before_ms) }
            }
        })
    }
}

impl v1::ClusterState {
    /// The wire form of all but runs, and the numbers of the live ones.
    pub fn of(cluster: ClusterRecord, runs: Vec<RunNo>) -> Self {
        let version =
            |(number, digest, at): (u32, Digest, Timestamp)| v1::PipelineVersion { number, digest: digest.0.to_vec().into(), at_ms: at.0 };
        let pipeline = |p: PipelineRecord| v1::PipelineState {
            name: p.name.full().to_owned(),
            versions: p.versions.into_iter().map(version).collect(),
            paused: p.paused.map(Into::into),
            unregistered: p.unregistered.map(Into::into),
            previous: p.previous.into_iter().map(Into::into).collect(),
            timetable: Some(p.timetable.into()),
        };
        let pool = |p: PoolRecord| v1::Pool { name: p.name.to_string(), slots: p.slots, set: Some(p.set.into()) };
        let answer = |a: AnswerRecord| v1::RequestAnswered {
            request: a.request.to_string(),
            digest: a.digest,
            answer: a.answer.to_string(),
            at_ms: a.at.0,
        };
        Self {
            epoch: Some(cluster.epoch.into()),
            leader: cluster.leader.map_or(String::new(), |n| n.to_string()),
            last_run: cluster.last_run.0,
            last_fence: cluster.last_fence.0,
            pipelines: cluster.pipelines.into_iter().map(pipeline).collect(),
            drained: cluster.drained.into_iter().map(|w| w.to_string()).collect(),
            answers: cluster.answers.into_iter().map(answer).collect(),
            archived: cluster.archived.into_iter().map(|(id, at)| v1::ArchivedId { run_id: id.to_string(), at_ms: at.0 }).collect(),
            runs: runs.into_iter().map(|no| no.0).collect(),
            pools: cluster.pools.into_iter().map(pool).collect(),
            backfills: cluster.backfills.into_iter().map(Into::into).collect(),
            last_event: cluster.last_event.0,
            inbox: cluster.inbox.into_iter().map(Into::into).collect(),
            dead: cluster.dead.into_iter().map(Into::into).collect(),
        }
    }

    /// Reads it back.
    pub fn split(self) -> Result<(ClusterRecord, Vec<RunNo>), Malformed> {
        let version = |v: v1::PipelineVersion| Ok((v.number, digest(&v.digest)?, Timestamp(v.at_ms)));
        let pipeline = |p: v1::PipelineState| {
            let versions = p.versions.into_iter().map(version).collect::<Result<_, Malformed>>()?;
            Ok(PipelineRecord {
                name: id("name", &p.name)?,
                versions,
                paused: p.paused.map(Into::into),
                unregistered: p.unregistered.map(Into::into),
                previous: p.previous.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
                timetable: p.timetable.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            })
        };
        let pool = |p: v1::Pool| Ok(PoolRecord { name: id("name", &p.name)?, slots: p.slots, set: required("set", p.set)?.into() });
        let answer = |a: v1::RequestAnswered| {
            Ok(AnswerRecord { request: id("request", &a.request)?, digest: a.digest, answer: a.answer.into(), at: Timestamp(a.at_ms) })
        };
        let cluster = ClusterRecord {
            epoch: required("epoch", self.epoch)?.into(),
            leader: if self.leader.is_empty() { None } else { Some(id("leader", &self.leader)?) },
            last_run: RunNo(self.last_run),
            last_fence: Fence(self.last_fence),
            pipelines: self.pipelines.into_iter().map(pipeline).collect::<Result<_, Malformed>>()?,
            drained: self.drained.iter().map(|w| id("drained", w)).collect::<Result<_, _>>()?,
            answers: self.answers.into_iter().map(answer).collect::<Result<_, Malformed>>()?,
            pools: self.pools.into_iter().map(pool).collect::<Result<_, Malformed>>()?,
            last_event: EventNo(self.last_event),
            inbox: self.inbox.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            dead: self.dead.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            backfills: self.backfills.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            archived: self
                .archived
                .into_iter()
                .map(|a| Ok((id("run_id", &a.run_id)?, Timestamp(a.at_ms))))
                .collect::<Result<_, Malformed>>()?,
        };
        Ok((cluster, self.runs.into_iter().map(RunNo).collect()))
    }
}

impl From<PreviousRecord> for v1::PreviousInterval {
    fn from(p: PreviousRecord) -> Self {
        let named = |(task, outputs): (penstock_common::TaskId, Outputs)| v1::NamedOutputs { task: task.to_string(), values: outputs.0 };
        Self { interval: Some(p.interval.into()), outputs: p.outputs.into_iter().map(named).collect() }
    }
}

impl TryFrom<v1::PreviousInterval> for PreviousRecord {
    type Error = Malformed;
    fn try_from(p: v1::PreviousInterval) -> Result<Self, Malformed> {
        let named = |o: v1::NamedOutputs| Ok((id("task", &o.task)?, Outputs(o.values)));
        Ok(Self {
            interval: required("interval", p.interval)?.try_into()?,
            outputs: p.outputs.into_iter().map(named).collect::<Result<_, Malformed>>()?,
        })
    }
}
