//! Templates: minijinja, where what is undefined is an error.
//!
//! They stand in argv elements, values of `env`, URLs, headers, bodies, bound values and paths; never in a `shell` script or in
//! the text of a statement. What is rendered is data: it is never rendered again, and where it becomes a part of something that
//! has a syntax (a URL, a pattern of file names), [`Templates::pieces`] tells what came from a value. An error here is the
//! document's or its parameters', so the attempt is FAILED(template) and never retried.

use std::collections::BTreeMap;

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Value};
use penstock_common::lease::Lease;
use penstock_common::metrics::Outputs;
use penstock_common::{Interval, TaskId, engine};
use serde_json::Value as Json;

/// Instructions one template may take: far more than a command line needs, and over in milliseconds.
const FUEL: u64 = 100_000;
/// What one argument or variable may come to: the kernel takes none over 128 KiB.
const MAX_ARGUMENT_BYTES: usize = 128 * 1024;
/// What any other template may come to.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Where a value begins and ends in the text that [`Templates::pieces`] takes apart: no characters, for internal use only.
const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';

/// Renders the templates of one attempt.
pub(crate) struct Templates {
    environment: Environment<'static>,
    context: Value,
    /// What the context has, for messages.
    names: String,
}

/// A part of a rendered text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The document's own words, or a value that it marks by `| safe`.
    Text(String),
    /// A value.
    Value(String),
}

impl Templates {
    /// The context of a lease: `params`, `run`, `interval`, `task`, `item`, `outputs` and `previous`.
    pub(crate) fn new(lease: &Lease, params: &serde_json::Map<String, Json>) -> Self {
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        context.insert("params", Value::from(Serde(params)));
        context.insert("run", Value::from_pairs([("id", lease.run.as_str()), ("trigger", lease.trigger.as_str())]));
        let task = [("id", Value::from(lease.task.task.as_str())), ("attempt", Value::from(lease.number))];
        context.insert("task", Value::from_pairs(task));
        if let Some(covered) = &lease.interval {
            context.insert("interval", interval(covered, &lease.zone));
        }
        if let Some(item) = &lease.item {
            context.insert("item", parsed(item));
        }
        context.insert("outputs", outputs(&lease.outputs));
        // Before the first success there is nothing, and a default must do for it.
        let none = BTreeMap::new();
        let before = [
            ("interval", lease.previous.as_ref().map_or_else(nothing, |previous| interval(&previous.interval, &lease.zone))),
            ("outputs", outputs(lease.previous.as_ref().map_or(&none, |previous| &previous.outputs))),
        ];
        context.insert("previous", Value::from_pairs(before));
        Self { environment: engine::engine(FUEL), context: Value::from_pairs(context), names: names(lease, params) }
    }

    /// Renders what becomes an argument or a variable. `element` says which, such as `run[2]`; an error says what to change.
    pub(crate) fn render(&self, element: &str, template: &str) -> Result<String, String> {
        let rendered = self.text(element, template)?;
        if rendered.contains('\0') {
            return Err(format!("{element} {}: the value holds a NUL character, which no argument or variable can", shown(template)));
        }
        if rendered.len() >= MAX_ARGUMENT_BYTES {
            return Err(format!(
                "{element} {}: the value is {} bytes, and the kernel takes at most {MAX_ARGUMENT_BYTES} in one argument or variable: \
                 put it into a file and pass its path",
                shown(template),
                rendered.len(),
            ));
        }
        Ok(rendered)
    }

