//! Faults at random for a while, then none: everything acknowledged ends, and nothing that must hold was broken meanwhile.

use std::time::Duration;

use penstock_simulation::nemesis::Nemesis;
use penstock_simulation::seeds;
use penstock_simulation::world::World;

use super::{log, options};

#[test]
fn whatever_fails_every_invariant_holds_and_the_cluster_converges_once_faults_stop() {
    log();
    let (mut worlds, mut terms, mut lost) = (0, 0, 0);
    for seed in seeds(8) {
        let mut options = options(seed);
        options.workers = 3;
        options.plan.runs = 25;
        options.plan.pause_ms = 3_000;
        options.worker_latency_ms += 100;
        let mut world = World::new(options);
        let mut nemesis = Nemesis::new(seed, Duration::from_secs(60), (300, 3_000));
        world.run(|world| nemesis.turn(world));
        let model = world.judge();
        println!("seed {seed}: {} terms, {} leases, {} lost, {} s", model.terms.len(), model.leases, model.lost, world.now_ms() / 1_000);
        worlds += 1;
        terms += model.terms.len();
        lost += model.lost;
    }
    assert!(terms > 2 * worlds && lost > 0, "{terms} terms, {lost} attempts lost in {worlds} worlds: the faults were too tame");
}
