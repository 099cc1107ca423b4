//! One file a verb. Each checks its input, and only then emits events; an emitted event is applied at once, so what
//! follows sees its consequences. At the end `advance` does what has become possible: skips, ends, starts and leases.

mod advance;
mod command;
mod report;
mod submit;
mod worker;

use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::limits::{MAX_EVENT_BYTES_PER_INPUT, MAX_EVENTS_PER_INPUT};
use penstock_common::metrics::Outputs;
use penstock_common::{Event, Fence, Now, RunNo, SessionId};

use crate::input::{Answer, Decision, Effect, Input, Rejection};
use crate::machine::run::Run;
use crate::state::State;
use crate::term::Term;

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
            Input::Cancel { run, by, note } => self.cancel(&run, by, note),
            Input::Rerun { run, request, by, note } => self.rerun(&run, &request, by, note),
            Input::Drain { worker, drained, by } => self.drain(worker, drained, by),
            Input::Hello(hello) => self.hello(*hello),
            Input::Leaving { session } => self.leaving(&session),
            Input::Gone { session, died, detail } => Ok(self.gone(session, died, detail)),
            Input::Report { session, fence, ended } => Ok(self.report(&session, fence, ended)),
            Input::Archived { run } => Ok(self.archived(run)),
        }
    }

    /// Applies an event and indexes what it touched.
    pub(crate) fn emit(&mut self, event: Event) {
        let session = match &event {
            Event::AttemptLeased { session, .. } => Some(session.clone()),
            Event::AttemptEnded { fence, .. } => self.state.leases.get(fence).map(|holder| holder.session.clone()),
            _ => None,
        };
        let released = self.state.apply(&event, &mut self.touched);
        self.term.absorb(self.state, &mut self.touched);
        if let Some(session) = session {
            self.recount_slots(&session);
        }
        for (fence, session) in released {
            self.recount_slots(&session);
            self.effect(Effect::Kill { session, fence });
        }
        self.bytes += bytes_of(&event);
        self.decision.events.push(event);
    }

    fn recount_slots(&mut self, session: &SessionId) {
        let used = self.state.held.get(session).map_or(0, std::collections::BTreeSet::len);
        self.term.lanes.set_used(session, u32::try_from(used).unwrap_or(u32::MAX));
    }

    /// Events this input may still yield. One step of `advance` emits two at most, and checks for one; half of the bytes are left
    /// for the verb's own event and for the last step.
    pub(crate) fn room(&self) -> usize {
        if self.bytes > MAX_EVENT_BYTES_PER_INPUT / 2 { 0 } else { (MAX_EVENTS_PER_INPUT - 1).saturating_sub(self.decision.events.len()) }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }
}

/// About how many bytes an event takes in the journal, rather too many than too few.
pub(crate) fn bytes_of(event: &Event) -> usize {
    64 + match event {
        Event::RunCreated(c) => c.id.as_str().len() + c.pipeline.full().len() + c.params.len() + c.trigger.by.len(),
        Event::AttemptLeased { worker, session, .. } => worker.as_str().len() + session.as_str().len(),
        Event::AttemptEnded { ended, .. } => {
            let metrics: usize = ended.metrics.0.keys().map(|name| name.len() + 16).sum();
            ended.detail.len() + metrics + ended.outputs.bytes() + 8 * ended.outputs.0.len()
        }
        Event::TasksSkipped { ranges, .. } => 6 * ranges.len(),
        Event::GenerationOpened { ranges, by, note, .. } => 6 * ranges.len() + by.len() + note.len(),
        Event::CancelRequested { by, note, .. } => by.len() + note.len(),
        Event::PipelineRegistered { pipeline, dropped, .. } => 32 + pipeline.full().len() + 5 * dropped.len(),
        Event::WorkerDrained { worker, by, .. } => worker.as_str().len() + by.len(),
        Event::RequestAnswered { request, answer, .. } => request.as_str().len() + answer.len(),
        _ => 0,
    }
}

/// The message that a lease's worker gets.
pub(crate) fn lease_of(run: &Run, index: u32, number: u32, fence: Fence) -> Lease {
    let planned = run.plan.task(index);
    let outputs = run
        .plan
        .reads(index)
        .into_iter()
        .filter_map(|above| {
            let outputs: &Outputs = run.task(above).outputs.as_deref()?;
            Some((run.plan.task(above).id.clone(), outputs.clone()))
        })
        .collect();
    Lease {
        run: run.record.id.clone(),
        pipeline: run.record.pipeline.clone(),
        task: planned.id.clone(),
        number,
        generation: run.record.generation,
        fence,
        spec: planned.spec.clone(),
        params: run.record.params.clone(),
        trigger: run.record.trigger.kind,
        interval: run.record.interval,
        outputs,
        traceparent: traceparent(run, fence),
    }
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