    /// Renders any other text.
    pub(crate) fn text(&self, element: &str, template: &str) -> Result<String, String> {
        if !has_tags(template) {
            return Ok(template.to_owned());
        }
        let rendered = self.environment.render_str(template, &self.context).map_err(|error| self.explain(element, template, &error))?;
        if rendered.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "{element} {}: the value is {} bytes, and at most {MAX_TEXT_BYTES} are possible: store the data and pass a reference to it",
                shown(template),
                rendered.len(),
            ));
        }
        Ok(rendered)
    }

    /// Renders a JSON value: strings of it are templates, and one that is a single `{{ … }}` becomes the value of that
    /// expression, whatever its type. Keys are no templates.
    pub(crate) fn json(&self, element: &str, value: &Json) -> Result<Json, String> {
        Ok(match value {
            Json::String(template) => match self.expression(element, template)? {
                Some(value) => value,
                None => self.text(element, template)?.into(),
            },
            Json::Array(items) => Json::Array(
                items.iter().enumerate().map(|(i, item)| self.json(&format!("{element}[{i}]"), item)).collect::<Result<_, _>>()?,
            ),
            Json::Object(fields) => {
                let field = |(key, field): (&String, &Json)| Ok((key.clone(), self.json(&format!("{element}.{key}"), field)?));
                Json::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            plain => plain.clone(),
        })
    }

    /// `None`: the text is not one expression and nothing else.
    fn expression(&self, element: &str, template: &str) -> Result<Option<Json>, String> {
        let inner = template.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let Some(inner) = inner.map(|inner| inner.strip_prefix('-').unwrap_or(inner)) else { return Ok(None) };
        let inner = inner.strip_suffix('-').unwrap_or(inner);
        // Of two tags and what is between them, it makes no expression.
        let Ok(expression) = self.environment.compile_expression(inner) else { return Ok(None) };
        let value = expression.eval(&self.context).map_err(|error| self.explain(element, template, &error))?;
        if value.is_undefined() {
            return Err(format!("{element} {}: undefined value. Defined here: {}", shown(template), self.names));
        }
        let value =
            serde_json::to_value(&value).map_err(|error| format!("{element} {}: this value is not JSON: {error}", shown(template)))?;
        if value.as_str().map_or(0, str::len) > MAX_TEXT_BYTES {
            return Err(format!("{element} {}: the value has more than {MAX_TEXT_BYTES} bytes", shown(template)));
        }
        Ok(Some(value))
    }

    /// Renders a text, and tells the document's own words from the values that it puts among them.
    pub(crate) fn pieces(&self, element: &str, template: &str) -> Result<Vec<Piece>, String> {
        if !has_tags(template) {
            return Ok(vec![Piece::Text(template.to_owned())]);
        }
        let mut marking = engine::engine(FUEL);
        marking.set_formatter(|out, state, value| {
            if value.is_undefined() || value.is_safe() {
                return engine::write(out, state, value);
            }
            // None of them within: a value could end itself, and what follows would pass for the document's words.
            let text = match value.kind() {
                ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => serde_json::to_string(value).map_err(|error| {
                    minijinja::Error::new(ErrorKind::BadSerialization, format!("it cannot be written as JSON: {error}"))
                })?,
                _ => value.to_string(),
            };
            let text = text.replace([BEGIN, END], "");
            out.write_fmt(format_args!("{BEGIN}{text}{END}"))?;
            Ok(())
        });
        let rendered = marking.render_str(template, &self.context).map_err(|error| self.explain(element, template, &error))?;
        if rendered.len() > MAX_ARGUMENT_BYTES {
            return Err(format!("{element} {}: it comes to more than {MAX_ARGUMENT_BYTES} bytes", shown(template)));
        }
        Ok(take_apart(&rendered))
    }

    fn explain(&self, element: &str, template: &str, error: &minijinja::Error) -> String {
        let why = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
        let element = format!("{element} {}", shown(template));
        match error.kind() {
            ErrorKind::UndefinedError => format!("{element}: {why}. Defined here: {}", self.names),
            ErrorKind::OutOfFuel => {
                format!("{element}: the template takes more than {FUEL} steps: compute the value in the task")
            }
            _ => format!("{element}: {why}"),
        }
    }
}

fn has_tags(template: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|opening| template.contains(opening))
}

fn take_apart(rendered: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut end = |text: &mut String, value: bool| {
        let text = std::mem::take(text);
        if !text.is_empty() {
            pieces.push(if value { Piece::Value(text) } else { Piece::Text(text) });
        }
    };
    for c in rendered.chars() {
        match c {
            BEGIN | END => end(&mut text, c == END),
            c => text.push(c),
        }
    }
    end(&mut text, false);
    pieces
}

fn interval(interval: &Interval, zone: &str) -> Value {
    Value::from_pairs([("start", interval.start().to_string()), ("end", interval.end().to_string()), ("date", interval.date(zone))])
}

fn nothing() -> Value {
    Value::from_pairs(BTreeMap::<String, Value>::new())
}

fn outputs(of: &BTreeMap<TaskId, Outputs>) -> Value {
    let values = |outputs: &Outputs| outputs.0.iter().map(|(key, json)| (key.clone(), parsed(json))).collect();
    engine::outputs(of.iter().map(|(task, outputs)| (task.to_string(), values(outputs))).collect())
}

fn names(lease: &Lease, params: &serde_json::Map<String, Json>) -> String {
    let each = |prefix: String, keys: Vec<String>| match keys.len() {
        0 => format!("no {prefix}"),
        _ => format!("{prefix}.{{{}}}", keys.join(", ")),
    };
    let mut names =
        vec!["run.{id, trigger}".to_owned(), "task.{id, attempt}".to_owned(), each("params".into(), params.keys().cloned().collect())];
    names.push(if lease.interval.is_some() { "interval.{start, end, date}".into() } else { "no interval".into() });
    names.push(if lease.item.is_some() { "item".into() } else { "no item".into() });
    let of_tasks = |prefix: &'static str, outputs: &BTreeMap<TaskId, Outputs>| -> Vec<String> {
        outputs.iter().map(|(task, o)| each(format!("{prefix}.{task}"), o.0.keys().cloned().collect())).collect()
    };
    names.extend(of_tasks("outputs", &lease.outputs));
    match &lease.previous {
        Some(previous) => {
            names.push("previous.interval.{start, end, date}".into());
            names.extend(of_tasks("previous.outputs", &previous.outputs));
        }
        None => names.push("nothing in previous (no earlier interval succeeded: `| default(…)` gives a first value)".into()),
    }
    names.join(", ")
}

fn parsed(json: &str) -> Value {
    serde_json::from_str::<Json>(json).map_or_else(|_| Value::from(json), |value| Value::from(Serde(value)))
}

fn shown(template: &str) -> String {
    let cut: String = template.chars().take(120).collect();
    if cut.len() < template.len() { format!("`{cut}…`") } else { format!("`{cut}`") }
}

#[cfg(test)]
mod tests;
