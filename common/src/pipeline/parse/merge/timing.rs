//! What starts runs, judged over the whole document: bounds in its zone, parameters nobody gives, intervals nobody has.

use super::super::fields::{Located, Placed, Reader};
use super::super::found::{cut, listed};
use super::super::keys::{RawGiven, RawSchedule, RawTrigger, Top};
use super::super::template::has_tags;
use crate::pipeline::{Catchup, Overlap, Param, ParamType, ScheduleSpec, TriggerSource, TriggerSpec};
use crate::schedule::{Definition, Moment, Schedule, Unfit, Zone};

/// What the model has of it.
pub(super) struct Timing {
    pub(super) schedule: Option<ScheduleSpec>,
    pub(super) triggers: Vec<TriggerSpec>,
    pub(super) depends_on_past: bool,
}

/// `None` only where an error is noted.
pub(super) fn timing(r: &mut Reader, top: &Top) -> Option<Timing> {
    let schedule = schedule(r, top);
    check_past(r, top);
    check_names(r, top);
    check_params(r, top);
    check_intervals(r, top);
    let triggers: Option<Vec<_>> = top.triggers.iter().map(trigger).collect();
    Some(Timing {
        schedule: match top.schedule {
            Some(_) => Some(schedule?),
            None => None,
        },
        triggers: triggers?,
        depends_on_past: top.depends_on_past.as_ref().is_some_and(|written| written.value),
    })
}

fn schedule(r: &mut Reader, top: &Top) -> Option<ScheduleSpec> {
    // Where the zone is wrong, dates are still dates.
    let zone = match &top.timezone {
        Some(name) => Zone::get(name).ok(),
        None => (!top.timezone_unclear).then(Zone::utc),
    };
    let bounds = [("start_date", &top.start_date), ("end_date", &top.end_date)].map(|(key, written)| {
        let text = written.as_ref()?;
        if top.schedule.is_none() {
            r.found.error(
                text.at,
                format!("`{key}` without a `schedule`"),
                "it is where the schedule begins or ends: add `schedule`, or remove it",
            );
        }
        match Moment::parse(&text.text, zone.as_ref().unwrap_or(&Zone::utc())) {
            Ok(moment) => Some(Located { at: text.at, value: moment }),
            Err(problem) => {
                r.problem(text, problem);
                None
            }
        }
    });
    let unclear = |written: &Option<Placed>, read: &Option<Located<Moment>>| written.is_some() && read.is_none();
    let raw = top.schedule.as_ref()?;
    if unclear(&top.start_date, &bounds[0]) || unclear(&top.end_date, &bounds[1]) {
        return None;
    }
    let definition = Definition {
        timing: raw.timing.clone()?,
        timezone: zone?,
        start: bounds[0].as_ref().map(|start| start.value.first()),
        end: bounds[1].as_ref().map(|end| end.value.last()),
        delay: raw.delay.unwrap_or_default(),
    };
    match Schedule::new(definition) {
        Ok(times) => Some(ScheduleSpec {
            times,
            catchup: raw.catchup.unwrap_or_default(),
            overlap: raw.overlap.unwrap_or_default(),
            grace: raw.grace.unwrap_or(ScheduleSpec::GRACE),
            max_queued: raw.max_queued.unwrap_or(ScheduleSpec::MAX_QUEUED),
        }),
        Err(unfit) => {
            refuse(r, raw, &bounds, &unfit);
            None
        }
    }
}

fn refuse(r: &mut Reader, raw: &RawSchedule, bounds: &[Option<Located<Moment>>; 2], unfit: &Unfit) {
    let last = bounds.iter().flatten().last().map_or(raw.at, |bound| bound.at);
    match unfit {
        Unfit::EndsBeforeStart { .. } => {
            r.found.error(last, "`end_date` is before `start_date`", "both are included: write a later `end_date`")
        }
        Unfit::NeverFires => {
            let hint = "write dates between which it fires, within 1970-2100; `end_date` is the last day on which an interval may begin";
            r.found.error(last, "the schedule never fires: no interval begins within its dates", hint);
        }
        Unfit::NoCron | Unfit::Delay(_) => {
            let text = unfit.to_string();
            let (message, hint) = text.split_once(": ").unwrap_or((&text, ""));
            r.found.error(raw.at, message, hint);
        }
    }
}

/// What is skipped is never SUCCESS, and then nothing later is.
fn check_past(r: &mut Reader, top: &Top) {
    let Some(Located { at, value: true }) = top.depends_on_past else { return };
    let Some(raw) = &top.schedule else {
        let hint = "it says that an interval waits for the one before: only backfills keep to it; add `schedule`, or remove it where no backfill needs it";
        return r.found.warning(at, "`depends_on_past` without a `schedule`", hint);
    };
    let hint = "fill what was skipped with `penstock backfill`, or write catchup: all";
    if !raw.catchup_unclear && raw.catchup.unwrap_or_default() != Catchup::All {
        let catchup = match raw.catchup.unwrap_or_default() {
            Catchup::None => "none",
            _ => "latest",
        };
        let message = format!("with catchup: {catchup}, an interval that is skipped stops all later ones until it is filled");
        r.found.warning(at, message, hint);
    } else if raw.overlap == Some(Overlap::Skip) {
        let message = "with overlap: skip, an interval that is skipped stops all later ones until it is filled";
        r.found.warning(at, message, "fill what was skipped with `penstock backfill`, or write overlap: queue");
    }
}

