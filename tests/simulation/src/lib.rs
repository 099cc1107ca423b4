//! A cluster on a simulated network, judged by a checker of its own.
//!
//! ```text
//!  user (penstock-client) ─▶ coordinator-1..3 (the real `run`) ◀─ worker-1.. (the real `run`)
//!                                   │ the unchanged etcd adapter
//!                                   ▼
//!                 etcd: its gRPC services on the memory store, with a record of every commit ─▶ oracle
//! ```
//!
//! One seed is one history: latencies, wake order, ids and faults all follow from it, so a failure is repeated by its seed.
//! Time is virtual. Workers run tasks that do nothing: child processes are outside the simulation.
//!
//! `PENSTOCK_SIM_SEEDS=200 make sim` runs more of them, `PENSTOCK_SIM_SEED=14` one, `RUST_LOG=penstock=info,world=info` tells what
//! the hosts do and when, and `PENSTOCK_SIM_DUMP=file` writes the journal of a history that fails.
//!
//! Reading order: [`world`] (hosts, kill, cut), [`etcd`] (the store and its faults), [`user`] (the workload and what it saw),
//! [`nemesis`] (random faults), [`oracle`] (what must hold).

pub mod chance;
pub mod etcd;
pub mod machine;
pub mod nemesis;
pub mod net;
pub mod oracle;
pub mod user;
pub mod world;

#[cfg(not(tokio_unstable))]
compile_error!(
    "without --cfg tokio_unstable a seed does not fix the order of wakes; run it from tests/simulation, without RUSTFLAGS in the environment"
);

/// The seeds that each scenario runs over: 1, 2, 3…, as many as `PENSTOCK_SIM_SEEDS` says, or exactly the one in `PENSTOCK_SIM_SEED`.
pub fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match number("PENSTOCK_SIM_SEED") {
        Some(one) => one..=one,
        None => 1..=number("PENSTOCK_SIM_SEEDS").unwrap_or(default),
    }
}
