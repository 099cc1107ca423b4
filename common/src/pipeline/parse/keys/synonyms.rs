//! What other tools call our keys, and where a key belongs that stands elsewhere: hints for keys that are not known.

use super::super::fields::Key;
use super::{ACTIONS, CHILD, CONTAINER, EXPECT, FLOW, HTTP, LANDING, RETRIES, SCHEDULE, SETTINGS, SQL, TASK, TOP, TRIGGER, WAIT};

/// Of the document: in Airflow, Prefect, Argo, GitHub and Data Factory.
const OF_DOCUMENTS: &[(&str, &str)] = &[
    ("activities", "tasks"),
    ("concurrency", "max_active_runs"),
    ("cron_expression", "schedule"),
    ("cron_schedule", "schedule"),
    ("cron_timezone", "timezone"),
    ("crontab", "schedule"),
    ("dag", "pipeline"),
    ("dag_id", "pipeline"),
    ("dagrun_timeout", "run_timeout"),
    ("data_triggers", "triggers"),
    ("default_args", "defaults"),
    ("depends_on_previous", "depends_on_past"),
    ("deployment_triggers", "triggers"),
    ("end", "end_date"),
    ("end_at", "end_date"),
    ("end_time", "end_date"),
    ("ends_at", "end_date"),
    ("environment", "env"),
    ("event_triggers", "triggers"),
    ("events", "triggers"),
    ("flow", "pipeline"),
    ("flow_run_name", "pipeline"),
    ("id", "pipeline"),
    ("interval", "schedule"),
    ("jobs", "tasks"),
    ("max_active_tis", "max_active_tasks"),
    ("max_concurrency", "max_active_tasks"),
    ("max_concurrent_runs", "max_active_runs"),
    ("name", "pipeline"),
    ("nodes", "tasks"),
    ("on", "triggers"),
    ("parallelism", "max_active_tasks"),
    ("parameters", "params"),
    ("rrule", "schedule"),
    ("schedule_expression", "schedule"),
    ("schedule_interval", "schedule"),
    ("schedule_timezone", "timezone"),
    ("schedules", "schedule"),
    ("sensor", "triggers"),
    ("sensors", "triggers"),
    ("start", "start_date"),
    ("start_at", "start_date"),
    ("start_time", "start_date"),
    ("starts_at", "start_date"),
    ("states", "tasks"),
    ("steps", "tasks"),
    ("time_zone", "timezone"),
    ("timetable", "schedule"),
    ("trigger", "triggers"),
    ("tz", "timezone"),
    ("until", "end_date"),
    ("variables", "env"),
    ("vars", "params"),
    ("wait_for_past", "depends_on_past"),
    ("workflow", "pipeline"),
    ("working_dir", "workdir"),
];

/// Of a task and its parts: in Airflow, Prefect, dbt, Step Functions, Data Factory, GitHub and GitLab.
const OF_TASKS: &[(&str, &str)] = &[
    ("approval", "approve"),
    ("args", "run"),
    ("backoff_rate", "backoff"),
    ("bash", "shell"),
    ("bash_command", "shell"),
    ("choice", "branch"),
    ("cmd", "run"),
    ("command", "run"),
    ("concurrency", "max_parallel"),
    ("condition", "if"),
    ("conn_id", "connection"),
    ("container_resources", "container"),
    ("continue_on_error", "allow_failure"),
    ("cpus", "cpu"),
    ("data", "body"),
    ("dependencies", "depends_on"),
    ("docker", "container"),
    ("endpoint", "url"),
    ("environment", "env"),
    ("execute_pipeline", "pipeline"),
    ("execution_timeout", "timeout"),
    ("expand", "for_each"),
    ("image", "container"),
    ("interval", "every"),
    ("interval_seconds", "delay"),
    ("items", "for_each"),
    ("map", "for_each"),
    ("matrix", "for_each"),
    ("max_active_tis_per_dag", "max_parallel"),
    ("max_active_tis_per_dagrun", "max_parallel"),
    ("max_attempts", "max"),
    ("max_concurrency", "max_parallel"),
    ("max_retries", "retries"),
    ("max_retry_delay", "max_delay"),
    ("mem", "memory"),
    ("needs", "depends_on"),
    ("parallelism", "max_parallel"),
    ("parameters", "bind"),
    ("parameters", "params"),
    ("params", "bind"),
    ("payload", "json"),
    ("poke_interval", "every"),
    ("priority_weight", "priority"),
    ("query", "run"),
    ("query", "sql"),
    ("request", "http"),
    ("retry", "retries"),
    ("retry_delay", "delay"),
    ("retry_delay_seconds", "delay"),
    ("script", "shell"),
    ("sensor", "wait"),
    ("service_account_name", "service_account"),
    ("soft_fail", "on_timeout"),
    ("statement", "run"),
    ("statement", "sql"),
    ("statements", "run"),
    ("status", "success"),
    ("status_codes", "success"),
    ("strategy", "for_each"),
    ("sub_pipeline", "pipeline"),
    ("subflow", "pipeline"),
    ("task_concurrency", "max_parallel"),
    ("task_group", "group"),
    ("timeout_seconds", "timeout"),
    ("tolerated_failure_percentage", "max_failed"),
    ("trigger_dag", "pipeline"),
    ("trigger_dag_run", "pipeline"),
    ("upstream", "depends_on"),
    ("upstreams", "depends_on"),
    ("uri", "url"),
    ("variables", "env"),
    ("verb", "method"),
    ("wait_for_completion", "wait"),
    ("wait_until", "time"),
    ("when", "if"),
    ("with_items", "for_each"),
    ("working_dir", "workdir"),
];

