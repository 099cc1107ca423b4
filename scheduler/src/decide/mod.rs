//! One file a verb. Each checks its input, and only then emits events; an emitted event is applied at once, so what
//! follows sees its consequences. At the end `advance` does what has become possible: skips, ends, starts and leases.

mod advance;
mod backfill;
mod children;
mod command;
mod fire;
mod happen;
mod mark;
mod open;
mod person;
mod recall;
mod report;
mod submit;
mod trigger;
mod worker;

pub use recall::{Recalled, outputs_in};
pub(crate) use submit::not_of;

use std::str::FromStr;
use std::sync::Arc;

use penstock_common::event::TaskEnded;
use penstock_common::lease::{Lease, Previous};
use penstock_common::limits::{MAX_EVENT_BYTES_PER_INPUT, MAX_EVENTS_PER_INPUT, MAX_NOTE_BYTES};
use penstock_common::metrics::Outputs;
use penstock_common::record::Audit;
use penstock_common::{Event, Fence, Now, Reason, RequestId, RunId, RunNo, SessionId, Timestamp};

use crate::gates::Gate;
use crate::input::{Answer, Decision, Effect, Input, Rejection};
use crate::machine::run::Run;
use crate::state::State;
use crate::term::Term;
use crate::timers::Timer;

pub(crate) use submit::would_register;

/// A decision in the making.
pub(crate) struct Deciding<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) term: &'a mut Term,
    pub(crate) now: Now,
    pub(crate) decision: Decision,
    touched: Vec<crate::state::Touched>,
    bytes: usize,
}

pub(crate) fn decide(state: &mut State, term: &mut Term, input: Input, now: Now) -> Result<Decision, Rejection> {
    term.now = term.now.max(now.now);
    term.see_wall(state, now);
    let now = Now { now: term.now, ..now };
    let mut deciding = Deciding { state, term, now, decision: Decision::default(), touched: Vec::new(), bytes: 0 };
    deciding.decision.answer = deciding.verb(input)?;
    deciding.advance();
    Ok(deciding.decision)
}

/// At takeover: history that is not yet written.
pub(crate) fn owed(state: &State, term: &mut Term) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (no, run) in &state.runs {
        if run.record.state == penstock_common::State::Success && term.archiving.insert(*no) {
            effects.push(Effect::Archive(Box::new(crate::cut::RunCut::of(run))));
        }
    }
    effects
}

