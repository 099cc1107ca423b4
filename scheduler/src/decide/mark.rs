//! New generations: rerun, mark, and the return of an archived run for one of these.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_common::event::TaskEnded;
use penstock_common::limits::MAX_NOTE_BYTES;
use penstock_common::pipeline::ForEach;
use penstock_common::record::Audit;
use penstock_common::{Digest, Event, Items, Reason, RequestId, RunId, RunNo, Selector, State};

use super::report::branches as branches_of;
use super::{Deciding, bounded, ranges};
use crate::cut::SnapshotRun;
use crate::input::{Answer, Mark, Rejection};
use crate::machine::run::Run;
use crate::plan::PlannedTask;

/// Tasks that one call marks: an event each, within what one input may yield.
const MAX_MARKED: usize = 500;

impl Deciding<'_> {
    /// Opens a generation of the tasks that are named, or of what did not succeed and of all below it.
    pub(crate) fn rerun(&mut self, id: &RunId, tasks: &[Selector], request: &RequestId, by: &str, note: &str) -> Result<Answer, Rejection> {
        let names = tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let asked = digest_of(&format!("rerun\0{id}\0{names}"));
        if let Some(generation) = self.answered(request, asked)? {
            return Ok(Answer::Generation(generation));
        }
        let (no, run) = self.ended_run(id)?;
        let mut again = if tasks.is_empty() { unsuccessful(run) } else { self.selected(run, id, tasks)? };
        if again.is_empty() {
            return Err(Rejection::NothingToRerun(id.clone()));
        }
        loop {
            let before = again.len();
            with_setups(run, &mut again);
            with_items(run, &mut again);
            if again.len() == before {
                break;
            }
        }
        let audit = self.audit("rerun", &names, by, note);
        let generation = self.open_generation(no, again, audit)?;
        self.answer(request.clone(), asked, generation);
        Ok(Answer::Generation(generation))
    }

    /// Of an ended run: a generation in which these tasks have ended so, and all below them begins again. Of a live one: the tasks end so
    /// now, if they hold no lease and have not ended.
    pub(crate) fn mark(&mut self, mark: Mark) -> Result<Answer, Rejection> {
        let Mark { run: id, tasks, state, request, by, note } = mark;
        if !matches!(state, State::Success | State::Failed | State::Skipped) {
            return Err(Rejection::Refused(format!("a task can be marked SUCCESS, FAILED or SKIPPED, not {state}")));
        }
        let names = tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let asked = digest_of(&format!("mark\0{id}\0{names}\0{state}"));
        if let Some(generation) = self.answered(&request, asked)? {
            return Ok(Answer::Generation(generation));
        }
        let (no, run) = self.state.run_by_id(&id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        let meant = self.selected(run, &id, &tasks)?;
        let again = if run.record.state.is_terminal() { again_below(run, &meant) } else { BTreeSet::new() };
        if let Some(&task) = meant.iter().find(|&&t| again.contains(&run.node(t)) && run.instance(t).is_some()) {
            let (key, node) = (run.key(task), &run.planned(task).id);
            let why = format!("{key} goes with {node}, which begins again: mark {node} as a whole, or {key} when it is there again");
            return Err(Rejection::Refused(why));
        }
        let marked = with_instances(run, &meant, &again);
        if marked.is_empty() {
            return Err(Rejection::Refused("no task is named: say which are to be marked, as load[0]".to_owned()));
        }
        if marked.len() > MAX_MARKED {
            let why = format!("{} tasks are meant, and at most {MAX_MARKED} are marked at once: name fewer", marked.len());
            return Err(Rejection::Refused(why));
        }
        let before = run.record.generation;
        let mut generation = before;
        if run.record.state.is_terminal() {
            self.ended_run(&id)?;
            let again = again.into_iter().chain(marked.iter().copied()).collect();
            let audit = self.audit("mark", &format!("{names} {state}"), &by, &note);
            generation = self.open_generation(no, again, audit)?;
        } else if let Some(&task) = marked.iter().find(|&&t| run.task(t).state.is_terminal() || run.task(t).live().is_some()) {
            let expected = "in a run that goes on only a task that waits can be marked; cancel the run to mark what runs or has ended";
            let (key, state) = (run.key(task), run.task(task).state.to_string());
            return Err(Rejection::WrongState { run: id, task: key, state, expected });
        }
        // A new generation has said it already.
        let mut audit = (generation == before).then(|| self.audit("mark", &format!("{names} {state}"), &by, &note));
        for task in marked {
            let live = self
                .state
                .runs
                .get(&no)
                .is_some_and(|run| run.check(task).is_ok() && !run.is_gone(task) && !run.task(task).state.is_terminal());
            if !live {
                continue;
            }
            // One event of many says who, and why; the others say why in short.
            let audit = audit.take();
            let detail = bounded(&note, if audit.is_some() { MAX_NOTE_BYTES } else { MAX_NOTE_BYTES / 4 });
            let ended = self.ended(no, task, state, Some(Reason::Marked), &detail);
            self.emit(Event::TaskEnded(Box::new(TaskEnded { audit, ..ended })));
        }
        self.answer(request, asked, generation);
        Ok(Answer::Generation(generation))
    }

    /// A new life of these tasks, and of the mapped ones whose items follow from them: else state could not tell what those are mapped over.
    fn open_generation(&mut self, no: RunNo, mut again: BTreeSet<u32>, audit: Audit) -> Result<u32, Rejection> {
        let Some(run) = self.state.runs.get(&no) else { return Ok(0) };
        with_items(run, &mut again);
        again.retain(|&task| !run.is_gone(task));
        let ranges = ranges(again.iter().copied());
        super::fits(&ranges, "rerun the mapped task that they are instances of as a whole, or fewer of them")?;
        self.term.kept.remove(&(run.record.ended_at.unwrap_or_default(), no));
        let generation = run.record.generation + 1;
        // What a branch that keeps its success did not pick is passed over in this life too.
        let branches = (0u32..).zip(run.plan.tasks()).filter(|(_, planned)| planned.spec.branch);
        let kept: Vec<u32> = branches.map(|(node, _)| node).filter(|node| !again.contains(node)).collect();
        self.emit(Event::GenerationOpened { run: no, generation, ranges, audit });
        for node in kept {
            let Some(run) = self.state.runs.get(&no) else { break };
            let chose = run.task(node).outputs.as_deref().filter(|_| run.task(node).state == State::Success);
            let passed_over = chose.and_then(|outputs| branches_of(run, node, outputs).ok()).unwrap_or_default();
            self.pass_over(no, passed_over);
        }
        Ok(generation)
    }

    /// An archived run is live again, still ended: what follows is a rerun or a mark.
    pub(crate) fn reopen(&mut self, run: SnapshotRun, items: Vec<Arc<Items>>, digest: Digest) -> Result<Answer, Rejection> {
        let id = run.record.id.clone();
        if self.state.run_by_id(&id).is_some() {
            return Ok(Answer::Done);
        }
        let Some(plan) = self.state.plan(&run.record.pipeline, run.record.version).cloned() else {
            let (pipeline, version) = (&run.record.pipeline, run.record.version);
            let why = format!("version {version} of {pipeline} is no longer kept: start a new run with penstock rerun {id} --latest");
            return Err(Rejection::Refused(why));
        };
        self.state.items.extend(items.into_iter().map(|items| (items.digest(), items)));
        Run::restore(run.record.clone(), plan, run.tasks.clone(), &self.state.items)
            .map_err(|broken| Rejection::Refused(format!("the history of run {id} cannot be taken up: {}", broken.0)))?;
        let (no, ended) = (run.record.no, run.record.ended_at.unwrap_or_default());
        // If nothing follows it is archived again with those that are kept for a rerun.
        self.term.kept.insert((ended, no));
        self.state.reopening.insert(digest, run);
        self.emit(Event::RunReopened { run: no, digest, at: self.now.now });
        Ok(Answer::Done)
    }

    fn ended_run(&self, id: &RunId) -> Result<(RunNo, &Run), Rejection> {
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        if let Some(why) = &run.record.quarantined {
            return Err(Rejection::Quarantined { run: id.clone(), why: why.clone() });
        }
        if !run.record.state.is_terminal() {
            return Err(Rejection::NotEnded { run: id.clone(), state: run.record.state });
        }
        if self.term.archiving.contains(&no) {
            return Err(Rejection::UnknownRun(id.clone()));
        }
        Ok((no, run))
    }

    fn selected(&self, run: &Run, id: &RunId, tasks: &[Selector]) -> Result<BTreeSet<u32>, Rejection> {
        run.select(tasks).map_err(|task| Rejection::UnknownTask { run: id.clone(), task })
    }
}

