//! What a worker starts as a process: `run` and `shell`; and `noop`.

use super::super::fields::Reader;
use super::super::found::cut;
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, resolve};

pub(in super::super) fn argv(r: &mut Reader, node: &Node<'_>) -> Option<Vec<String>> {
    if let Kind::Scalar { text, plain, .. } = node.kind()
        && !(*plain && resolve(text) == Core::Null)
    {
        let words: Vec<&str> = text.split_whitespace().collect();
        let hint = format!("write run: [{}], or shell: for a command line", cut(&words.join(", ")));
        r.mismatch(node, "a list of a program and its arguments", hint);
        return None;
    }
    let argv = r.texts(node, "write the program and its arguments: [python3, extract.py]")?;
    if let (Some(""), Kind::Sequence(items)) = (argv.first().map(String::as_str), node.kind()) {
        let at = items.first().map_or(node.at, |first| first.at);
        r.refuse(at, "names no program", "the first item is the program");
        return None;
    }
    Some(argv)
}

pub(in super::super) fn script(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let hint = "pass values as environment variables: `env: {X: \"{{ … }}\"}`, then \"$X\" in the script";
    let text = r.verbatim(node, "what it renders would be run as code", hint)?;
    if text.trim().is_empty() {
        r.refuse(node.at, "is an empty script", "write commands for `sh -eu`, or `noop: true`");
        return None;
    }
    Some(text)
}

pub(in super::super) fn noop(r: &mut Reader, node: &Node<'_>) -> bool {
    match node.kind() {
        Kind::Scalar { text, plain: true, .. } if resolve(text) == Core::Bool(true) => true,
        _ => {
            r.mismatch(node, "true", "write `noop: true`, or remove the key");
            false
        }
    }
}