impl Deciding<'_> {
    fn verb(&mut self, input: Input) -> Result<Answer, Rejection> {
        match input {
            Input::Tick => Ok(Answer::Done),
            Input::StartTerm { epoch, node } => {
                self.emit(Event::TermStarted { epoch, node, at: self.now.now });
                Ok(Answer::Done)
            }
            Input::Register { plan } => self.register(plan),
            Input::Submit(submit) => self.submit(*submit),
            Input::Cancel { run, now, by, note } => self.cancel(&run, now, &by, &note),
            Input::Rerun { run, tasks, request, by, note } => self.rerun(&run, &tasks, &request, &by, &note),
            Input::Mark(mark) => self.mark(*mark),
            Input::Reopen { run, items, digest } => self.reopen(*run, items, digest),
            Input::Verdict { run, task, approve, by, note } => self.person_says(&run, &task, approve, &by, &note),
            Input::PauseRun { run, paused, by, note } => self.pause_run(&run, paused, &by, &note),
            Input::PausePipeline { pipeline, paused, by, note } => self.pause_pipeline(pipeline, paused, &by, &note),
            Input::Unregister { pipeline, by, note } => self.unregister(pipeline, &by, &note),
            Input::Rewind { pipeline, to, by, note } => self.rewind(pipeline, to, &by, &note),
            Input::PauseTrigger { pipeline, trigger, paused, by, note } => self.pause_trigger(pipeline, trigger, paused, &by, &note),
            Input::EmitEvent(emitted) => self.emit_event(emitted),
            Input::FilesFound { pipeline, trigger, found, gone, partial } => self.files_found(pipeline, trigger, found, gone, partial),
            Input::SetTriggerToken { pipeline, trigger, digest, by, note } => self.set_trigger_token(pipeline, trigger, digest, &by, &note),
            Input::Backfill(asked) => self.backfill(*asked),
            Input::PauseBackfill { backfill, paused, by, note } => self.pause_backfill(backfill, paused, &by, &note),
            Input::CancelBackfill { backfill, by, note } => self.cancel_backfill(backfill, &by, &note),
            Input::SetPool { pool, slots, by, note } => self.set_pool(pool, slots, &by, &note),
            Input::Drain { worker, drained, by } => self.drain(worker, drained, by),
            Input::Hello(hello) => self.hello(*hello),
            Input::Leaving { session } => self.leaving(&session),
            Input::Gone { session, died, detail } => Ok(self.gone(session, died, detail)),
            Input::Report { session, fence, report } => Ok(self.report(&session, fence, *report)),
            Input::Archived { run } => Ok(self.archived(run)),
            Input::Recalled { run, found } => Ok(self.recalled(run, found)),
        }
    }

    /// Applies an event and indexes what it touched.
    pub(crate) fn emit(&mut self, event: Event) {
        let session = match &event {
            Event::AttemptLeased { run, task, session, .. } => {
                self.term.timers.drop_task(*run, *task);
                Some(session.clone())
            }
            Event::TaskWaiting { run, task, .. } => {
                self.term.timers.drop(&Timer::QueueTimeout(*run, *task));
                None
            }
            Event::TaskStopping { run, task, .. } => {
                self.term.timers.drop(&Timer::WaitedOut(*run, *task));
                None
            }
            Event::TaskEnded(end) => {
                self.term.timers.drop_task(end.run, end.task);
                None
            }
            Event::AttemptEnded { fence, .. } | Event::TaskRetrying { fence, .. } | Event::AttemptWaiting { fence, .. } => {
                self.term.timers.drop(&Timer::Overdue(*fence));
                self.state.leases.get(fence).map(|holder| holder.session.clone())
            }
            _ => None,
        };
        let released = self.state.apply(&event, &mut self.touched);
        self.term.is_happening |= matches!(event, Event::Happened { .. } | Event::RunEnded { .. });
        self.term.absorb(self.state, &mut self.touched);
        if let Some(no) = event.run() {
            self.term.gates.look_at(&Gate::Run(no));
            if let Some(task) = event.task()
                && let Some((node, _)) = self.state.runs.get(&no).and_then(|run| run.instance(task))
            {
                self.term.gates.look_at(&Gate::Mapped(no, node));
            }
        }
        if let Some(session) = session {
            self.recount_slots(&session);
        }
        for (fence, session) in released {
            self.term.timers.drop(&Timer::Overdue(fence));
            self.recount_slots(&session);
            self.effect(Effect::Kill { session, fence });
        }
        self.bytes += bytes_of(&event);
        self.decision.events.push(event);
    }

    /// The id of the next run, where the cluster makes it itself: what it is of, and its number, so that there is none like it.
    pub(crate) fn mint(&self, of: &str, label: &str) -> RunId {
        let (no, label) = (RunNo(self.state.last_run.0 + 1), label.chars().take(40).collect::<String>());
        RunId::parse(&format!("{of}.{label}.{no}"))
            .unwrap_or_else(|_| RunId::parse(&format!("run.{no}")).unwrap_or_else(|_| unreachable!()))
    }

    /// The answer to a request that came before.
    pub(crate) fn answered<T: FromStr>(&self, request: &RequestId, asked: u64) -> Result<Option<T>, Rejection> {
        let Some(known) = self.state.answers.get(request) else { return Ok(None) };
        match known.answer.parse() {
            Ok(answer) if known.digest == asked => Ok(Some(answer)),
            _ => Err(Rejection::RequestReused(request.clone())),
        }
    }

    pub(crate) fn answer(&mut self, request: RequestId, asked: u64, answer: impl ToString) {
        self.emit(Event::RequestAnswered { request, digest: asked, answer: answer.to_string().into(), at: self.now.now });
    }

    /// What a person did, as events keep it.
    pub(crate) fn audit(&self, verb: &str, subject: &str, by: &str, note: &str) -> Audit {
        Audit {
            at: self.now.now,
            verb: verb.into(),
            subject: bounded(subject, MAX_NOTE_BYTES),
            by: bounded(by, MAX_NOTE_BYTES),
            note: bounded(note, MAX_NOTE_BYTES),
        }
    }

    /// Ends a task that holds no lease.
    pub(crate) fn end_task(&mut self, no: RunNo, task: u32, state: penstock_common::State, reason: Option<Reason>, detail: &str) {
        self.emit(Event::TaskEnded(Box::new(self.ended(no, task, state, reason, detail))));
    }

    /// How it ends.
    pub(crate) fn ended(&self, no: RunNo, task: u32, state: penstock_common::State, reason: Option<Reason>, detail: &str) -> TaskEnded {
        TaskEnded {
            run: no,
            task,
            state,
            reason,
            detail: bounded(detail, penstock_common::limits::MAX_DETAIL_BYTES),
            outputs: Outputs::default(),
            audit: None,
            not_before: None,
            at: self.now.now,
        }
    }

    fn recount_slots(&mut self, session: &SessionId) {
        let used = self.state.held.get(session).map_or(0, std::collections::BTreeSet::len);
        self.term.lanes.set_used(session, u32::try_from(used).unwrap_or(u32::MAX));
    }

    /// Events this input may still yield. One step of `advance` emits a few at most, and checks for one; half of the bytes are left
    /// for the verb's own event and for the last step.
    pub(crate) fn room(&self) -> usize {
        const STEP: usize = 64;
        if self.bytes > MAX_EVENT_BYTES_PER_INPUT / 2 {
            0
        } else {
            (MAX_EVENTS_PER_INPUT - STEP).saturating_sub(self.decision.events.len())
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }
}

