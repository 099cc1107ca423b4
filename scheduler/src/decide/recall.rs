//! What a backfill's run of some tasks reads of the others: outputs of the interval's newest success, which are in state, or in history.

use std::collections::BTreeMap;

use penstock_common::metrics::Outputs;
use penstock_common::record::{TaskRecord, TriggerKind};
use penstock_common::{Event, Reason, RunNo, State, TaskId};

use super::Deciding;
use crate::input::{Answer, Effect, Recall};
use crate::machine::run::Run;

/// Outputs by task, each with the run that put them out.
pub type Recalled = BTreeMap<TaskId, (RunNo, Outputs)>;

/// What a task of an archived run put out, as those below it saw it: of a mapped one a list for each name, in the order of its items.
pub fn outputs_in(tasks: &[TaskRecord], id: &TaskId) -> Option<Outputs> {
    let of_task = || tasks.iter().filter(|task| task.id.task == *id && !task.gone);
    let whole = of_task().find(|task| task.instance.is_none()).filter(|task| task.state == State::Success)?;
    if whole.mapped.is_none() {
        return Some(whole.outputs.clone());
    }
    let mut instances: Vec<&TaskRecord> = of_task().filter(|task| task.instance.is_some()).collect();
    instances.sort_by_key(|task| task.instance);
    let list = |name: &String| {
        let value = |task: &&TaskRecord| task.outputs.0.get(name).map_or("null", String::as_str).to_owned();
        (name.clone(), format!("[{}]", instances.iter().map(value).collect::<Vec<_>>().join(",")))
    };
    Some(Outputs(instances.iter().flat_map(|task| task.outputs.0.keys()).map(list).collect()))
}

impl Deciding<'_> {
    /// Whether a queued run has what it reads of tasks that it does not run; if not, it is being looked up.
    pub(crate) fn has_recalled(&mut self, no: RunNo) -> bool {
        if !self.term.recalls.contains_key(&no) {
            let Some(recall) = self.state.runs.get(&no).and_then(|run| asks(no, run)) else { return true };
            self.term.recalls.insert(no, None);
            self.effect(Effect::Recall(Box::new(recall)));
        }
        while let Some(Some(found)) = self.term.recalls.get_mut(&no) {
            let Some((id, (_, outputs))) = found.pop_first() else {
                self.term.recalls.remove(&no);
                return true;
            };
            if let Some(task) = self.state.runs.get(&no).and_then(|run| run.plan.find(&id)) {
                self.emit(Event::OutputsRecalled { run: no, task, outputs, at: self.now.now });
            }
            if self.room() == 0 {
                return false;
            }
        }
        false
    }

    /// What history knows; of each task the newer counts of that and of what state knows.
    pub(crate) fn recalled(&mut self, no: RunNo, mut found: Recalled) -> Answer {
        let asked = self.state.runs.get(&no).filter(|run| run.record.state == State::Pending).and_then(|run| Some((asks(no, run)?, run)));
        let Some((recall, run)) = asked else {
            self.term.recalls.remove(&no);
            return Answer::Done;
        };
        self.term.starting.insert(run.record.pipeline.clone());
        let others =
            self.state.runs.iter().filter(|(other, run)| {
                **other != no && run.record.pipeline == recall.pipeline && run.record.interval == Some(recall.interval)
            });
        for (&other, run) in others {
            for id in &recall.tasks {
                let succeeded = run.plan.find(id).filter(|&node| run.task(node).state == State::Success);
                let is_newer = found.get(id).is_none_or(|(known, _)| *known < other);
                if let Some(node) = succeeded.filter(|_| is_newer) {
                    found.insert(id.clone(), (other, run.outputs(node)));
                }
            }
        }
        found.retain(|id, (_, outputs)| recall.tasks.contains(id) && !outputs.0.is_empty());
        self.term.recalls.insert(no, Some(found));
        Answer::Done
    }
}

/// What is to be looked up for a run.
fn asks(no: RunNo, run: &Run) -> Option<Recall> {
    let interval = run.record.interval.filter(|_| run.record.trigger.kind == TriggerKind::Backfill)?;
    let left_out = |node: u32| run.task(node).reason == Some(Reason::NotSelected);
    let nodes = 0..run.plan.len() as u32;
    // Most runs leave nothing out.
    nodes.clone().find(|&node| left_out(node))?;
    let read = nodes.filter(|&node| !left_out(node)).flat_map(|node| run.plan.reads(node)).filter(|&above| left_out(above));
    let tasks: std::collections::BTreeSet<TaskId> = read.map(|above| run.plan.task(above).id.clone()).collect();
    (!tasks.is_empty()).then(|| Recall { run: no, pipeline: run.record.pipeline.clone(), interval, tasks })
}
