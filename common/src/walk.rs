//! Looks for the files that a pattern means: a walk over its segments, directory by directory. Blocks.
//!
//! ```text
//!  /in/2024/*/[ab]?.csv     a name is taken as it is, a wildcard is held against each name of its directory
//!  /in/**/x.csv             `**` is any number of directories, each searched once, wherever links lead
//! ```
//!
//! Not which patterns a trigger may have ([`super::pattern`]), and not what is done with a file.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glob::Pattern;

use crate::pattern::LIKE_A_SHELL;

/// Why something below a pattern's directories was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// A directory, or what a name leads to.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It can be named neither in a record nor to a program that takes text; of the rest, all is seen.
    #[error("the name of {} is not UTF-8, so it is passed over: rename it", .0.display())]
    NotUtf8(PathBuf),
}

/// Stops the thread that walks when it is dropped, as with the future that waits for it.
#[derive(Debug, Default)]
pub struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    /// What the walk is given.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The paths that a pattern means, in the order of their names, directory by directory; files and directories alike.
#[derive(Debug)]
pub struct Walk<'a> {
    segments: Vec<Segment>,
    /// What comes next is the last.
    todo: Vec<Todo>,
    /// Directories that a `**` has searched: file system, number, and which `**`.
    searched: BTreeSet<(u64, u64, usize)>,
    stopped: &'a AtomicBool,
}

#[derive(Debug)]
enum Segment {
    Name(String),
    Wildcard(Pattern),
    /// `**`
    Deep,
}

#[derive(Debug)]
enum Todo {
    /// Look in this directory for what the segment of this number means.
    Look(PathBuf, usize),
    Tell(Result<PathBuf, Unseen>),
}

impl<'a> Walk<'a> {
    /// Of an absolute pattern. It ends early once it is stopped. What is wrong with a pattern is said in words that follow its text.
    pub fn new(pattern: &str, stopped: &'a AtomicBool) -> Result<Self, String> {
        let Some(pattern) = pattern.strip_prefix('/') else { return Err("does not begin with a slash".to_owned()) };
        let mut segments: Vec<Segment> = pattern.split('/').map(segment).collect::<Result<_, _>>()?;
        segments.dedup_by(|a, b| matches!((a, b), (Segment::Deep, Segment::Deep)));
        Ok(Self { segments, todo: vec![Todo::Look(PathBuf::from("/"), 0)], searched: BTreeSet::new(), stopped })
    }

    fn look(&mut self, directory: &Path, index: usize) {
        let from = self.todo.len();
        match &self.segments[index] {
            Segment::Name(name) => {
                let path = directory.join(name);
                match fs::symlink_metadata(&path) {
                    Ok(_) => self.go_on(path, index),
                    Err(error) => self.unreadable(path, error),
                }
            }
            Segment::Wildcard(_) => self.children(directory, index, None),
            Segment::Deep => match fs::metadata(directory) {
                Ok(found) if !self.searched.insert((found.dev(), found.ino(), index)) => {}
                Ok(_) => self.children(directory, index + 1, Some(index)),
                Err(error) => self.unreadable(directory.to_owned(), error),
            },
        }
        self.todo[from..].reverse();
    }

    /// What a directory's names come to: each that the segment means, and each directory in which a `**` goes on.
    fn children(&mut self, directory: &Path, index: usize, deep: Option<usize>) {
        let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let mut children = match listed {
            Ok(children) => children,
            Err(error) => return self.unreadable(directory.to_owned(), error),
        };
        children.sort_by_key(DirEntry::file_name);
        for child in children {
            let (path, name) = (child.path(), child.file_name());
            let known = name.to_str();
            // One that is not UTF-8 is matched as it is shown, so that only what would have been meant is told.
            let name = name.to_string_lossy();
            let is_meant = self.segments.get(index).is_some_and(|segment| segment.means(&name))
                && (index + 1 == self.segments.len() || leads_on(&child));
            let goes_on = deep.filter(|_| !name.starts_with('.') && leads_on(&child));
            if known.is_none() {
                if is_meant || goes_on.is_some() {
                    self.todo.push(Todo::Tell(Err(Unseen::NotUtf8(path))));
                }
                continue;
            }
            if is_meant {
                self.go_on(path.clone(), index);
            }
            if let Some(deep) = goes_on {
                self.todo.push(Todo::Look(path, deep));
            }
        }
    }

    /// A path was found for the segments so far.
    fn go_on(&mut self, path: PathBuf, index: usize) {
        let last = index + 1 == self.segments.len();
        self.todo.push(if last { Todo::Tell(Ok(path)) } else { Todo::Look(path, index + 1) });
    }