/// Of a schedule and a trigger: in Airflow, Prefect, Dagster, Kubernetes, EventBridge and Data Factory.
const OF_TIMES: &[(&str, &str)] = &[
    ("backfill", "catchup"),
    ("bucket_key", "path"),
    ("catch_up", "catchup"),
    ("concurrency_policy", "overlap"),
    ("conf", "params"),
    ("cron_expression", "cron"),
    ("crontab", "cron"),
    ("dag", "pipeline"),
    ("dag_id", "name"),
    ("event_name", "event"),
    ("expect", "event"),
    ("expression", "cron"),
    ("external_dag_id", "pipeline"),
    ("filepath", "path"),
    ("flow", "pipeline"),
    ("frequency", "every"),
    ("glob", "path"),
    ("id", "name"),
    ("interval", "every"),
    ("lag", "delay"),
    ("match", "event"),
    ("max_active_runs", "max_queued"),
    ("offset", "delay"),
    ("on", "when"),
    ("parameters", "params"),
    ("path", "file"),
    ("pattern", "path"),
    ("period", "every"),
    ("poll_interval", "every"),
    ("prefix", "path"),
    ("queue_limit", "max_queued"),
    ("rate", "every"),
    ("run_config", "params"),
    ("s3", "file"),
    ("stable_for", "settle"),
    ("starting_deadline_seconds", "grace"),
    ("status", "when"),
    ("throttle", "debounce"),
    ("topic", "event"),
    ("upstream_pipeline", "pipeline"),
    ("upstreams", "pipelines"),
    ("url", "path"),
    ("webhook", "event"),
];

/// What belongs elsewhere and under another name, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("backfill", "`schedule`, as `catchup`; dates of the past are run with `penstock backfill`"),
    ("catch_up", "`schedule`, as `catchup`"),
    ("concurrency_policy", "`schedule`, as `overlap`"),
    ("max_catchup_runs", "`schedule`, as `max_queued`"),
    ("misfire_grace_time", "`schedule`, as `grace`"),
    ("starting_deadline_seconds", "`schedule`, as `grace`"),
    ("webhook", "an item of `triggers`, as `event`"),
];

/// A hint for a key that is not known where it stands, but is elsewhere or under another name.
pub(in super::super) fn elsewhere(found: &str, is_known: &dyn Fn(&str) -> bool) -> Option<String> {
    let is_document = is_known("tasks");
    let synonyms = match (is_document, is_known("debounce") || is_known("overlap") || is_known("settle") || is_known("when")) {
        (true, _) => OF_DOCUMENTS,
        // `wait` has `settle` as well.
        (false, true) if !is_known("on_timeout") => OF_TIMES,
        (false, _) => OF_TASKS,
    };
    if let Some((_, ours)) = synonyms.iter().find(|(theirs, ours)| plain(theirs).eq(plain(found)) && is_known(ours)) {
        return Some(format!("did you mean `{ours}`?"));
    }
    fn has<T>(table: &[Key<T>], found: &str) -> Option<bool> {
        table.iter().find(|key| key.name == found).map(Key::is_supported)
    }
    let of_times = [
        (has(SCHEDULE, found), "`schedule`"),
        (has(TRIGGER, found), "an item of `triggers`"),
        (has(LANDING, found), "the `file` of a trigger"),
    ];
    let places = [
        (has(SETTINGS, found), "a task or in `defaults`"),
        (has(TASK, found), "a task"),
        (has(ACTIONS, found), "a task"),
        (has(FLOW, found), "a task"),
        (has(RETRIES, found), "`retries`"),
        (has(TOP, found), "the document's top level"),
        (has(HTTP, found), "`http`"),
        (has(SQL, found), "`sql`"),
        (has(WAIT, found), "`wait`"),
        (has(CONTAINER, found), "`container`"),
        (has(EXPECT, found), "`expect`"),
        (has(CHILD, found), "the `pipeline` of a task"),
    ];
    // What a document says of time is nearer to its top than what its tasks do.
    let (first, last) = if is_document { (&of_times[..], &places[..]) } else { (&places[..], &of_times[..]) };
    let place = first.iter().chain(last).find_map(|(supported, place)| match (*supported)? {
        true => Some(format!("`{found}` belongs in {place}")),
        false => Some(format!("`{found}` belongs in {place}, and is not supported by this version")),
    });
    place.or_else(|| {
        let (_, place) = ELSEWHERE.iter().find(|(theirs, _)| is_document && plain(theirs).eq(plain(found)))?;
        Some(format!("`{found}` belongs in {place}"))
    })
}

/// `dependsOn`, `depends-on` and `depends_on` are one word.
fn plain(word: &str) -> impl Iterator<Item = u8> {
    word.bytes().filter(|b| !matches!(b, b'-' | b'_')).map(|b| b.to_ascii_lowercase())
}