/// About how many bytes an event takes in the journal, rather too many than too few.
pub(crate) fn bytes_of(event: &Event) -> usize {
    64 + match event {
        Event::RunCreated(c) => {
            let above = c.parent.as_ref().map_or(0, |p| p.id.as_str().len() + 32);
            c.id.as_str().len()
                + c.pipeline.full().len()
                + c.params.len()
                + c.trigger.by.len()
                + c.trigger.source.len()
                + 64
                + RANGE_BYTES * c.not_selected.len()
                + above
        }
        Event::AttemptLeased { worker, session, .. } => worker.as_str().len() + session.as_str().len(),
        Event::AttemptEnded { ended, .. } | Event::TaskRetrying { ended, .. } => {
            let metrics: usize = ended.metrics.0.keys().map(|name| name.len() + 16).sum();
            ended.detail.len() + metrics + ended.outputs.bytes() + 8 * ended.outputs.0.len() + 32
        }
        Event::AttemptWaiting { detail, .. } | Event::TaskStopping { detail, .. } => detail.len(),
        Event::TaskWaiting { child, .. } => child.as_ref().map_or(0, |id| id.as_str().len()),
        Event::TaskEnded(end) => end.detail.len() + end.outputs.bytes() + end.audit.as_ref().map_or(0, audit_bytes),
        Event::OutputsRecalled { outputs, .. } => outputs.bytes() + 8 * outputs.0.len(),
        Event::TasksSkipped { ranges, .. } => RANGE_BYTES * ranges.len(),
        Event::GenerationOpened { ranges, audit, .. } => RANGE_BYTES * ranges.len() + audit_bytes(audit),
        Event::CancelRequested { audit, .. } | Event::RunPaused { audit, .. } => audit_bytes(audit),
        Event::PipelinePaused { pipeline, audit, .. } | Event::PipelineUnregistered { pipeline, audit } => {
            pipeline.full().len() + audit_bytes(audit)
        }
        Event::ScheduleMoved { pipeline, audit, .. } => pipeline.full().len() + audit_bytes(audit),
        Event::TriggerPaused { pipeline, trigger, audit, .. } => pipeline.full().len() + trigger.as_str().len() + audit_bytes(audit),
        Event::TriggerTokenSet { pipeline, trigger, audit, .. } => pipeline.full().len() + trigger.as_str().len() + 32 + audit_bytes(audit),
        Event::IntervalsSkipped { pipeline, .. } => pipeline.full().len() + 32,
        Event::Happened { happening, .. } => 64 + happening.event.len() + 2 * happening.what.source().len() + 130,
        Event::TriggerSaw { pipeline, trigger, saw, .. } => {
            let why = if let penstock_common::event::Saw::Missed(why) = saw { why.len() } else { 0 };
            pipeline.full().len() + trigger.as_str().len() + why
        }
        Event::GatheredMissed { pipeline, trigger, why, .. } => pipeline.full().len() + trigger.as_str().len() + why.len(),
        Event::EventHandled { dead, .. } => dead.as_ref().map_or(0, |why| why.len()),
        Event::FilesSeen { pipeline, files, .. } => {
            let files: usize = files.iter().map(|(path, version)| path.len() + version.as_ref().map_or(0, |v| v.len()) + 8).sum();
            pipeline.full().len() + 64 + files
        }
        Event::BackfillCreated(b) => {
            let only: usize = b.only.iter().map(|selector| selector.len() + 4).sum();
            b.id.as_str().len() + b.pipeline.full().len() + 12 * b.intervals.len() + only + b.params.len() + audit_bytes(&b.created)
        }
        Event::BackfillPaused { backfill, audit, .. } | Event::BackfillCancelled { backfill, audit } => {
            backfill.as_str().len() + audit_bytes(audit)
        }
        Event::BackfillEnded { backfill, .. } => backfill.as_str().len(),
        Event::PoolSet { pool, audit, .. } => pool.as_str().len() + audit_bytes(audit),
        Event::PipelineRegistered { pipeline, dropped, .. } => 32 + pipeline.full().len() + 5 * dropped.len(),
        Event::WorkerDrained { worker, by, .. } => worker.as_str().len() + by.len(),
        Event::RequestAnswered { request, answer, .. } => request.as_str().len() + answer.len(),
        _ => 0,
    }
}

