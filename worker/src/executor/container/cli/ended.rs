//! How a container ended: waited for, asked for, and asked for again where the runtime does not answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::program::{Program, State};

/// How long a runtime may be away, as when docker is restarted under running containers.
const AWAY_FOR: Duration = Duration::from_secs(120);
/// Between two questions, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What there is to say about the end.
pub(super) enum Ending {
    /// It ended so.
    Exited(State),
    /// Someone removed it.
    Gone,
    /// The runtime does not answer any more; whether it runs is unknown.
    Lost(String),
    /// It was told to end and does not.
    Unstoppable,
}

/// Waits for the end. Can be dropped at any time.
pub(super) async fn wait(program: &Program, name: &str) -> Ending {
    let mut away: Option<Instant> = None;
    let mut pause = PAUSES.0;
    loop {
        // Its answer is not used: what it says of a removed container differs.
        let waited = program.wait(&["wait", name], &[]).await;
        match program.inspect(name).await {
            Ok(Some(found)) if found.state.has_ended() => return Ending::Exited(found.state),
            // It runs: whoever waited was interrupted.
            Ok(Some(_)) => {
                away = None;
                if waited.is_ok() {
                    pause = PAUSES.0;
                }
            }
            Ok(None) => return Ending::Gone,
            Err(failure) => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_FOR {
                    return Ending::Lost(format!("whether the container {name} still runs is unknown: {failure}"));
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
