//! What can be known of a template without rendering it: whether it compiles, and which names it uses.
//!
//! Only what is certain is an error: names behind a subscript (`params["x"]`), names a template sets itself, filters and
//! keys of outputs are left to the rendering.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Environment;

/// Bytes that `{{ … }}` and `{% … %}` of one text may hold together. The engine's compiler recurses once for each
/// operator, at worst once a byte, and has no limit of its own: 4 KiB of minus signs take 1 MiB of stack.
const MAX_TAG_BYTES: usize = 2 * 1024;

/// The roots of all names in templates.
pub(super) const ROOTS: [&str; 5] = ["params", "run", "interval", "task", "outputs"];
/// Roots that a later version has.
pub(super) const LATER_ROOTS: [&str; 2] = ["item", "previous"];

/// The names a template uses, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// X of `params.X`.
    pub(super) params: Vec<String>,
    /// T of `outputs.T`.
    pub(super) outputs: Vec<String>,
    /// Roots that are none of [`ROOTS`] and no function of the engine.
    pub(super) others: Vec<String>,
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
}

impl Templates {
    pub(super) fn new() -> Self {
        let engine = Environment::new();
        let functions = engine.globals().map(|(name, _)| name.to_owned()).collect();
        Self { engine, functions, known: BTreeMap::new() }
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

    fn compile(&self, text: &str) -> Result<Names, Fault> {
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
        let mut names = Names::default();
        // `set` and macros make names; where they hold is not known without running the template.
        if text.contains("{%") && ["set", "macro", "import", "call"].iter().any(|word| text.contains(word)) {
            return Ok(names);
        }
        for path in template.undeclared_variables(true).into_iter().collect::<BTreeSet<_>>() {
            let mut parts = path.split('.');
            match (parts.next().unwrap_or_default(), parts.next()) {
                ("params", Some(name)) => names.params.push(name.to_owned()),
                ("outputs", Some(name)) => names.outputs.push(name.to_owned()),
                (root, _) if ROOTS.contains(&root) || self.functions.contains(root) => {}
                (root, _) => names.others.push(root.to_owned()),
            }
        }
        for list in [&mut names.params, &mut names.outputs, &mut names.others] {
            list.dedup();
        }
        Ok(names)
    }
}

/// Whether a text is more than itself when rendered.
fn has_tags(text: &str) -> bool {
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
