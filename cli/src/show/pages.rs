//! Showing runs of any size: read page by page, so that a run of a million tasks takes no more memory than one of ten.

use std::collections::BTreeMap;
use std::io::Write as _;

use penstock_client::{Client, Run, v1};
use penstock_common::{State, TaskKey};

use super::json;

/// Instances of one mapped task that a table shows, whatever became of them.
const SHOWN: u32 = 20;
/// Instances of one mapped task that a table shows because they did not succeed.
const TROUBLED: u32 = 100;

/// What people are shown of a run.
pub(crate) struct Shown {
    pub(crate) run: Run,
    /// Instances that are not among the tasks, by mapped task.
    pub(crate) left_out: BTreeMap<String, u32>,
}

/// The run with the tasks that people look at: of a mapped task with many instances the first ones and those that did not succeed. Each
/// task is followed by its instances.
pub(crate) async fn for_people(client: &Client, run_id: &str) -> Result<Shown, penstock_client::Error> {
    let mut kept: BTreeMap<(String, u32), v1::Task> = BTreeMap::new();
    let mut troubled: BTreeMap<String, u32> = BTreeMap::new();
    let mut left_out: BTreeMap<String, u32> = BTreeMap::new();
    let mut run = Run::default();
    let mut from = 0;
    loop {
        let page = client.page(run_id, from, 0).await?;
        run.run = page.run.unwrap_or_default();
        for task in page.tasks {
            let name = TaskKey::parse(&task.id).map_or_else(|_| task.id.clone(), |key| key.task.to_string());
            let trouble = !matches!(State::from(task.state()), State::Success | State::Pending | State::Skipped);
            let count = troubled.entry(name.clone()).or_default();
            match task.instance {
                None => drop(kept.insert((name, 0), task)),
                Some(number) if number < SHOWN => drop(kept.insert((name, number + 1), task)),
                Some(number) if trouble && *count < TROUBLED => {
                    *count += 1;
                    kept.insert((name, number.saturating_add(1)), task);
                }
                Some(_) => *left_out.entry(name).or_default() += 1,
            }
        }
        from = page.next_task;
        if from == 0 {
            run.tasks = kept.into_values().collect();
            return Ok(Shown { run, left_out });
        }
    }
}

/// The whole run as JSON, written as it is read.
pub(crate) async fn print_json(client: &Client, run_id: &str) -> anyhow::Result<v1::Run> {
    let mut from = 0;
    let mut first = true;
    loop {
        let page = client.page(run_id, from, 0).await?;
        let run = page.run.unwrap_or_default();
        let mut text = String::new();
        if from == 0 {
            let head = serde_json::to_string_pretty(&json::head(&run))?;
            text.push_str(head.trim_end_matches(['}', '\n']));
            text.push_str(",\n  \"tasks\": [");
        }
        for task in &page.tasks {
            text.push_str(if first { "\n    " } else { ",\n    " });
            text.push_str(&json::task(task).to_string());
            first = false;
        }
        from = page.next_task;
        if from == 0 {
            text.push_str("\n  ]\n}\n");
        }
        // A reader that has gone away is no error.
        drop(std::io::stdout().lock().write_all(text.as_bytes()));
        if from == 0 {
            return Ok(run);
        }
    }
}
