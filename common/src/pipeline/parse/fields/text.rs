//! Readers of texts that are more than texts: templates, expressions, JSON with templates in it, and what must be none of these.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::found::{cut, listed};
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, is_yaml_1_1_bool, resolve};
use super::super::template::{Names, ROOTS, has_tags};
use super::{Located, Reader, Template, Uses, describe_scalar};
use crate::pipeline::{self, Location, Task};

/// What the contexts of other tools call what ours has.
const OTHER_CONTEXTS: [(&str, &str); 14] = [
    ("conf", "a parameter is `params.NAME`"),
    ("dag_run", "the run is `run`, with `run.id` and `run.trigger`"),
    ("data_interval_end", "it is `interval.end`"),
    ("data_interval_start", "it is `interval.start`"),
    ("ds", "the date is `interval.date`"),
    ("each", "it is `item`, in a task with `for_each`"),
    ("env", "a template does not see the worker's variables; a parameter is `params.NAME`"),
    ("execution_date", "it is `interval.start`"),
    ("logical_date", "it is `interval.start`"),
    ("matrix", "it is `item`, in a task with `for_each`"),
    ("run_id", "it is `run.id`"),
    ("secrets", "a secret is named by reference: `env: {X: {secret: NAME}}`"),
    ("ti", "the task is `task`; what another one put out is `outputs.TASK.KEY`"),
    ("var", "a parameter is `params.NAME`"),
];

impl Reader {
    /// A template that compiles and uses known names only. What it uses is the caller's to judge.
    pub(in super::super) fn template(&mut self, node: &Node<'_>) -> Option<Template> {
        let text = self.word(node)?;
        let uses = self.uses_of(node.at, &text)?;
        Some(Template { text, uses })
    }

    /// A template of the task that is read.
    pub(in super::super) fn text(&mut self, node: &Node<'_>) -> Option<String> {
        let template = self.template(node)?;
        self.note(template.uses);
        Some(template.text)
    }

    /// A template of what an event carries: it may name `event` and nothing else.
    pub(in super::super) fn event_template(&mut self, node: &Node<'_>) -> Option<String> {
        let text = self.word(node)?;
        let roots = match self.templates.roots(&text) {
            Ok(roots) => roots,
            Err(fault) => {
                self.found.error(node.at, fault.message, fault.hint);
                return None;
            }
        };
        let mut others = roots.iter().filter(|root| !["event", "events"].contains(&root.as_str())).peekable();
        let fits = others.peek().is_none();
        for root in others {
            let hint = if ROOTS.contains(&root.as_str()) {
                "there is no run yet: a template of a trigger may use `event`, what it was started by, and `events`, all that were gathered"
                    .to_owned()
            } else {
                self.found.did_you_mean(root, ["event"], || {
                    "a template of a trigger may use `event`, what it was started by, and `events`, all that were gathered".to_owned()
                })
            };
            self.found.error(node.at, format!("unknown name `{}` in a template of a trigger", cut(root)), hint);
        }
        fits.then_some(text)
    }

    /// A list of templates of the task that is read; `None` if one is wrong.
    pub(in super::super) fn texts(&mut self, node: &Node<'_>, hint: &str) -> Option<Vec<String>> {
        let items = self.items(node, hint);
        let texts: Vec<_> = items.iter().filter_map(|item| self.text(item)).collect();
        (!items.is_empty() && texts.len() == items.len()).then_some(texts)
    }

    /// A JSON value whose texts are templates of the task that is read.
    pub(in super::super) fn json(&mut self, node: &Node<'_>) -> Option<Value> {
        self.value(node, &mut |r, at, text| {
            let uses = r.uses_of(at, text)?;
            r.note(uses);
            Some(())
        })
    }

    /// A JSON value whose texts `check` accepts.
    pub(in super::super) fn value(
        &mut self,
        node: &Node<'_>,
        check: &mut dyn FnMut(&mut Self, Location, &str) -> Option<()>,
    ) -> Option<Value> {
        match node.kind() {
            Kind::Scalar { text, plain: true, .. } => self.plain(node.at, text, check),
            Kind::Scalar { text, .. } => {
                check(self, node.at, text)?;
                Some(Value::from(text.as_ref()))
            }
            Kind::Sequence(items) => {
                let values: Vec<_> = items.iter().filter_map(|item| self.value(item, check)).collect();
                (values.len() == items.len()).then_some(Value::Array(values))
            }
            Kind::Mapping(entries) => {
                // Sorted, so that the order in which they are written makes no new version.
                let mut fields = BTreeMap::new();
                for entry in entries {
                    if has_tags(&entry.key) {
                        self.found.error(entry.at, format!("the key `{}` is not rendered", cut(&entry.key)), "only values are templates");
                    } else if let Some(value) = self.value(&entry.value, check) {
                        fields.insert(&entry.key, value);
                    }
                }
                let all = fields.len() == entries.len();
                all.then(|| fields.into_iter().map(|(key, value)| (key.clone().into_owned(), value)).collect())
            }
            Kind::Shared(_) | Kind::Broken => None,
        }
    }