fn digest_of(text: &str) -> u64 {
    Digest::of(text.as_bytes()).number()
}

/// Every task that failed, was cancelled or was skipped for one that did, and all below those.
fn unsuccessful(run: &Run) -> BTreeSet<u32> {
    let bad = |t: &u32| match run.task(*t).state {
        State::Failed | State::Cancelled => true,
        State::Skipped => run.task(*t).reason == Some(Reason::UpstreamFailed),
        _ => false,
    };
    let bad: Vec<u32> = (0..run.slots()).filter(|t| !run.is_gone(*t) && !run.is_expanded(*t)).filter(bad).collect();
    let mut again: BTreeSet<u32> = bad.iter().copied().collect();
    again.extend(run.reach(bad, |t| &t.downstream));
    again
}

/// What begins again below tasks that are marked: those that are are not among it, but where they are below one another.
fn again_below(run: &Run, marked: &BTreeSet<u32>) -> BTreeSet<u32> {
    let below = run.reach(marked.iter().copied(), |t| &t.downstream);
    let mut again: BTreeSet<u32> = below.union(marked).copied().collect();
    with_items(run, &mut again);
    again.retain(|task| below.contains(task) || !marked.contains(task));
    again
}

/// A mapped task is marked by its instances, unless it begins again as a whole.
fn with_instances(run: &Run, marked: &BTreeSet<u32>, again: &BTreeSet<u32>) -> BTreeSet<u32> {
    let of = |&task: &u32| match run.mapping.live(task).filter(|_| !again.contains(&task)) {
        Some(expansion) => expansion.indices().collect(),
        None => vec![task],
    };
    marked.iter().flat_map(of).collect()
}

