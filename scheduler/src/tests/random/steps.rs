//! Steps that chance chooses among.

use proptest::prelude::*;

use super::super::model::Outcome;

/// One step. Numbers choose among what there is, modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Register(u8, u8),
    Unregister(u8),
    Submit {
        pipeline: u8,
        run: u8,
        only: Option<(u8, u8)>,
        go: bool,
    },
    Cancel(u8, bool),
    Rerun(u8, u8),
    RerunOf(u8, u8, Vec<(u8, u8)>),
    Mark {
        run: u8,
        request: u8,
        tasks: Vec<(u8, u8)>,
        state: u8,
    },
    Reopen(u8),
    Verdict(u8, bool),
    Pause(u8, bool),
    PausePipeline(u8, bool),
    Pool(u8, Option<u32>),
    Drain(u8, bool),
    Hello(u8),
    Leave(u8),
    Die {
        worker: u8,
        seen: bool,
    },
    Restart(u8),
    Silence(u8),
    Unplug(u8),
    /// The leader's timers give up sessions that did not come back.
    GiveUp,
    Finish {
        which: u8,
        outcome: Outcome,
        lost: bool,
    },
    ReportAgain(u8),
    ReportStale(u8, u8),
    Tick,
    Wait(u64),
    Commit(u8),
    FailOver(u8),
    Archived,
    ArchivedWrongly(u8),
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        20 => Just(Outcome::Success),
        1 => (0..2_000usize).prop_map(Outcome::Output),
        1 => Just(Outcome::Output(70_000)),
        5 => (1..3).prop_map(Outcome::Exit),
        1 => Just(Outcome::Fail),
        2 => Just(Outcome::Skip),
        1 => Just(Outcome::Cancelled),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    let tasks = || prop::collection::vec((n(), n()), 1..3);
    let only = || prop::option::weighted(0.1, (n(), n()));
    let of_people = prop_oneof![
        1 => (n(), n()).prop_map(|(p, v)| Step::Register(p, v)),
        1 => n().prop_map(Step::Unregister),
        8 => (n(), n(), only(), any::<bool>()).prop_map(|(pipeline, run, only, go)| Step::Submit { pipeline, run, only, go }),
        1 => (n(), prop::bool::weighted(0.3)).prop_map(|(r, now)| Step::Cancel(r, now)),
        4 => (n(), n()).prop_map(|(r, q)| Step::Rerun(r, q)),
        3 => (n(), n(), tasks()).prop_map(|(r, q, tasks)| Step::RerunOf(r, q, tasks)),
        2 => (n(), n(), tasks(), 0..3u8).prop_map(|(run, request, tasks, state)| Step::Mark { run, request, tasks, state }),
        1 => n().prop_map(Step::Reopen),
        4 => (n(), prop::bool::weighted(0.7)).prop_map(|(which, yes)| Step::Verdict(which, yes)),
        2 => (n(), prop::bool::weighted(0.4)).prop_map(|(r, p)| Step::Pause(r, p)),
        1 => (n(), prop::bool::weighted(0.3)).prop_map(|(r, p)| Step::PausePipeline(r, p)),
        2 => (n(), prop::option::weighted(0.9, 0..9u32)).prop_map(|(p, slots)| Step::Pool(p, slots)),
        2 => (n(), prop::bool::weighted(0.4)).prop_map(|(w, d)| Step::Drain(w, d)),
    ];
    let of_workers = prop_oneof![
        8 => n().prop_map(Step::Hello),
        1 => n().prop_map(Step::Leave),
        3 => (n(), any::<bool>()).prop_map(|(worker, seen)| Step::Die { worker, seen }),
        3 => n().prop_map(Step::Restart),
        2 => n().prop_map(Step::Silence),
        2 => n().prop_map(Step::Unplug),
        2 => Just(Step::GiveUp),
        2 => n().prop_map(Step::ReportAgain),
        2 => (n(), n()).prop_map(|(w, f)| Step::ReportStale(w, f)),
    ];
    let finish = (n(), outcome(), prop::bool::weighted(0.03)).prop_map(|(which, outcome, lost)| Step::Finish { which, outcome, lost });
    prop_oneof![
        32 => of_people,
        25 => of_workers,
        95 => finish,
        8 => Just(Step::Tick),
        3 => (0..20_000u64).prop_map(Step::Wait),
        1 => (0..200_000u64).prop_map(Step::Wait),
        14 => n().prop_map(Step::Commit),
        1 => n().prop_map(Step::FailOver),
        4 => Just(Step::Archived),
        1 => n().prop_map(Step::ArchivedWrongly),
    ]
}
