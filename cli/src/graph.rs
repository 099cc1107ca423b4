//! A pipeline as a drawing: Mermaid for Markdown, SVG for anything else. Names are the document's and are written as text.

mod layout;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use penstock_common::TaskId;
use penstock_common::pipeline::{Condition, Dependency, Pipeline, Task, TriggerRule};

use self::layout::{HEIGHT, layout};

/// What stands beneath a task's name.
fn about(task: &Task) -> String {
    let mut words = vec![task.action.kind().to_owned()];
    if task.for_each.is_some() {
        words.push("for each".to_owned());
    }
    if task.trigger_rule != TriggerRule::AllSuccess {
        words.push(task.trigger_rule.as_str().to_owned());
    }
    for (is, word) in [(task.branch, "branch"), (task.teardown, "teardown"), (task.condition.is_some(), "if")] {
        if is {
            words.push(word.to_owned());
        }
    }
    words.join(", ")
}

/// Every edge: upstream, downstream, and what it asks for.
fn edges(pipeline: &Pipeline) -> impl Iterator<Item = (&TaskId, &TaskId, &'static str)> {
    let label = |d: &Dependency| match d.when {
        None if d.paired => "[*]",
        None => "",
        Some(Condition::Success) => "success",
        Some(Condition::Failed) => "failed",
        Some(Condition::Completed) => "completed",
        Some(Condition::Skipped) => "skipped",
    };
    pipeline.tasks.iter().flat_map(move |(id, task)| {
        let setup = task.setup.iter().filter(|setup| !task.depends_on.iter().any(|d| d.task == **setup)).map(|setup| (setup, "setup"));
        task.depends_on.iter().map(move |d| (&d.task, label(d))).chain(setup).map(move |(above, label)| (above, id, label))
    })
}

/// A flowchart of <https://mermaid.js.org>, groups as subgraphs.
pub(crate) fn mermaid(pipeline: &Pipeline) -> String {
    let mut text = String::from("flowchart TD\n");
    let mut groups: BTreeMap<Option<&TaskId>, Vec<(&TaskId, &Task)>> = BTreeMap::new();
    for (id, task) in &pipeline.tasks {
        groups.entry(task.group.as_ref()).or_default().push((id, task));
    }
    for (group, tasks) in groups {
        let indent = if group.is_some() { "    " } else { "  " };
        if let Some(group) = group {
            let _ = writeln!(text, "  subgraph {group}");
        }
        for (id, task) in tasks {
            // An id may be a word of the language, such as `end`: behind a prefix it is none.
            let _ = writeln!(text, "{indent}t_{id}[\"{id}<br/><small>{}</small>\"]", about(task));
        }
        if group.is_some() {
            text.push_str("  end\n");
        }
    }
    for (above, below, label) in edges(pipeline) {
        let arrow = if label.is_empty() { "-->".to_owned() } else { format!("-- \"{label}\" -->") };
        let _ = writeln!(text, "  t_{above} {arrow} t_{below}");
    }
    text.trim_end().to_owned()
}

/// A picture, laid out by layers.
pub(crate) fn svg(pipeline: &Pipeline) -> String {
    let numbers: BTreeMap<&TaskId, u32> = pipeline.tasks.keys().zip(0..).collect();
    let width = |id: &TaskId, task: &Task| 24.0 + 7.5 * id.as_str().len().max(about(task).len()) as f64;
    let widths: Vec<f64> = pipeline.tasks.iter().map(|(id, task)| width(id, task)).collect();
    let lines: Vec<(u32, u32)> = edges(pipeline).filter_map(|(a, b, _)| Some((*numbers.get(a)?, *numbers.get(b)?))).collect();
    let drawn = layout(&widths, &lines);
    let (full_width, full_height) = (drawn.width, drawn.height);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{full_width:.0}\" height=\"{full_height:.0}\" viewBox=\"0 0 {full_width:.0} {full_height:.0}\" \
         font-family=\"sans-serif\" text-anchor=\"middle\">\n<title>{}</title>\n<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#555\"/></marker></defs>\n",
        escaped(&pipeline.name.to_string()),
    );
    let centre = |id: &TaskId| numbers.get(id).and_then(|n| drawn.centres.get(*n as usize)).copied();
    for (above, below, label) in edges(pipeline) {
        let (Some((x1, y1)), Some((x2, y2))) = (centre(above), centre(below)) else { continue };
        let (y1, y2) = (y1 + HEIGHT / 2.0, y2 - HEIGHT / 2.0);
        let _ = writeln!(text, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#555\" fill=\"none\" marker-end=\"url(#arrow)\"/>");
        if !label.is_empty() {
            let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"10\" fill=\"#555\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{label}</text>"
            );
        }
    }
    for (id, task) in &pipeline.tasks {
        let (Some((x, y)), w) = (centre(id), width(id, task)) else { continue };
        let (left, top) = (x - w / 2.0, y - HEIGHT / 2.0);
        let _ = writeln!(
            text,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{HEIGHT}\" rx=\"5\" fill=\"#f4f6fa\" stroke=\"#345\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"13\">{}</text>\n<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"10\" fill=\"#555\">{}</text>",
            y - 3.0,
            escaped(id.as_str()),
            y + 12.0,
            escaped(&about(task)),
        );
    }
    text.push_str("</svg>");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use penstock_common::PipelineName;

    use super::*;

    fn pipeline() -> Pipeline {
        let id = |name: &str| TaskId::parse(name).unwrap();
        let on = |name: &str, when| Dependency { task: id(name), when, paired: false };
        let load = Task { depends_on: vec![on("extract", None)], group: Some(id("loads")), ..Task::noop() };
        let alarm = Task { depends_on: vec![on("extract", Some(Condition::Failed))], ..Task::noop() };
        let tasks = [("extract", Task::noop()), ("load", load), ("alarm", alarm), ("aside", Task::noop())];
        Pipeline::of(PipelineName::parse("p").unwrap(), tasks.map(|(name, task)| (id(name), task)).into())
    }

    #[test]
    fn a_flowchart_names_tasks_groups_and_conditions() {
        let text = mermaid(&pipeline());
        assert!(text.starts_with("flowchart TD\n"));
        for line in ["  subgraph loads\n", "  t_extract --> t_load", "  t_extract -- \"failed\" --> t_alarm"] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_picture_has_every_task_above_what_waits_for_it() {
        let text = svg(&pipeline());
        let place = |name: &str| -> f64 {
            let at = text.find(&format!("\">{name}</text>")).unwrap();
            let y = text[..at].rfind(" y=\"").unwrap() + 4;
            text[y..].split('"').next().unwrap().parse().unwrap()
        };
        assert!(place("extract") < place("load") && place("extract") < place("alarm"));
        assert!(place("aside") > 0.0 && text.ends_with("</svg>"));
    }
}
