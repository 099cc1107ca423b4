//! T10: what each task does decides how everything ends, not who is faster.

use std::collections::BTreeMap;

use penstock_common::{Reason, State};
use proptest::prelude::*;

use super::super::model::{Outcome, run_id};
use super::super::world::World;
use super::cases;
use super::driver::success;
use super::shapes::{POOLS, Shape, built, kids, shape};
use super::steps::outcome;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn final_states_do_not_depend_on_the_order_of_completion(
        shape in shape(),
        outcomes in prop::collection::vec(prop::collection::vec(outcome(), 4), 40),
        orders in prop::collection::vec((any::<u64>(), 1..9u32), 2..4),
    ) {
        let shape = shape.timeless();
        let ends: Vec<_> = orders.iter().map(|(order, slots)| ends_of(&shape, &outcomes, *order, *slots)).collect();
        for other in &ends[1..] {
            prop_assert_eq!(&ends[0], other);
        }
    }
}

/// How every task of every run ends, and after how many attempts.
type Ends = BTreeMap<String, (State, Option<Reason>, u32)>;

/// Runs a pipeline to its end; `order` chooses what happens next.
fn ends_of(shape: &Shape, outcomes: &[Vec<Outcome>], mut order: u64, slots: u32) -> Ends {
    let mut w = World::new();
    POOLS.iter().for_each(|pool| drop(w.pool(pool, 5).unwrap()));
    kids().into_iter().for_each(|kid| drop(w.register(kid)));
    w.register(built(0, shape));
    w.attach_with("w", slots, &["default", "big"], &[("gpu", "yes")]);
    w.submit_to("r", "p0").unwrap();
    loop {
        order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = (order >> 33) as usize;
        let running: Vec<_> = w.workers["w"].running.iter().map(|(f, l)| (*f, l.clone())).collect();
        let asked = w.asked();
        if chosen.is_multiple_of(5) && !asked.is_empty() {
            let (run, task) = &asked[chosen % asked.len()];
            w.says(run, task, !fate(run, task, 0).is_multiple_of(4)).unwrap();
        } else if !running.is_empty() {
            let (fence, lease) = &running[chosen % running.len()];
            let fate = fate(lease.run.as_str(), &lease.task.to_string(), lease.number);
            let outcome = match &outcomes[fate as usize % outcomes.len()][(lease.number as usize - 1) % 4] {
                Outcome::Success => match success(&w, *fence, &lease.spec, fate) {
                    // Each probe asks anew: what it finds must not depend on how often.
                    Outcome::NotYet(_) if chosen.is_multiple_of(3) => success(&w, *fence, &lease.spec, fate / 3 * 3),
                    other => other,
                },
                other => other.clone(),
            };
            w.finish("w", *fence, &outcome);
        } else if let Some((run, task)) = asked.first() {
            w.says(run, task, !fate(run, task, 0).is_multiple_of(4)).unwrap();
        } else if w.leader.run(&run_id("r")).unwrap().state.is_terminal() {
            break;
        } else {
            w.now = w.now.max(w.leader.next_deadline().unwrap().0);
            w.tick();
        }
    }
    let mut ends = Ends::new();
    for run in w.checker.runs.values() {
        ends.insert(run.id.to_string(), (run.state, run.reason, 0));
        for task in (0..run.tasks.len() as u32).filter(|&t| run.is_present(t)) {
            let shadow = &run.tasks[task as usize];
            ends.insert(format!("{}/{}", run.id, run.name(task)), (shadow.state, shadow.reason, shadow.attempts));
        }
    }
    ends
}

/// What a task does is its own affair.
fn fate(run: &str, task: &str, number: u32) -> u64 {
    format!("{run}/{task}/{number}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        >> 8
}
