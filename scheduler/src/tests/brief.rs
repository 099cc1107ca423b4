//! Events in a line each (a failure that is tried again in two), as scenarios compare them.

use penstock_common::record::Ended;
use penstock_common::{Event, Reason, Timestamp};

use super::people::reasoned;
use super::world::World;

impl World {
    pub(super) fn brief(&self, event: &Event) -> String {
        let Some(no) = event.run() else {
            return match event {
                Event::TermStarted { epoch, .. } => format!("term {epoch}"),
                Event::PipelineRegistered { pipeline, version, .. } => format!("registered {pipeline} {version}"),
                Event::PipelineUnregistered { pipeline, .. } => format!("unregistered {pipeline}"),
                Event::PipelinePaused { pipeline, paused, .. } => format!("{} {pipeline}", if *paused { "paused" } else { "resumed" }),
                Event::PoolSet { pool, slots: Some(slots), .. } => format!("pool {pool} of {slots}"),
                Event::PoolSet { pool, slots: None, .. } => format!("no pool {pool}"),
                Event::WorkerDrained { worker, drained, .. } => format!("{} {worker}", if *drained { "drained" } else { "undrained" }),
                Event::RequestAnswered { request, answer, .. } => format!("answered {request}: {answer}"),
                Event::AnswersForgotten { .. } => "answers forgotten".to_owned(),
                Event::ScheduleMoved { pipeline, to: Some(to), .. } => format!("{pipeline}: the next interval begins {to}"),
                Event::ScheduleMoved { pipeline, to: None, .. } => format!("{pipeline}: no schedule"),
                Event::TriggerPaused { pipeline, trigger, paused, .. } => {
                    format!("{} {trigger} of {pipeline}", if *paused { "paused" } else { "resumed" })
                }
                Event::TriggerTokenSet { pipeline, trigger, digest, .. } => {
                    format!("{} for {trigger} of {pipeline}", if digest.is_some() { "a token" } else { "no token" })
                }
                Event::IntervalsSkipped { pipeline, interval, count, reason, .. } => {
                    let (from, to) = (interval.start().since(Timestamp(0)), interval.end());
                    let hours = to.since(Timestamp(0)).0.saturating_sub(from.0) / 3_600_000;
                    format!("{pipeline}: {count} skipped, {hours} h: {}", reason.as_str())
                }
                Event::Happened { event, happening } => format!("event {event}: {}", happening.what.source()),
                Event::TriggerSaw { event, trigger, saw, .. } => format!("event {event}: {trigger} {saw:?}"),
                Event::TriggerForgotten { trigger, whole, .. } => format!("{trigger} forgotten{}", if *whole { "" } else { ": files" }),
                Event::GatheredMissed { trigger, why, .. } => format!("{trigger} missed: {why}"),
                Event::EventHandled { event, dead } => format!("event {event} handled{}", if dead.is_some() { ", dead" } else { "" }),
                Event::FilesSeen { trigger, files, .. } => format!("{trigger} sees {} files", files.len()),
                Event::BackfillCreated(b) => format!("backfill {} of {} intervals", b.id, b.intervals.len()),
                Event::BackfillPaused { backfill, paused, .. } => format!("{} {backfill}", if *paused { "paused" } else { "resumed" }),
                Event::BackfillCancelled { backfill, .. } => format!("cancelled {backfill}"),
                Event::BackfillEnded { backfill, state, .. } => format!("backfill {backfill} {state}"),
                _ => unreachable!("every other event belongs to a run"),
            };
        };
        let run = &self.checker.runs[&no];
        let name = |task: u32| run.name(task);
        let span = |ranges: &[(u32, u32)]| {
            let one = |&(from, to): &(u32, u32)| if to == from + 1 { name(from) } else { format!("{}..{}", name(from), name(to - 1)) };
            ranges.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        let retry = |task: u32, not_before: &Timestamp, ended: &Ended| {
            let why = if ended.reason == Some(Reason::Lost) { " after a loss" } else { "" };
            let end = reasoned(ended.state, ended.reason);
            format!("{0}: {1} {end}\n{0}: {1} RETRY in {2}{why}", run.id, name(task), not_before.since(Timestamp(self.now)))
        };
        let id = &run.id;
        match event {
            Event::RunCreated(_) => format!("{id}: created"),
            Event::RunStarted { .. } => format!("{id}: started"),
            Event::RunPaused { paused, .. } => format!("{id}: {}", if *paused { "paused" } else { "resumed" }),
            Event::TaskExpanded { task, count, .. } => format!("{id}: {} of {count}", name(*task)),
            Event::AttemptLeased { task, number, fence, session, .. } => {
                format!("{id}: {}#{number} fence {fence} to {session}", name(*task))
            }
            Event::AttemptEnded { task, held: true, .. } => format!("{id}: {} RUNNING(held)", name(*task)),
            Event::AttemptEnded { task, ended, .. } => format!("{id}: {} {}", name(*task), reasoned(ended.state, ended.reason)),
            Event::AttemptWaiting { task, until, .. } => {
                format!("{id}: {} RUNNING(waiting) for {}", name(*task), until.since(Timestamp(self.now)))
            }
            Event::TaskRetrying { task, not_before, ended, .. } => retry(*task, not_before, ended),
            Event::TaskWaiting { task, child: Some(child), .. } => format!("{id}: {} RUNNING(waiting) for {child}", name(*task)),
            Event::TaskWaiting { task, child: None, .. } => format!("{id}: {} RUNNING(waiting)", name(*task)),
            Event::TaskStopping { task, reason, .. } => format!("{id}: {} stopping for {reason}", name(*task)),
            Event::TaskEnded(end) => {
                let again = end.not_before.map(|at| format!("\n{id}: {} RETRY in {}", name(end.task), at.since(Timestamp(self.now))));
                format!("{id}: {} {}{}", name(end.task), reasoned(end.state, end.reason), again.unwrap_or_default())
            }
            Event::TasksSkipped { ranges, reason, .. } => format!("{id}: {} SKIPPED({reason})", span(ranges)),
            Event::TasksCancelled { reason, teardowns, .. } => {
                format!("{id}: the rest CANCELLED({reason}){}", if *teardowns { ", teardowns too" } else { "" })
            }
            Event::CancelRequested { reason, .. } => format!("{id}: cancel for {reason}"),
            Event::RunEnded { state, reason, .. } => format!("{id}: {}", reasoned(*state, *reason)),
            Event::GenerationOpened { generation, ranges, .. } => format!("{id}: generation {generation} of {}", span(ranges)),
            Event::RunReopened { .. } => format!("{id}: reopened"),
            Event::OutputsRecalled { task, .. } => format!("{id}: {} recalled", name(*task)),
            Event::RunArchived { .. } => format!("{id}: archived"),
            _ => unreachable!("an event of a run"),
        }
    }
}
