//! The keys of `retries`.

use super::super::fields::{Key, Located};
use super::super::values;
use super::LONG;
use crate::pipeline::{ExitPolicy, Jitter, schema};
use crate::{Millis, Reason};

#[derive(Default)]
pub(in crate::pipeline) struct RawRetries {
    pub(in super::super) max: Option<u32>,
    pub(in super::super) delay: Option<Located<Millis>>,
    pub(in super::super) backoff: Option<f64>,
    pub(in super::super) max_delay: Option<Located<Millis>>,
    pub(in super::super) jitter: Option<Jitter>,
    pub(in super::super) on: Option<ExitPolicy>,
    pub(in super::super) not_on: Option<ExitPolicy>,
}

/// `retries`
pub(in crate::pipeline) const RETRIES: &[Key<RawRetries>] = &[
    Key::new("max", "Further attempts after the first.", schema::count, |r, n, raw| raw.max = r.integer(n, 0, LONG)),
    Key::new("delay", "Before the first of them.", schema::duration, |r, n, raw| {
        raw.delay = r.duration(n, None).map(|value| Located { at: n.at, value });
    }),
    Key::new("backoff", "Each later delay is the last times this.", schema::backoff, |r, n, raw| raw.backoff = values::backoff(r, n)),
    Key::new("max_delay", "No delay is longer.", schema::duration, |r, n, raw| {
        raw.max_delay = r.duration(n, None).map(|value| Located { at: n.at, value });
    }),
    Key::new("jitter", "Whether delays are drawn at random: `full` is uniform from zero.", schema::jitter, |r, n, raw| {
        raw.jitter = r.one_of(n, JITTER);
    }),
    Key::new("on", "Only these failures are retried.", schema::policy, |r, n, raw| raw.on = values::policy(r, n)),
    Key::new("not_on", "These failures are never retried.", schema::policy, |r, n, raw| raw.not_on = values::policy(r, n)),
];

/// `retries.on`, `retries.not_on`
pub(in crate::pipeline) const POLICY: &[Key<ExitPolicy>] = &[
    Key::new("reasons", "Why an attempt failed.", schema::reasons, |r, n, raw| raw.reasons = values::reasons(r, n)),
    Key::new("exit_codes", "What its program ended with.", schema::exit_codes, |r, n, raw| raw.exit_codes = values::exit_codes(r, n)),
];

pub(in crate::pipeline) const JITTER: &[(&str, Jitter)] = &[("none", Jitter::None), ("full", Jitter::Full)];

/// The reasons of a failed attempt that another may follow: what `retries` can choose from. A lost attempt spends no retry, so
/// [`Reason::Lost`] is not among them.
pub(in crate::pipeline) const RETRYABLE: [Reason; 7] =
    [Reason::ExitCode, Reason::Timeout, Reason::Spawn, Reason::Oom, Reason::OutputTooLarge, Reason::Expectation, Reason::RunFailed];
