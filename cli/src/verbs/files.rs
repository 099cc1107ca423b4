//! Which files are pipelines: those that are named, and in folders those that say so. What is meant to be one and is none must not be
//! taken for another file where what is missing is unregistered.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use penstock_common::PipelineName;
use penstock_common::pipeline::{Likeness, likeness};

use crate::load;

/// Folders below one another at most.
const DEEPEST: usize = 32;

/// A definition that is in order.
pub(super) struct Found {
    pub(super) file: String,
    pub(super) document: String,
    pub(super) name: PipelineName,
}

/// The pipelines of these paths; `None` where something is wrong, which is told. `whole`: what is in a folder and may be meant as a
/// pipeline is wrong as well, since what is not found is taken off.
pub(super) fn find(paths: &[PathBuf], whole: bool) -> Option<Vec<Found>> {
    let mut files = Vec::new();
    let mut links = Vec::new();
    for path in paths {
        if let Err(error) = list(path, 0, &mut files, &mut links) {
            eprintln!("penstock: {error:#}");
            return None;
        }
    }
    let mut found: Vec<Found> = Vec::new();
    let mut wrong = false;
    for link in links {
        let (kind, hint) = if whole { ("error", "\n    hint: name that folder itself") } else { ("warning", "") };
        eprintln!("{}: {kind}: it is a link to a folder, and such links are not followed{hint}", link.display());
        wrong |= whole;
    }
    for (path, named) in files {
        let file = path.display().to_string();
        match load(&path) {
            Ok(Ok((document, plan))) => {
                let name = plan.pipeline.name.clone();
                if let Some(other) = found.iter().find(|other| other.name == name) {
                    eprintln!("{file}: error: pipeline {name} is also in {}: keep one of them", other.file);
                    wrong = true;
                }
                found.push(Found { file, document, name });
            }
            Ok(Err(errors)) => match likeness(&std::fs::read_to_string(&path).unwrap_or_default()) {
                // In a folder there may be other files.
                Likeness::None if !named => eprintln!("{file}: passed over, it has no `pipeline`"),
                Likeness::Near(why) if !named && !whole => {
                    eprintln!("{file}: warning: passed over, it has no `pipeline`, but {why}: is it meant to be one?");
                }
                Likeness::Near(why) if !named => {
                    eprintln!("{file}: error: it has no `pipeline`, but {why}, and what is not among the files is unregistered");
                    eprintln!("    hint: mend it, or move it out of the folder if it is no pipeline\n{errors}");
                    wrong = true;
                }
                _ => {
                    eprintln!("{errors}");
                    wrong = true;
                }
            },
            Err(error) => {
                eprintln!("penstock: {error:#}");
                wrong = true;
            }
        }
    }
    (!wrong).then_some(found)
}

/// The files that a path names: itself, or those below it, sorted. True: it was named itself. Links to files are followed, those to
/// folders, which may go in circles, are returned.
fn list(path: &Path, depth: usize, files: &mut Vec<(PathBuf, bool)>, links: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push((path.to_owned(), true));
        return Ok(());
    }
    if depth > DEEPEST {
        anyhow::bail!("{}: folders are more than {DEEPEST} deep", path.display());
    }
    let read = std::fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))?;
    let mut entries: Vec<PathBuf> = read.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.is_dir() {
            if entry.is_symlink() {
                links.push(entry);
            } else {
                list(&entry, depth + 1, files, links)?;
            }
        } else if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
            files.push((entry, false));
        }
    }
    Ok(())
}
