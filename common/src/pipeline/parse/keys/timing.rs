//! The keys of what starts runs: `schedule` and `triggers`.

use std::collections::BTreeMap;

use super::super::fields::{Key, Located};
use super::super::values;
use crate::pipeline::{Catchup, Ending, Location, Overlap, TriggerSource, schema};
use crate::schedule::{Cron, Every, Timing};
use crate::{Millis, PipelineName, TriggerName, limits};

/// A schedule as it is written; when it begins and ends, the document says.
#[derive(Default)]
pub(in crate::pipeline) struct RawSchedule {
    pub(in super::super) at: Location,
    /// `None`: something in it is wrong.
    pub(in super::super) timing: Option<Timing>,
    pub(in super::super) cron: Option<Vec<Cron>>,
    pub(in super::super) every: Option<Every>,
    pub(in super::super) catchup: Option<Catchup>,
    /// It has one, which is wrong.
    pub(in super::super) catchup_unclear: bool,
    pub(in super::super) overlap: Option<Overlap>,
    pub(in super::super) grace: Option<Millis>,
    pub(in super::super) delay: Option<Millis>,
    pub(in super::super) max_queued: Option<u32>,
}

/// `schedule`
pub(in crate::pipeline) const SCHEDULE: &[Key<RawSchedule>] = &[
    Key::new(
        "cron",
        "Five fields: minute, hour, day of month, month, day of week; or a list, of which any fires.",
        schema::cron,
        |r, n, raw| {
            raw.cron = values::cron(r, n);
        },
    ),
    Key::new("every", "A steady period, from 1970 or `start_date` on.", schema::duration, |r, n, raw| raw.every = values::period(r, n)),
    Key::new("catchup", "What becomes of intervals that fell due while nothing ran.", schema::catchup, |r, n, raw| {
        raw.catchup = values::catchup(r, n);
        raw.catchup_unclear = raw.catchup.is_none();
    }),
    Key::new("overlap", "What a run that falls due does while another has not ended.", schema::overlap, |r, n, raw| {
        raw.overlap = r.one_of(n, OVERLAPS);
    }),
    Key::new("grace", "An interval that fell due no longer ago runs, whatever `catchup` says.", schema::duration, |r, n, raw| {
        raw.grace = values::grace(r, n);
    }),
    Key::new("delay", "How long after its interval's end a run starts.", schema::duration, |r, n, raw| raw.delay = r.duration(n, None)),
    Key::new("max_queued", "Runs that may be queued; what falls due beyond them is skipped.", schema::max_queued, |r, n, raw| {
        raw.max_queued = r.integer(n, 1, limits::MAX_QUEUED_RUNS_PER_PIPELINE as i64);
    }),
];

/// Of these, `schedule` has one.
pub(in crate::pipeline) const TIMINGS: [&str; 2] = ["cron", "every"];

pub(in crate::pipeline) const CATCHUPS: &[(&str, Catchup)] = &[("none", Catchup::None), ("latest", Catchup::Latest), ("all", Catchup::All)];

pub(in crate::pipeline) const OVERLAPS: &[(&str, Overlap)] =
    &[("queue", Overlap::Queue), ("skip", Overlap::Skip), ("cancel_running", Overlap::CancelRunning)];

/// What a trigger gives a parameter.
pub(in crate::pipeline) struct RawGiven {
    /// Where the parameter is named.
    pub(in super::super) at: Location,
    /// `None`: it is wrong.
    pub(in super::super) value: Option<Located<String>>,
}

/// An item of `triggers` as it is written.
#[derive(Default)]
pub(in crate::pipeline) struct RawTrigger {
    pub(in super::super) name: Option<Located<TriggerName>>,
    /// What it says that it waits for, right or wrong, and where; `None` where that is not clear.
    pub(in super::super) kind: Option<Located<&'static str>>,
    /// `None`: something in it is wrong.
    pub(in super::super) source: Option<TriggerSource>,
    /// By parameter; `None`: not written.
    pub(in super::super) params: Option<BTreeMap<String, RawGiven>>,
    pub(in super::super) debounce: Option<Millis>,
}

