//! Templates: minijinja, where what is undefined is an error.
//!
//! They stand in argv elements, values of `env`, and `workdir`; never in a `shell` script, which gets values as environment
//! variables. An error here is the document's or its parameters', so the attempt is FAILED(template) and never retried.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use penstock_common::lease::Lease;

/// Instructions one template may take: far more than a command line needs, and over in milliseconds.
const FUEL: u64 = 100_000;
/// What one template may come to. The kernel takes no argument or variable over 128 KiB.
const MAX_RENDERED_BYTES: usize = 128 * 1024;

/// Renders the templates of one attempt.
pub(crate) struct Templates {
    environment: Environment<'static>,
    context: Value,
    /// What the context has, for messages.
    names: String,
}

impl Templates {
    /// The context of a lease: `params`, `run`, `interval`, `task` and `outputs`.
    pub(crate) fn new(lease: &Lease, params: &serde_json::Map<String, serde_json::Value>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            environment.set_syntax(syntax);
        }
        environment.set_fuel(Some(FUEL));

        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        context.insert("params", Value::from(Serde(params)));
        context.insert("run", Value::from_pairs([("id", lease.run.as_str()), ("trigger", lease.trigger.as_str())]));
        let task = [("id", Value::from(lease.task.task.as_str())), ("attempt", Value::from(lease.number))];
        context.insert("task", Value::from_pairs(task));
        if let Some(interval) = &lease.interval {
            let interval =
                [("start", interval.start().to_string()), ("end", interval.end().to_string()), ("date", interval.date(&lease.zone))];
            context.insert("interval", Value::from_pairs(interval));
        }
        let outputs: BTreeMap<String, BTreeMap<String, Value>> = lease
            .outputs
            .iter()
            .map(|(task, outputs)| (task.to_string(), outputs.0.iter().map(|(k, json)| (k.clone(), parsed(json))).collect()))
            .collect();
        context.insert("outputs", Value::from(Serde(outputs)));

        let each = |prefix: String, keys: Vec<String>| match keys.len() {
            0 => format!("no {prefix}"),
            _ => format!("{prefix}.{{{}}}", keys.join(", ")),
        };
        let mut names =
            vec!["run.{id, trigger}".to_owned(), "task.{id, attempt}".to_owned(), each("params".into(), params.keys().cloned().collect())];
        names.push(if lease.interval.is_some() { "interval.{start, end, date}".into() } else { "no interval".into() });
        names.extend(lease.outputs.iter().map(|(task, o)| each(format!("outputs.{task}"), o.0.keys().cloned().collect())));
        Self { environment, context: Value::from_pairs(context), names: names.join(", ") }
    }

    /// Renders the template of the named element, such as `run[2]`; an error says what to change.
    pub(crate) fn render(&self, element: &str, template: &str) -> Result<String, String> {
        let rendered = if ["{{", "{%", "{#"].iter().any(|opening| template.contains(opening)) {
            self.environment.render_str(template, &self.context).map_err(|error| self.explain(element, template, &error))?
        } else {
            template.to_owned()
        };
        if rendered.contains('\0') {
            return Err(format!("{element} {}: the value holds a NUL character, which no argument or variable can", shown(template)));
        }
        if rendered.len() >= MAX_RENDERED_BYTES {
            return Err(format!(
                "{element} {}: the value is {} bytes, and the kernel takes at most {MAX_RENDERED_BYTES} in one argument or variable: \
                 put it into a file and pass its path",
                shown(template),
                rendered.len(),
            ));
        }
        Ok(rendered)
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

fn parsed(json: &str) -> Value {
    serde_json::from_str::<serde_json::Value>(json).map_or_else(|_| Value::from(json), |value| Value::from(Serde(value)))
}

fn shown(template: &str) -> String {
    let cut: String = template.chars().take(120).collect();
    if cut.len() < template.len() { format!("`{cut}…`") } else { format!("`{cut}`") }
}
