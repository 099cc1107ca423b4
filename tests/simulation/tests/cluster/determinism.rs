//! The first test: without it no other proves anything.

use std::time::Duration;

use penstock_simulation::nemesis::Nemesis;
use penstock_simulation::world::World;

use super::{log, options};

fn trace(seed: u64) -> Vec<String> {
    let mut world = World::new(options(seed));
    let mut nemesis = Nemesis::new(seed, Duration::from_secs(25), (500, 2_500));
    world.run(|world| nemesis.turn(world));
    world.judge();
    world.trace()
}

#[test]
fn one_seed_twice_is_one_history_byte_for_byte() {
    log();
    let seed = *penstock_simulation::seeds(1).start();
    let (first, second) = (trace(seed), trace(seed));
    assert!(first.len() > 200, "a history of {} lines shows nothing", first.len());
    for (line, (a, b)) in first.iter().zip(&second).enumerate() {
        assert_eq!(a, b, "the histories part at line {line}");
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn two_seeds_are_two_histories() {
    log();
    assert_ne!(trace(101), trace(102));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what they answer is the question")]
fn the_machines_clock_reaches_no_host() {
    let mut world = World::new(options(1));
    let (began, wall) = (std::time::Instant::now(), std::time::SystemTime::now());
    world.pass(Duration::from_secs(3));
    world.step();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(wall.elapsed().ok(), Some(Duration::from_secs(3)));
    drop(world);
    assert!(std::time::SystemTime::now() > wall, "outside of worlds it is as late as on the machine");
}
