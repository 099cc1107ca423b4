//! What can be known of a template or an expression without rendering it: whether it compiles, and which names it uses.
//!
//! Only what is certain is an error: names behind a subscript (`params["x"]`), names a template sets itself, filters and
//! keys of outputs are left to the rendering.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Environment;

use crate::TaskId;
use crate::pipeline::{OutputsOf, Task, Uses};

/// Bytes that `{{ … }}` and `{% … %}` of one text may hold together. The engine's compiler recurses once for each
/// operator, at worst once a byte, and has no limit of its own: 4 KiB of minus signs take 1 MiB of stack.
const MAX_TAG_BYTES: usize = 2 * 1024;

/// The roots of all names in templates and expressions.
pub(super) const ROOTS: [&str; 7] = ["params", "run", "interval", "task", "outputs", "item", "previous"];
/// What those have whose names are the same for everyone.
const MEMBERS: [(&str, &[&str]); 5] = [
    ("run", &["id", "trigger"]),
    ("interval", INTERVAL),
    ("task", &["id", "attempt"]),
    ("previous", &["outputs", "interval"]),
    ("previous.interval", INTERVAL),
];
const INTERVAL: &[&str] = &["start", "end", "date"];

/// The names a template uses, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// X of `params.X`.
    pub(super) params: Vec<String>,
    /// T of `outputs.T`.
    pub(super) outputs: Vec<String>,
    /// T of `previous.outputs.T`.
    pub(super) previous: Vec<String>,
    /// It reads `outputs` otherwise, and may mean any task.
    pub(super) any_output: bool,
    /// It uses `previous`, be it for its interval only.
    pub(super) uses_previous: bool,
    /// It reads `previous.outputs` otherwise.
    pub(super) any_previous: bool,
    /// Whether it uses `item`.
    pub(super) item: bool,
    /// Whether it uses `interval`, that of the run itself.
    pub(super) interval: bool,
    /// Roots that are none of [`ROOTS`] and no function of the engine.
    pub(super) others: Vec<String>,
    /// `interval.X` and the like that is not there, and what is.
    pub(super) no_members: Vec<(String, &'static [&'static str])>,
}

impl Names {
    /// What only the rendering shows is left out: a wrong name in it is no error of the document.
    fn unclear(self) -> Self {
        Self {
            any_output: self.any_output || !self.outputs.is_empty(),
            uses_previous: self.uses_previous,
            any_previous: self.any_previous || !self.previous.is_empty(),
            ..Self::default()
        }
    }

    /// For the model.
    pub(super) fn uses(&self) -> Uses {
        let tasks = |names: &[String], any: bool| match any {
            true => OutputsOf::Any,
            false => OutputsOf::Tasks(names.iter().filter_map(|name| TaskId::parse(name).ok()).collect()),
        };
        let previous = self.uses_previous.then(|| tasks(&self.previous, self.any_previous));
        Uses { outputs: tasks(&self.outputs, self.any_output), previous }
    }
}

/// Why a text is not a template, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Compiles templates; holds the engine, which is costly to make.
pub(super) struct Templates {
    engine: Environment<'static>,
    functions: BTreeSet<String>,
    /// Most templates of a large document are alike, and an alias repeats one for three bytes.
    known: BTreeMap<String, Result<Names, Fault>>,
    known_expressions: BTreeMap<String, Result<Names, Fault>>,
}

impl Templates {
    pub(super) fn new() -> Self {
        let engine = Environment::new();
        let functions = engine.globals().map(|(name, _)| name.to_owned()).collect();
        Self { engine, functions, known: BTreeMap::new(), known_expressions: BTreeMap::new() }
    }

    /// The names that `text` uses.
    pub(super) fn names(&mut self, text: &str) -> Result<Names, Fault> {
        if !has_tags(text) {
            return Ok(Names::default());
        }
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let names = self.compile(text);
        self.known.insert(text.to_owned(), names.clone());
        names
    }

    /// The roots of all names that `text` uses, whatever they are; none where that is not certain.
    pub(super) fn roots(&self, text: &str) -> Result<BTreeSet<String>, Fault> {
        if !has_tags(text) {
            return Ok(BTreeSet::new());
        }
        let (paths, makes_names) = self.paths(text)?;
        if makes_names {
            return Ok(BTreeSet::new());
        }
        let roots = paths.into_iter().map(|path| path.split('.').next().unwrap_or_default().to_owned());
        Ok(roots.filter(|root| !self.functions.contains(root)).collect())
    }

    fn compile(&self, text: &str) -> Result<Names, Fault> {
        let (paths, makes_names) = self.paths(text)?;
        let names = self.sorted(text, paths);
        Ok(if makes_names { names.unclear() } else { names })
    }