    fn plain(&mut self, at: Location, text: &str, check: &mut dyn FnMut(&mut Self, Location, &str) -> Option<()>) -> Option<Value> {
        match resolve(text) {
            Core::Null => Some(Value::Null),
            Core::Bool(value) => Some(value.into()),
            Core::Int(Some(value)) => Some(value.into()),
            Core::Int(None) => {
                let message = format!("the integer {} has more than 64 bits", cut(text));
                self.found.error(at, message, "put it in quotes: a number would become another one");
                None
            }
            Core::Float(_) => {
                let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
                if value.is_none() {
                    self.found.error(
                        at,
                        format!("JSON cannot hold {}", describe_scalar(text, true)),
                        "write a finite number, or put it in quotes",
                    );
                }
                value.map(Value::from)
            }
            Core::Text => {
                self.warn_of_bools(at, text);
                check(self, at, text)?;
                Some(Value::from(text))
            }
        }
    }

    /// `no` is Norway here, and false elsewhere.
    pub(in super::super) fn warn_of_bools(&mut self, at: Location, text: &str) {
        if let Some(meant) = is_yaml_1_1_bool(text) {
            let message = format!("{text} is text here, while older YAML readers take it for {meant}");
            self.found.warning(at, message, format!("put it in quotes: \"{text}\""));
        }
    }

    /// An expression of the task that is read: what would stand within `{{ }}`.
    pub(in super::super) fn expression(&mut self, node: &Node<'_>) -> Option<String> {
        let text = self.word(node)?;
        if text.trim().is_empty() {
            self.refuse(node.at, "is an empty expression", "write a condition, such as params.region == \"eu\"");
            return None;
        }
        if has_tags(&text) {
            let bare = text.trim().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).map(str::trim).filter(|bare| !has_tags(bare));
            let example = bare.unwrap_or("params.region == \"eu\"");
            let hint = format!("write it without braces: {}", cut(example));
            self.refuse(node.at, "is an expression, and must not contain a template", hint);
            return None;
        }
        let names = match self.templates.names_of_expression(&text) {
            Ok(names) => names,
            Err(fault) => {
                self.found.error(node.at, fault.message, fault.hint);
                return None;
            }
        };
        let uses = self.judge(node.at, names, "an expression");
        self.note(uses);
        Some(text)
    }

    /// Text that is run or shown as it is written; a template in it is refused with `why`, and `hint` says the right way.
    pub(in super::super) fn verbatim(&mut self, node: &Node<'_>, why: &str, hint: &str) -> Option<String> {
        let text = self.string(node)?;
        if text.contains("{{") || text.contains("{%") {
            self.refuse(node.at, &format!("must not contain a template (`{{{{` or `{{%`): {why}"), hint);
            return None;
        }
        Some(text)
    }

    /// What a task reads of others.
    pub(in super::super) fn uses_of_task(&mut self, task: &Task) -> pipeline::Uses {
        self.templates.uses_of(task)
    }

    fn note(&mut self, uses: Uses) {
        if uses.item || !uses.outputs.is_empty() || !uses.previous.is_empty() {
            self.uses.push(uses);
        }
    }

    /// What a template uses; `None` if it does not compile.
    fn uses_of(&mut self, at: Location, text: &str) -> Option<Uses> {
        match self.templates.names(text) {
            Ok(names) => Some(self.judge(at, names, "a template")),
            Err(fault) => {
                self.found.error(at, fault.message, fault.hint);
                None
            }
        }
    }

    /// Names that nothing has are errors; parameters are judged when all are known.
    fn judge(&mut self, at: Location, names: Names, place: &str) -> Uses {
        for root in names.others {
            let hint = match OTHER_CONTEXTS.iter().find(|(theirs, _)| *theirs == root) {
                Some((_, hint)) => (*hint).to_owned(),
                None => self.found.did_you_mean(&root, ROOTS, || {
                    format!("templates and expressions may use {}; a parameter is `params.NAME`", listed(ROOTS))
                }),
            };
            self.found.error(at, format!("unknown name `{}` in {place}", cut(&root)), hint);
        }
        for (path, known) in names.no_members {
            let (of, name) = path.rsplit_once('.').unwrap_or_default();
            let hint = self.found.did_you_mean(name, known.iter().copied(), || format!("it has {}", listed(known.iter().copied())));
            self.found.error(at, format!("`{of}` has no `{}`", cut(name)), hint);
        }
        if names.interval {
            self.intervals_used.push(at);
        }
        self.params_used.extend(names.params.into_iter().map(|value| Located { at, value }));
        Uses { at, outputs: names.outputs, previous: names.previous, item: names.item }
    }
}
