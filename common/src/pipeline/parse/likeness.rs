//! Whether a text is meant to be a pipeline, for those that look for pipelines among other files.

use super::found::{Found, cut};
use super::node::{self, Kind};
use crate::suggest;

/// How much a text is like a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Likeness {
    /// It has the key `pipeline`.
    Is,
    /// It has not, but something else speaks for it, which is said, as `it has tasks`.
    Near(String),
    /// It is another file.
    None,
}

/// Looks at the keys of the text, also of one that is no YAML.
pub fn likeness(text: &str) -> Likeness {
    let (keys, readable) = keys(text);
    if keys.iter().any(|key| key == "pipeline") {
        return Likeness::Is;
    }
    let slip = keys.iter().find(|key| suggest::closest(key, ["pipeline"], &mut 100).is_some());
    match slip {
        Some(slip) => Likeness::Near(format!("it has `{}`", cut(slip))),
        None if keys.iter().any(|key| key == "tasks") => Likeness::Near("it has `tasks`".to_owned()),
        None if !readable => Likeness::Near("nothing in it can be read".to_owned()),
        None => Likeness::None,
    }
}

/// The keys at the top, and whether the text could be read; of one that cannot all that may be a key.
fn keys(text: &str) -> (Vec<String>, bool) {
    if let Some(root) = node::read(text, &mut Found::new()) {
        let entries = match root.kind() {
            Kind::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        return (entries.iter().map(|entry| entry.key.clone().into_owned()).collect(), true);
    }
    let bare = |word: &str| word.trim().trim_start_matches(['{', ',']).trim().trim_matches(['"', '\'']).to_owned();
    let starts = text.lines().filter(|line| !line.starts_with([' ', '\t', '#'])).filter_map(|line| line.split_once(':'));
    let quoted = text.match_indices("\":").filter_map(|(end, _)| Some(&text[text[..end].rfind('"')?..end]));
    (starts.map(|(key, _)| bare(key)).chain(quoted.map(bare)).collect(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_the_name_of_the_key_is_near_and_other_files_are_not() {
        for text in ["pipeline: p\ntasks: {}\n", "{\"pipeline\": \"p\"}", "pipeline: p\n  broken: [\n", "{\"pipeline\": \"p\", ]"] {
            assert_eq!(likeness(text), Likeness::Is, "{text}");
        }
        for text in ["pipline: p\ntasks: {}\n", "Pipeline: p\n", "pipelines: p\n", "{\"piplein\": 1}", "pipelin: [\n", "{\"pipelnie\": [}"]
        {
            assert!(matches!(likeness(text), Likeness::Near(why) if why.contains("it has `")), "{text}");
        }
        assert_eq!(likeness("name: x\ntasks: {a: {noop: true}}\n"), Likeness::Near("it has `tasks`".to_owned()));
        // An emptied file and a broken one may have been a pipeline.
        for text in ["", "# pipeline: p\n", "x: [\n", "\u{0}"] {
            assert!(matches!(likeness(text), Likeness::Near(why) if why.contains("read")), "{text}");
        }
        for text in ["replicas: 3\n", "- a\n- b\n", "name: x\njobs:\n  tasks: 1\n"] {
            assert_eq!(likeness(text), Likeness::None, "{text}");
        }
    }
}