    /// The names that `text` uses, with their members, and whether it makes names of its own.
    fn paths(&self, text: &str) -> Result<(BTreeSet<String>, bool), Fault> {
        if text.len() > MAX_TAG_BYTES && tag_bytes(text).is_none_or(|bytes| bytes > MAX_TAG_BYTES) {
            return Err(Fault {
                message: "the expressions of this template are too long".to_owned(),
                hint: format!(
                    "keep what is within {{{{ }}}} and {{% %}} below {MAX_TAG_BYTES} bytes in all, and a text as long as this \
                     without {{# comments #}} and without braces or backslashes in expressions"
                ),
            });
        }
        let template = self.engine.template_from_str(text).map_err(|e| {
            let detail = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
            let line = e.line().filter(|_| text.trim_end().contains('\n')).map(|n| format!(" (line {n} of the text)"));
            Fault {
                message: format!("this is not a valid template: {detail}{}", line.unwrap_or_default()),
                hint: "write {{ name }} for a value; for braces as they are, write {{ '{{' }}".to_owned(),
            }
        })?;
        // `set` and macros make names; where they hold is not known without running the template.
        let makes_names = text.contains("{%") && ["set", "macro", "import", "call"].iter().any(|word| text.contains(word));
        Ok((template.undeclared_variables(true).into_iter().collect(), makes_names))
    }

    /// What a task reads of others. Its texts have been compiled before, so this looks them up.
    pub(super) fn uses_of(&mut self, task: &Task) -> Uses {
        let mut uses = Uses::default();
        for text in task.templates() {
            uses.extend(self.names(text).map(|names| names.uses()).unwrap_or_default());
        }
        if let Some(condition) = &task.condition {
            uses.extend(self.names_of_expression(condition).map(|names| names.uses()).unwrap_or_default());
        }
        uses
    }

    /// The names that an expression uses.
    pub(super) fn names_of_expression(&mut self, text: &str) -> Result<Names, Fault> {
        if let Some(known) = self.known_expressions.get(text) {
            return known.clone();
        }
        let names = self.compile_expression(text);
        self.known_expressions.insert(text.to_owned(), names.clone());
        names
    }

    fn compile_expression(&self, text: &str) -> Result<Names, Fault> {
        if text.len() > MAX_TAG_BYTES {
            return Err(Fault {
                message: "the expression is too long".to_owned(),
                hint: format!("keep it below {MAX_TAG_BYTES} bytes; a program can decide more, and say {{\"skip\": \"why\"}}"),
            });
        }
        let expression = self.engine.compile_expression(text).map_err(|e| {
            let detail = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
            Fault {
                message: format!("this is not a valid expression: {detail}"),
                hint: "compare with ==, !=, <, >, `in`, and join with `and`, `or`, `not`; texts are in quotes: params.region == \"eu\""
                    .to_owned(),
            }
        })?;
        Ok(self.sorted(text, expression.undeclared_variables(true)))
    }

    fn sorted(&self, text: &str, paths: impl IntoIterator<Item = String>) -> Names {
        let mut names = Names::default();
        // The engine does not look at what is sliced, `outputs.t.list[1:]`.
        if text.contains('[') && text.contains(':') {
            names.any_output = text.contains("outputs");
            (names.uses_previous, names.any_previous) = (text.contains("previous"), text.contains("previous"));
        }
        for path in paths.into_iter().collect::<BTreeSet<_>>() {
            let parts: Vec<&str> = path.splitn(4, '.').collect();
            match parts[..] {
                ["params", name, ..] => names.params.push(name.to_owned()),
                ["outputs"] => names.any_output = true,
                ["outputs", name, ..] => names.outputs.push(name.to_owned()),
                ["previous"] | ["previous", "outputs"] => names.any_previous = true,
                ["previous", "outputs", name, ..] => names.previous.push(name.to_owned()),
                ["item", ..] => names.item = true,
                ["interval", ..] => names.interval = true,
                [root, ..] if !ROOTS.contains(&root) && !self.functions.contains(root) => names.others.push(root.to_owned()),
                _ => {}
            }
            names.uses_previous |= parts.first() == Some(&"previous");
            for (of, members) in MEMBERS {
                let member = path.strip_prefix(of).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split('.').next());
                if let Some(member) = member.filter(|member| !members.contains(member)) {
                    names.no_members.push((format!("{of}.{member}"), members));
                }
            }
        }
        for list in [&mut names.params, &mut names.outputs, &mut names.previous, &mut names.others] {
            list.dedup();
        }
        names.no_members.dedup();
        names
    }
}

/// Whether a text is more than itself when rendered.
pub(super) fn has_tags(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

/// Bytes within `{{ }}` and `{% %}`. `None` where that cannot be told without the engine's own lexer; wherever a number is
/// returned the engine sees the same tags.
fn tag_bytes(text: &str) -> Option<usize> {
    let mut total = 0;
    let mut rest = text;
    while let Some(open) = delimiter(rest, &["{{", "{%", "{#"]) {
        let close = match &rest[open..open + 2] {
            "{{" => "}}",
            "{%" => "%}",
            _ => return None,
        };
        let body = &rest[open + 2..];
        let Some(end) = delimiter(body, &["{{", "{%", "{#", "}}", "%}"]) else { return Some(total + body.len()) };
        if &body[end..end + 2] != close || !is_closed(&body[..end]) {
            return None;
        }
        total += end;
        rest = &body[end + 2..];
    }
    Some(total)
}

fn delimiter(text: &str, delimiters: &[&str]) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| delimiters.iter().any(|d| d.as_bytes() == pair))
}