fn audit_bytes(audit: &Audit) -> usize {
    audit.by.len() + audit.note.len() + audit.subject.len() + 32
}

/// The message that a lease's worker gets.
pub(crate) fn lease_of(state: &State, run: &Run, index: u32, number: u32, fence: Fence, at: Timestamp) -> Lease {
    let planned = run.planned(index);
    let node = run.node(index);
    let instance = run.instance(index).map(|(_, number)| number);
    let items = instance.and_then(|_| run.mapping.of(node)?.items.as_ref());
    // A task that is paired with another sees that instance's outputs, not a list of all.
    let partner = |above: u32| {
        let edge = planned.upstream.iter().find(|edge| edge.task == above && edge.paired)?;
        run.mapping.live(edge.task)?.index_of(instance?)
    };
    let outputs = run.plan.reads(node).into_iter().filter_map(|above| {
        let outputs = match partner(above) {
            Some(index) => run.task(index).outputs.as_deref().cloned().unwrap_or_default(),
            None => run.outputs(above),
        };
        (!outputs.0.is_empty()).then(|| (run.plan.task(above).id.clone(), outputs))
    });
    Lease {
        run: run.record.id.clone(),
        pipeline: run.record.pipeline.clone(),
        task: run.key(index),
        instance,
        item: items.zip(instance).and_then(|(items, number)| items.get(number)),
        number,
        generation: run.record.generation,
        fence,
        spec: planned.spec.clone(),
        params: run.record.params.clone(),
        trigger: run.record.trigger.kind,
        interval: run.record.interval,
        outputs: outputs.collect(),
        previous: previous_of(state, run, index),
        zone: run.plan.zone.clone(),
        first_leased_at: run.task(index).first_leased(run.record.generation_at).unwrap_or(at),
        traceparent: traceparent(run, fence),
    }
}

/// The newest earlier interval with a SUCCESS, and what its tasks left then or before.
fn previous_of(state: &State, run: &Run, index: u32) -> Option<Previous> {
    let planned = run.planned(index);
    let start = run.record.interval.filter(|_| run.plan.uses_previous)?.start();
    let known = &state.pipelines.get(&run.record.pipeline)?.previous;
    let interval = known.before(start)?;
    let wanted = planned.remembers.iter().map(|&node| &run.plan.task(node).id);
    let outputs = wanted.map(|id| (id.clone(), known.left(id, start).cloned().unwrap_or_default())).collect();
    Some(Previous { interval, outputs })
}

/// A run is one trace, its id derived from the run id; an attempt's span is named by its fence.
fn traceparent(run: &Run, fence: Fence) -> String {
    let digest = penstock_common::Digest::of(run.record.id.as_str().as_bytes());
    let trace: String = digest.0[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("00-{trace}-{:016x}-01", fence.0)
}

/// Ranges of consecutive numbers, half-open.
pub(crate) fn ranges(sorted: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for n in sorted {
        match ranges.last_mut() {
            Some((_, end)) if *end == n => *end += 1,
            _ => ranges.push((n, n + 1)),
        }
    }
    ranges
}

/// Whether one event can name these stretches of tasks, as many as one input may.
pub(crate) fn fits(ranges: &[(u32, u32)], instead: &str) -> Result<(), Rejection> {
    let most = MAX_EVENT_BYTES_PER_INPUT / 2 / RANGE_BYTES;
    if ranges.len() <= most {
        return Ok(());
    }
    let found = ranges.len();
    Err(Rejection::Refused(format!("the tasks that are meant lie in {found} stretches, and {most} can be named at once: {instead}")))
}

/// A range of an event in the journal, at most.
const RANGE_BYTES: usize = 6;

/// Text from outside, cut to what state keeps.
pub(crate) fn bounded(text: &str, bytes: usize) -> Arc<str> {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Arc::from(&text[..end])
}

/// For messages that name an attempt.
pub(crate) type Held = Vec<(Fence, RunNo, u32)>;

/// What a session holds, in the order of its leases.
pub(crate) fn held_by(state: &State, session: &SessionId) -> Held {
    let fences = state.held.get(session).into_iter().flatten();
    fences.filter_map(|fence| state.leases.get(fence).map(|h| (*fence, h.run, h.task))).collect()
}