    /// What is not there is not meant.
    fn unreadable(&mut self, path: PathBuf, error: io::Error) {
        if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            self.todo.push(Todo::Tell(Err(Unseen::Unreadable { path, error })));
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<PathBuf, Unseen>;
    fn next(&mut self) -> Option<Self::Item> {
        while !self.stopped.load(Ordering::Relaxed) {
            match self.todo.pop()? {
                Todo::Look(directory, index) => self.look(&directory, index),
                Todo::Tell(found) => return Some(found),
            }
        }
        None
    }
}

impl Segment {
    fn means(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Wildcard(pattern) => pattern.matches_with(name, LIKE_A_SHELL),
            Self::Deep => false,
        }
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    let pattern = Pattern::new(text).map_err(|error| format!("is no pattern: {error}"))?;
    Ok(match plain(text) {
        Some(name) => Segment::Name(name),
        None if text == "**" => Segment::Deep,
        None => Segment::Wildcard(pattern),
    })
}

/// The one name that a segment means; `[*]`, `[?]`, `[[]` and `[]]` are how those are written.
fn plain(mut text: &str) -> Option<String> {
    let mut name = String::new();
    while let Some(first) = text.chars().next() {
        let escaped = ["[*]", "[?]", "[[]", "[]]"].iter().find_map(|escaped| Some((&escaped[1..2], text.strip_prefix(escaped)?)));
        match (escaped, first) {
            (Some((meant, rest)), _) => {
                name.push_str(meant);
                text = rest;
            }
            (None, '*' | '?' | '[') => return None,
            (None, _) => {
                name.push(first);
                text = &text[first.len_utf8()..];
            }
        }
    }
    Some(name)
}

/// Whether it is a directory, or a link to one.
fn leads_on(child: &DirEntry) -> bool {
    match child.file_type() {
        Ok(kind) if kind.is_symlink() => fs::metadata(child.path()).is_ok_and(|found| found.is_dir()),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(files: &[&[u8]]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(OsStr::from_bytes(file));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    /// What is found, below the directory; what is not seen in words.
    fn walk(dir: &tempfile::TempDir, pattern: &str) -> Vec<String> {
        let root = format!("{}/", dir.path().display());
        let pattern = format!("{root}{pattern}");
        let running = AtomicBool::new(false);
        let found = Walk::new(&pattern, &running).unwrap();
        found.map(|found| found.map_or_else(|why| why.to_string(), |path| path.to_str().unwrap().to_owned()).replace(&root, "")).collect()
    }

    #[test]
    fn names_and_wildcards_are_found_in_the_order_of_names() {
        let dir = tree(&[b"b/2.csv", b"b/1.csv", b"a/1.csv", b"a/.1.csv", b"a/b/1.csv", b"c.csv", b".d/1.csv", b"x[1]*"]);
        assert_eq!(walk(&dir, "*/*.csv"), ["a/1.csv", "b/1.csv", "b/2.csv"]);
        assert_eq!(walk(&dir, "[!a]/?.csv"), ["b/1.csv", "b/2.csv"]);
        assert_eq!(walk(&dir, "a/1.csv"), ["a/1.csv"]);
        assert_eq!(walk(&dir, "*/1.csv"), ["a/1.csv", "b/1.csv"]);
        assert_eq!(walk(&dir, "a//./b/*"), ["a/./b/1.csv"]);
        assert_eq!(walk(&dir, "x[[]1[]][*]"), ["x[1]*"]);
        assert_eq!(walk(&dir, ".d/*"), [".d/1.csv"]);
        for nothing in ["c.csv/*", "c.csv/", "none/*.csv", "a/2.csv", "*/*.txt"] {
            assert_eq!(walk(&dir, nothing), [""; 0], "{nothing}");
        }
        assert!(Walk::new("/in/[a", &AtomicBool::new(false)).unwrap_err().contains("no pattern"));
        assert!(Walk::new("in/a", &AtomicBool::new(false)).is_err());
    }

    #[test]
    fn any_number_of_directories_are_searched_and_hidden_ones_are_not() {
        let dir = tree(&[b"x.csv", b"a/x.csv", b"a/b/x.csv", b"a/b/y.csv", b".c/x.csv", b"z/y.csv"]);
        assert_eq!(walk(&dir, "**/x.csv"), ["a/b/x.csv", "a/x.csv", "x.csv"]);
        assert_eq!(walk(&dir, "**/**/y.*"), ["a/b/y.csv", "z/y.csv"]);
        assert_eq!(walk(&dir, "a/**/b/*"), ["a/b/x.csv", "a/b/y.csv"]);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_told_where_it_would_be_meant_and_hides_no_other() {
        let dir = tree(&[b"a.csv", b"m\xff.csv", b"n\xff.txt", b"z.csv", b"d\xff/1.csv", b"e/1.csv"]);
        let told = "the name of m\u{fffd}.csv is not UTF-8, so it is passed over: rename it";
        assert_eq!(walk(&dir, "*.csv"), ["a.csv", told, "z.csv"]);
        assert_eq!(walk(&dir, "*/1.csv"), ["the name of d\u{fffd} is not UTF-8, so it is passed over: rename it", "e/1.csv"]);
        assert_eq!(walk(&dir, "**/1.csv")[1..], ["e/1.csv"]);
    }

    #[test]
    fn links_are_followed_and_where_they_lead_in_a_circle_the_walk_ends() {
        let dir = tree(&[b"a/x.csv", b"b/x.csv"]);
        symlink("../b", dir.path().join("a/to_b")).unwrap();
        symlink("../a", dir.path().join("b/to_a")).unwrap();
        symlink(".", dir.path().join("here")).unwrap();
        symlink("itself", dir.path().join("itself")).unwrap();
        symlink("gone", dir.path().join("dangling")).unwrap();
        assert_eq!(walk(&dir, "a/*/x.csv"), ["a/to_b/x.csv"]);
        assert_eq!(walk(&dir, "**/x.csv"), ["a/to_b/x.csv", "a/x.csv"], "each directory once");
        assert_eq!(walk(&dir, "*/x.csv"), ["a/x.csv", "b/x.csv"]);
        let told = walk(&dir, "itself/*");
        assert!(told.len() == 1 && told[0].starts_with("itself cannot be read: "), "{told:?}");
    }

    #[test]
    fn a_walk_that_is_stopped_ends() {
        let (stop, dir) = (StopOnDrop::default(), tree(&[b"a", b"b"]));
        let (flag, pattern) = (stop.flag(), format!("{}/*", dir.path().display()));
        let mut walk = Walk::new(&pattern, &flag).unwrap();
        assert!(walk.next().is_some());
        drop(stop);
        assert!(walk.next().is_none());
    }
}
