//! Chance chooses pipelines and steps; every invariant is checked after each step, and then the faults stop and everything ends.

mod driver;
mod order;
mod shapes;
mod steps;
mod unblock;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::driver::Driver;
use self::shapes::shape;
use self::steps::step;

/// How many cases of a test; `CASES=1000 cargo test` soaks it.
fn cases(usual: u32) -> u32 {
    std::env::var("CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_everything_ends(
        shapes in prop::collection::vec(shape(), 1..4),
        hold in 0..6usize,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut driver = Driver::new(shapes, hold);
        steps.iter().for_each(|step| driver.step(step));
        driver.heal();
    }
}

/// What chance never reaches it does not test: a fixed choice of steps must meet every kind of event and rejection.
#[test]
fn chance_reaches_every_kind_of_event() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = BTreeMap::<String, usize>::new();
    let given = (prop::collection::vec(shape(), 1..4), 0..6usize, prop::collection::vec(step(), 250..300));
    for _ in 0..60 {
        let (shapes, hold, steps) = given.new_tree(&mut runner).unwrap().current();
        let mut driver = Driver::new(shapes, hold);
        steps.iter().for_each(|step| driver.step(step));
        for line in driver.world.log() {
            let kind = line.split(' ').find(|w| w.starts_with(|c: char| c.is_ascii_uppercase()) || WORDS.contains(w));
            let lost = line.ends_with("loss");
            *met.entry(format!("{}{}", kind.unwrap_or("other"), if lost { " lost" } else { "" })).or_default() += 1;
        }
        for effect in driver.world.effects() {
            *met.entry(effect.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    println!("{met:#?}");
    for kind in WORDS.iter().chain(&REACHED) {
        assert!(met.contains_key(*kind), "{kind} was not met: {met:#?}");
    }
}

const WORDS: [&str; 17] = [
    "term",
    "registered",
    "unregistered",
    "paused",
    "resumed",
    "pool",
    "drained",
    "undrained",
    "answered",
    "created",
    "started",
    "fence",
    "generation",
    "reopened",
    "archived",
    "of",
    "cancel",
];
const REACHED: [&str; 35] = [
    "SUCCESS",
    "SUCCESS(marked)",
    "RETRY",
    "RETRY lost",
    "RUNNING(waiting)",
    "RUNNING(held)",
    "FAILED(exit_code)",
    "FAILED(lost)",
    "FAILED(poison)",
    "FAILED(task)",
    "FAILED(branch)",
    "FAILED(expectation)",
    "FAILED(rejected)",
    "FAILED(run_failed)",
    "FAILED(template)",
    "FAILED(marked)",
    "FAILED(task_failed)",
    "FAILED(timeout)",
    "FAILED(queue_timeout)",
    "FAILED(run_timeout)",
    "FAILED(output_too_large)",
    "SKIPPED(task)",
    "SKIPPED(upstream_failed)",
    "SKIPPED(upstream_skipped)",
    "SKIPPED(rule)",
    "SKIPPED(condition)",
    "SKIPPED(branch)",
    "SKIPPED(empty)",
    "SKIPPED(marked)",
    "CANCELLED(user)",
    "CANCELLED(user),",
    "CANCELLED(run_timeout)",
    "kill",
    "lease",
    "archive",
];
