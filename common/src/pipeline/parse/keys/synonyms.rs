//! What other tools call our keys, and where a key belongs that stands elsewhere: hints for keys that are not known.

use super::super::fields::Key;
use super::{ACTIONS, CHILD, CONTAINER, EXPECT, FLOW, HTTP, RETRIES, SETTINGS, SQL, TASK, TOP, WAIT};

/// Of the document: in Airflow, Prefect, Argo, GitHub and Data Factory.
const OF_DOCUMENTS: &[(&str, &str)] = &[
    ("activities", "tasks"),
    ("concurrency", "max_active_runs"),
    ("dag", "pipeline"),
    ("dag_id", "pipeline"),
    ("dagrun_timeout", "run_timeout"),
    ("default_args", "defaults"),
    ("environment", "env"),
    ("flow", "pipeline"),
    ("flow_run_name", "pipeline"),
    ("id", "pipeline"),
    ("jobs", "tasks"),
    ("max_active_tis", "max_active_tasks"),
    ("max_concurrency", "max_active_tasks"),
    ("max_concurrent_runs", "max_active_runs"),
    ("name", "pipeline"),
    ("nodes", "tasks"),
    ("parallelism", "max_active_tasks"),
    ("parameters", "params"),
    ("states", "tasks"),
    ("steps", "tasks"),
    ("time_zone", "timezone"),
    ("tz", "timezone"),
    ("variables", "env"),
    ("vars", "params"),
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

/// A hint for a key that is not known where it stands, but is elsewhere or under another name.
pub(in super::super) fn elsewhere(found: &str, is_known: &dyn Fn(&str) -> bool) -> Option<String> {
    let synonyms = if is_known("tasks") { OF_DOCUMENTS } else { OF_TASKS };
    if let Some((_, ours)) = synonyms.iter().find(|(theirs, ours)| plain(theirs).eq(plain(found)) && is_known(ours)) {
        return Some(format!("did you mean `{ours}`?"));
    }
    fn has<T>(table: &[Key<T>], found: &str) -> Option<bool> {
        table.iter().find(|key| key.name == found).map(Key::is_supported)
    }
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
    places.into_iter().find_map(|(supported, place)| match supported? {
        true => Some(format!("`{found}` belongs in {place}")),
        false => Some(format!("`{found}` belongs in {place}, and is not supported by this version")),
    })
}

/// `dependsOn`, `depends-on` and `depends_on` are one word.
fn plain(word: &str) -> impl Iterator<Item = u8> {
    word.bytes().filter(|b| !matches!(b, b'-' | b'_')).map(|b| b.to_ascii_lowercase())
}