/// Names are unique, nothing waits for itself, and two triggers do not say the same.
fn check_names(r: &mut Reader, top: &Top) {
    for (number, raw) in top.triggers.iter().enumerate() {
        let before = &top.triggers[..number];
        if let Some(name) = &raw.name
            && before.iter().filter_map(|other| other.name.as_ref()).any(|other| other.value == name.value)
        {
            r.found.error(name.at, format!("there is a trigger `{}` already", name.value), "give it another name");
        }
        let Some((source, kind)) = raw.source.as_ref().zip(raw.kind.as_ref()) else { continue };
        match source {
            TriggerSource::Pipelines { names, .. } => {
                if let Some(own) = names.iter().find(|name| Some(*name) == top.name.as_ref()) {
                    let hint = "name another pipeline; what repeats itself is a `schedule`";
                    r.found.error(kind.at, format!("the pipeline `{own}` waits for itself"), hint);
                }
            }
            TriggerSource::Event(_) | TriggerSource::File { .. } => {
                if let Some(other) =
                    before.iter().find(|other| is_same(other.source.as_ref(), source)).and_then(|other| other.name.as_ref())
                {
                    let message = format!("the trigger `{}` waits for the same {}: each starts a run", other.value, kind.value);
                    r.found.warning(kind.at, message, "remove one of them, if one run is enough");
                }
            }
        }
    }
}

fn is_same(a: Option<&TriggerSource>, b: &TriggerSource) -> bool {
    match (a, b) {
        (Some(TriggerSource::Event(a)), TriggerSource::Event(b)) => a == b,
        (Some(TriggerSource::File { path: a, .. }), TriggerSource::File { path: b, .. }) => a == b,
        _ => false,
    }
}

/// Nobody is there to give a parameter when the schedule or a trigger starts a run.
fn check_params(r: &mut Reader, top: &Top) {
    if top.params.unclear {
        return;
    }
    let declared = &top.params.declared;
    let needed = || declared.iter().filter(|(_, param)| param.as_ref().is_some_and(|param| param.default.is_none())).map(|(name, _)| name);
    if let Some(schedule) = &top.schedule {
        for name in needed() {
            let message = format!("the parameter `{name}` has no default, and the schedule gives none");
            r.found.error(schedule.at, message, "add a `default` to it: nobody is asked when a run falls due");
        }
    }
    for raw in &top.triggers {
        let given = raw.params.as_ref();
        for (name, RawGiven { at, value }) in given.into_iter().flatten() {
            match declared.get(name) {
                Some(Some(param)) => check_value(r, name, param, value.as_ref()),
                Some(None) => {}
                None => {
                    let names = || declared.keys().map(String::as_str);
                    let hint = r.found.did_you_mean(name, names(), || match declared.is_empty() {
                        true => format!("declare it: `params: {{{name}: {{type: string}}}}` of the document"),
                        false => format!("the parameters are: {}", listed(names())),
                    });
                    r.found.error(*at, format!("there is no parameter `{name}`"), hint);
                }
            }
        }
        // An event may carry what its trigger does not say.
        let Some(kind) = raw.kind.as_ref().filter(|kind| kind.value != "event" || given.is_some()) else { continue };
        for name in needed().filter(|name| given.is_none_or(|given| !given.contains_key(*name))) {
            let what = raw.name.as_ref().map_or_else(|| "the trigger".to_owned(), |name| format!("the trigger `{}`", name.value));
            let message = format!("the parameter `{name}` has no default, and {what} gives none");
            let hint = format!("add a `default` to it, or `params: {{{name}: \"…\"}}` to the trigger");
            r.found.error(kind.at, message, hint);
        }
    }
}

/// What is no template is known already.
fn check_value(r: &mut Reader, name: &str, param: &Param, value: Option<&Located<String>>) {
    let Some(Located { at, value: text }) = value.filter(|value| !has_tags(&value.value)) else { return };
    let value = match param.kind {
        ParamType::String => None,
        kind => kind.read(text),
    };
    if let Err(why) = param.check(&value.unwrap_or_else(|| text.as_str().into())) {
        let hint = "write a value that it takes, or a template of `event`: \"{{ event.KEY }}\"";
        r.found.error(*at, format!("the parameter `{}` does not take this: {}", cut(name), cut(&why)), hint);
    }
}

/// Runs that events start cover no time.
fn check_intervals(r: &mut Reader, top: &Top) {
    let has_interval = top.schedule.is_some()
        || top.triggers.is_empty()
        || top.triggers.iter().any(|raw| raw.kind.as_ref().is_none_or(|kind| !matches!(kind.value, "event" | "file")));
    if has_interval {
        return;
    }
    for at in std::mem::take(&mut r.intervals_used) {
        let hint = "use what the event carries, by `params` of the trigger, or add a `schedule` or a trigger `pipeline`";
        r.found.error(at, "`interval` is used, and only events start this pipeline: its runs have none", hint);
    }
}

fn trigger(raw: &RawTrigger) -> Option<TriggerSpec> {
    let params = raw.params.iter().flatten().map(|(name, given)| Some((name.clone(), given.value.as_ref()?.value.clone())));
    Some(TriggerSpec {
        name: raw.name.as_ref()?.value.clone(),
        source: raw.source.clone()?,
        params: params.collect::<Option<_>>()?,
        debounce: raw.debounce.unwrap_or_default(),
    })
}