/// Whether all quotes and brackets of a tag are closed where it ends.
fn is_closed(tag: &str) -> bool {
    let mut quote = None;
    let mut depth = 0_i32;
    for c in tag.bytes() {
        match (quote, c) {
            (_, b'\\' | b'{' | b'}') => return false,
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(c),
            (None, b'(' | b'[') => depth += 1,
            (None, b')' | b']') => depth -= 1,
            _ => {}
        }
    }
    quote.is_none() && depth == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_found_where_they_are_certain() {
        let mut templates = Templates::new();
        let names = templates.names("{{ params.region }}/{{ outputs.extract.path }} {{ run.id }} {{ regoin }} {{ range(3) }}").unwrap();
        assert_eq!(names.params, ["region"]);
        assert_eq!(names.outputs, ["extract"]);
        assert_eq!(names.others, ["regoin"]);
        let names = templates.names("{{ previous.outputs.a.x }} {{ previous.interval.begin }} {{ item.id }} {{ interval.end }}").unwrap();
        assert_eq!((names.previous.as_slice(), names.item), (&["a".to_owned()][..], true));
        assert_eq!(names.no_members, [("previous.interval.begin".to_owned(), INTERVAL)]);
        let names = templates.names_of_expression("outputs.a.n > 3 and item in params.list and x").unwrap();
        assert_eq!((names.outputs, names.params, names.item), (vec!["a".to_owned()], vec!["list".to_owned()], true));
        assert_eq!(names.others, ["x"]);
        for quiet in [
            "plain { text } with } braces",
            "{{ params['x'] }}",
            "{% for x in params.list %}{{ x }}{{ loop.index }}{% endfor %}".replace("params.list", "run").as_str(),
            "{% set params = {} %}{{ params.x }}",
            "{# {{ nothing #}",
        ] {
            assert_eq!(templates.names(quiet).unwrap(), Names::default(), "{quiet}");
        }
    }

    #[test]
    fn what_the_analysis_cannot_tell_may_be_any_task() {
        let mut templates = Templates::new();
        let mut uses = |text: &str| templates.names(text).unwrap().uses();
        let these = |names: &[&str]| OutputsOf::Tasks(names.iter().map(|name| TaskId::parse(name).unwrap()).collect());
        let outputs = |outputs| Uses { outputs, previous: None };
        assert_eq!(uses("{{ params.outputs }} previous {{ run.id }}"), Uses::default());
        assert_eq!(uses("{{ outputs.a.x }}{{ outputs.b }}"), outputs(these(&["a", "b"])));
        for any in [
            "{{ outputs[params.t].x }}",
            "{{ outputs['a'].x }}",
            "{{ outputs | length }}",
            "{{ outputs.a.list[1:] }}",
            "{% set o = outputs %}{{ o.a }}",
            "{% set x = outputs.a.x %}{{ x }}",
        ] {
            assert_eq!(uses(any), outputs(OutputsOf::Any), "{any}");
        }
        let previous = |of| Uses { outputs: these(&[]), previous: Some(of) };
        assert_eq!(uses("{{ previous.outputs.a.x | default(0) }}"), previous(these(&["a"])));
        assert_eq!(uses("{{ previous.interval.end }}"), previous(these(&[])));
        for any in ["{{ previous.outputs[item].x }}", "{{ previous['outputs'].a.x }}", "{% set p = previous %}{{ p.outputs.a.x }}"] {
            assert_eq!(uses(any), previous(OutputsOf::Any), "{any}");
        }
    }

    #[test]
    fn bytes_within_tags_are_counted_or_the_text_is_refused() {
        assert_eq!(tag_bytes("a {{ b }} c {% if d %} e {% endif %}"), Some(3 + 6 + 7));
        assert_eq!(tag_bytes("{{ \"x\" }}"), Some(5));
        assert_eq!(tag_bytes("{{ a ---------"), Some(12));
        for unclear in ["{{ \"}} ----- {{\" }}", "{{ ( }} -----", "{{ a %}", "{# {{ #}", "{{ {} }}", "{{ '\\'' }}"] {
            assert_eq!(tag_bytes(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn templates_that_would_overflow_the_stack_are_refused() {
        let mut templates = Templates::new();
        let minus = "-".repeat(100_000);
        let elif = "{% elif x %}".repeat(10_000);
        let hidden = "{{ \"}} {{ \" ".to_owned() + &"-\"}} {{\"".repeat(20_000);
        for text in [format!("{{{{ {minus}x }}}}"), format!("{{% if x %}}{elif}{{% endif %}}"), hidden] {
            assert!(templates.names(&text).unwrap_err().message.contains("too long"));
        }
        let longest = format!("{{{{ {}1 }}}}", "-".repeat(MAX_TAG_BYTES - 8));
        assert!(templates.names(&longest).is_ok());
        let prose = "select a, b from c where d = {{ params.e }};\n".repeat(50);
        assert_eq!(templates.names(&prose).unwrap().params, ["e"]);
    }
}
