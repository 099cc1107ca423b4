//! What runs on this machine, by the fence in its environment.

/// Processes, zombies apart, that carry a fence of a run. Other clusters on this machine use the same small numbers.
pub fn with_fence(run: &str, fence: u64) -> Vec<i32> {
    let marks = [format!("PENSTOCK_FENCE={fence}"), format!("PENSTOCK_RUN_ID={run}")];
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let variables: Vec<_> = environment.split(|b| *b == 0).collect();
        marks.iter().all(|mark| variables.contains(&mark.as_bytes()))
    })
    .collect()
}
