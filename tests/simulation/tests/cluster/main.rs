//! The cluster on a simulated network: determinism, scenarios with one fault each, and faults at random. What must hold is judged by
//! the oracle (L1, L2, L3, R1, R2, R3, R4, R5, T1, T2, T3, T4, T5, T6, T8, T9); each test also demands that its fault took place.

mod broken;
mod determinism;
mod scenarios;
mod soak;

use std::time::Duration;

use penstock_simulation::chance::Dice;
use penstock_simulation::user::{Pipeline, Plan};
use penstock_simulation::world::Options;

/// Milliseconds since a simulation began.
struct VirtualTime;

impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:>8} ms", penstock_simulation::etcd::elapsed_ms())
    }
}

/// A log of the hosts, where `RUST_LOG` asks for one.
fn log() {
    use tracing_subscriber::EnvFilter;
    if std::env::var_os("RUST_LOG").is_some() {
        drop(
            tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_timer(VirtualTime).with_test_writer().try_init(),
        );
    }
}

/// Three coordinators, two workers, a few pipelines: a world as scenarios want it.
fn options(seed: u64) -> Options {
    let dice = Dice::new(seed, "options");
    let mut pipelines: Vec<_> = (0..3).map(|n| Pipeline::drawn(&format!("drawn{n}"), 9, &dice)).collect();
    pipelines.push(Pipeline::chain("chain", 12));
    Options {
        seed,
        coordinators: 3,
        workers: 2,
        slots: 4,
        checkpoint_entries: dice.number(15, 60),
        keep_entries: dice.millis(2_000, 20_000),
        worker_latency_ms: dice.number(1, 300),
        plan: Plan { pipelines, submitters: 3, runs: 6, pause_ms: 600, repeated: 25, cancelled: 10 },
    }
}

/// How long a scenario may take to show its fault.
const SOON: Duration = Duration::from_secs(60);
