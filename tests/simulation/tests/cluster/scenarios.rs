//! One fault each, at the worst moment.

use std::time::Duration;

use penstock_proto::v1::State;
use penstock_proto::v1::event::Kind;
use penstock_simulation::etcd::Fate;
use penstock_simulation::user::Saw;
use penstock_simulation::world::{World, coordinator, worker};
use penstock_simulation::{etcd, seeds};

use super::{SOON, log, options};

fn submits(world: &World) -> usize {
    world.notes.all().iter().filter(|o| matches!(o.saw, Saw::Submitted { .. })).count()
}

/// A world where some runs were taken and one coordinator leads.
fn begun(seed: u64) -> World {
    let mut world = World::new(options(seed));
    world.until("the first submits", SOON, |world| submits(world) >= 2);
    world
}

#[test]
fn without_faults_every_run_succeeds_in_one_term() {
    log();
    for seed in seeds(5) {
        let mut world = World::new(options(seed));
        world.heal();
        world.run(|_| {});
        let model = world.judge();
        assert_eq!(model.terms.len(), 1, "seed {seed}: {:?}", model.terms);
        assert_eq!(model.lost, 0, "seed {seed}");
        assert_eq!(model.runs.len(), 19, "seed {seed}");
    }
}

/// An entry that leases or that creates a run: its effects are owed by whoever leads next.
fn has_effects(events: &[Kind]) -> bool {
    events.iter().any(|e| matches!(e, Kind::AttemptLeased(_) | Kind::RunCreated(_)))
}

#[test]
fn a_leader_that_dies_between_commit_and_effects_owes_them_to_the_next() {
    log();
    for seed in seeds(5) {
        let mut world = begun(seed);
        // Three leaders in a row, each with its leases or acknowledgements unsent.
        for _ in 0..3 {
            let before = world.etcd.count();
            world.etcd.trap(has_effects, Fate::SenderKilled);
            world.until("the next leader's term", SOON, |w| w.events_since(before).iter().any(|e| matches!(e, Kind::TermStarted(_))));
        }
        world.heal();
        world.run(|_| {});
        let model = world.judge();
        assert_eq!(model.terms.len(), 4, "seed {seed}: {:?}", model.terms);
        assert_eq!(model.lost, 0, "seed {seed}: a failover restarts no healthy task");
    }
}

#[test]
fn a_lost_answer_to_an_append_is_found_to_be_our_own_entry_and_the_term_goes_on() {
    log();
    for seed in seeds(5) {
        let mut options = options(seed);
        options.plan.runs = 30;
        let mut world = World::new(options);
        world.until("the first submits", SOON, |world| submits(world) >= 2);
        for fate in [Fate::AnswerLost, Fate::AnsweredWithTimeout, Fate::RequestLost, Fate::Late(Duration::from_millis(700))] {
            let met = world.fates();
            world.etcd.trap(has_effects, fate);
            world.until("the fate", SOON, |world| world.fates() > met);
            let entries = world.etcd.count();
            world.until("the next entry", Duration::from_secs(4), |world| !world.events_since(entries).is_empty());
        }
        world.heal();
        world.run(|_| {});
        let model = world.judge();
        assert_eq!(model.terms.len(), 1, "seed {seed}: {:?}", model.terms);
        assert_eq!(model.lost, 0, "seed {seed}");
    }
}

#[test]
fn a_worker_cut_off_past_its_session_comes_back_to_refusals_and_nothing_doubles() {
    log();
    for seed in seeds(5) {
        let mut options = options(seed);
        options.plan.runs = 30;
        options.plan.cancelled = 0;
        let mut world = World::new(options);
        world.until("the first submits", SOON, |world| submits(world) >= 2);
        let name = worker(1);
        let leased = |e: &Kind| matches!(e, Kind::AttemptLeased(lease) if lease.worker == worker(1));
        let before = world.etcd.count();
        world.until("a lease of the worker", SOON, |w| w.events_since(before).iter().any(leased));
        // The lease reaches it, its reports reach nobody: they will be late. Then nothing passes.
        for n in 1..=3 {
            world.cut_one_way(&name, &coordinator(n));
        }
        world.pass(Duration::from_millis(1_000));
        world.isolate(&name);
        world.pass(Duration::from_secs(35));
        world.rejoin(&name);
        world.heal();
        world.run(|_| {});
        let model = world.judge();
        assert!(model.lost > 0, "seed {seed}: nothing was lost");
        let lost: Vec<_> = model.runs.values().flat_map(|run| &run.tasks).filter(|task| task.lost > 0).collect();
        assert!(lost.iter().all(|task| task.fences.len() == task.lost as usize + 1), "seed {seed}: each was tried once more: {lost:?}");
        assert_eq!(model.terms.len(), 1, "seed {seed}: {:?}", model.terms);
        assert!(model.runs.values().all(|run| run.state == State::Success), "seed {seed}");
    }
}

#[test]
fn a_leader_cut_off_from_the_store_is_replaced_and_writes_nothing_more() {
    log();
    for seed in seeds(5) {
        let mut world = begun(seed);
        let leader = world.leader().unwrap_or_default();
        world.cut(&leader, etcd::HOST);
        world.until("another leads", Duration::from_secs(15), |w| w.leader().is_some_and(|l| l != leader));
        world.pass(Duration::from_secs(10));
        world.heal();
        world.run(|_| {});
        let model = world.judge();
        assert!(model.terms.len() >= 2, "seed {seed}: {:?}", model.terms);
        assert_eq!(model.lost, 0, "seed {seed}: a failover restarts no healthy task");
    }
}

#[test]
fn a_host_that_goes_dark_costs_its_session_and_no_run() {
    log();
    for seed in seeds(5) {
        let mut world = begun(seed);
        let leader = world.leader().unwrap_or_default();
        world.lose(&leader);
        world.until("another leads", Duration::from_secs(15), |w| w.leader().is_some_and(|l| l != leader));
        world.heal();
        world.run(|_| {});
        assert!(world.judge().terms.len() >= 2, "seed {seed}");
    }
}

#[test]
fn a_killed_leader_is_replaced_within_a_second_since_its_host_refuses() {
    log();
    for seed in seeds(5) {
        let mut world = begun(seed);
        world.pass(Duration::from_secs(1));
        let leader = world.leader().unwrap_or_default();
        world.kill(&leader, Duration::from_secs(20));
        world.until("another leads", Duration::from_secs(1), |w| w.leader().is_some_and(|l| l != leader));
        world.heal();
        world.run(|_| {});
        world.judge();
    }
}