/// Mapped tasks that take the items of one that begins again, or the outputs of one of its instances.
fn with_items(run: &Run, again: &mut BTreeSet<u32>) {
    loop {
        let before = again.len();
        let begins = |planned: &PlannedTask, source: u32| {
            let of_instances = matches!(planned.spec.for_each, Some(ForEach::Output { .. }));
            again.contains(&source) || (of_instances && again.iter().any(|&task| run.node(task) == source))
        };
        let mapped = (0u32..).zip(run.plan.tasks()).filter(|(_, planned)| planned.source.is_some_and(|source| begins(planned, source)));
        let mapped: Vec<u32> = mapped.map(|(node, _)| node).collect();
        again.extend(mapped);
        if again.len() == before {
            return;
        }
    }
}

/// What is set up and cleaned up again: the setup of every teardown whose scope holds a task that begins again.
fn with_setups(run: &Run, again: &mut BTreeSet<u32>) {
    for (node, planned) in (0u32..).zip(run.plan.tasks()) {
        let Some(setup) = planned.spec.setup.as_ref().and_then(|id| run.plan.find(id)) else { continue };
        let inside = run.plan.cone([setup], |t| &t.downstream);
        let above = run.plan.cone([node], |t| &t.upstream);
        if again.iter().any(|&t| inside.contains(&run.node(t)) && above.contains(&run.node(t))) {
            again.extend([setup, node]);
        }
    }
}