/// An item of `triggers`
pub(in crate::pipeline) const TRIGGER: &[Key<RawTrigger>] = &[
    Key::new("name", "Its name, unique in the pipeline.", schema::identifier, |r, n, raw| {
        raw.name = values::trigger_name(r, n).map(|value| Located { at: n.at, value });
    }),
    Key::new("file", "A file, new or changed; a text is its `path`.", schema::landing, |r, n, raw| {
        raw.source = values::landing(r, n);
    }),
    Key::new("pipeline", "Another pipeline's run that ended; a text is its `name`.", schema::upstream, |r, n, raw| {
        raw.source = values::upstream(r, n);
    }),
    Key::new("pipelines", "Runs of several pipelines for the same interval; a list is their `names`.", schema::upstreams, |r, n, raw| {
        raw.source = values::upstreams(r, n);
    }),
    Key::new("event", "An event of this name, by `EmitEvent` or the trigger's webhook.", schema::dotted, |r, n, raw| {
        raw.source = values::event(r, n).map(TriggerSource::Event);
    }),
    Key::new("params", "What its runs are given; templates that may use `event`.", schema::trigger_params, |r, n, raw| {
        let mut params = BTreeMap::new();
        values::trigger_params(r, n, &mut params);
        raw.params = (!params.is_empty()).then_some(params);
    }),
    Key::new("debounce", "What comes within this time of the last starts one run together with it.", schema::duration, |r, n, raw| {
        raw.debounce = r.duration(n, None);
    }),
];

/// Of these, a trigger has one.
pub(in crate::pipeline) const SOURCES: [&str; 4] = ["file", "pipeline", "pipelines", "event"];

#[derive(Default)]
pub(in crate::pipeline) struct RawLanding {
    pub(in super::super) path: Option<String>,
    pub(in super::super) settle: Option<Millis>,
    pub(in super::super) every: Option<Millis>,
    pub(in super::super) existing: Option<bool>,
}

/// `file` of a trigger
pub(in crate::pipeline) const LANDING: &[Key<RawLanding>] = &[
    Key::new(
        "path",
        "An absolute path or a URL such as s3://bucket/prefix, with `*`, `?` and `[…]`.",
        schema::landing_path,
        |r, n, raw| {
            raw.path = values::landing_path(r, n);
        },
    ),
    Key::new("settle", "How long it must not have changed.", schema::duration, |r, n, raw| raw.settle = r.duration(n, None)),
    Key::new("every", "How often it is looked for.", schema::duration, |r, n, raw| raw.every = values::every(r, n)),
    Key::new("existing", "Whether files that are there already start runs too.", schema::flag, |r, n, raw| raw.existing = r.flag(n)),
];

#[derive(Default)]
pub(in crate::pipeline) struct RawUpstream {
    /// `None`: something in it is wrong.
    pub(in super::super) names: Option<Vec<PipelineName>>,
    pub(in super::super) when: Option<Ending>,
}

/// `pipeline` of a trigger
pub(in crate::pipeline) const UPSTREAM: &[Key<RawUpstream>] = &[
    Key::new("name", "Which pipeline: `name` or `namespace/name`.", schema::pipeline_name, |r, n, raw| {
        raw.names = r.name(n).map(|name| vec![name]);
    }),
    Key::new("when", "How its run must have ended.", schema::ending, |r, n, raw| raw.when = r.one_of(n, ENDINGS)),
];

/// `pipelines` of a trigger
pub(in crate::pipeline) const UPSTREAMS: &[Key<RawUpstream>] = &[
    Key::new("names", "Which pipelines: each `name` or `namespace/name`.", schema::pipeline_names, |r, n, raw| {
        raw.names = values::upstream_names(r, n);
    }),
    Key::new("when", "How each one's run must have ended.", schema::ending, |r, n, raw| raw.when = r.one_of(n, ENDINGS)),
];

pub(in crate::pipeline) const ENDINGS: &[(&str, Ending)] =
    &[("success", Ending::Success), ("failure", Ending::Failure), ("any", Ending::Any)];
