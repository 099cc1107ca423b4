//! One trigger: its looks, and how what they found is told.

use std::time::Duration;

use penstock_scheduler::{Input, Rejection};

use super::Key;
use super::place::Place;
use super::settling::{Findings, Known, Settling};
use crate::clock::Clock;
use crate::handle::{Handle, Refusal};

/// What one input holds at most: it yields an event for each, within an input's share of an entry.
pub(crate) const FILES_PER_INPUT: usize = 256;
const BYTES_PER_INPUT: usize = 96 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// When the next look is due, by the clock's uptime.
    pub(crate) next: Duration,
    pub(crate) trouble: Option<String>,
    place: Option<(String, Result<Place, String>)>,
    settling: Settling,
    /// As state has it: only what is told from here changes it.
    known: Option<Known>,
}

impl Watched {
    /// Looks once, and tells what it means.
    pub(crate) async fn look(&mut self, key: &Key, handle: &Handle, clock: &dyn Clock) {
        let counted = self.known.as_ref().map(Known::len);
        let (pipeline, trigger) = key.clone();
        let asked = handle.read(move |scheduler, _| {
            let spec = scheduler.file_trigger(&pipeline, &trigger)?;
            let known = (spec.known != counted).then(|| scheduler.known_files(&pipeline, &trigger));
            Some((spec, known))
        });
        // Overloaded, the term is over, or it was paused since: another turn comes.
        let Ok(Some((spec, known))) = asked.await else { return };
        if let Some(known) = known {
            self.known = Some(known);
        }
        let place = match &self.place {
            Some((path, place)) if *path == spec.path => place,
            _ => &self.place.insert((spec.path.clone(), Place::parse(&spec.path))).1,
        };
        let place = match place {
            Ok(place) => place,
            Err(why) => {
                self.trouble = Some(why.clone());
                self.next = clock.uptime() + spec.every.std();
                return;
            }
        };
        let looked = place.look().await;
        let now = clock.uptime();
        self.next = now + spec.every.std();
        self.trouble = looked.trouble.clone();
        let known = self.known.get_or_insert_default();
        if (spec.known.is_none() || spec.is_noting) && !spec.existing {
            if looked.is_whole || looked.is_nowhere {
                let findings = Findings { found: looked.files, gone: Vec::new() };
                self.tell(key, handle, findings, true).await;
            }
            return;
        }
        let findings = self.settling.next(looked, known, spec.settle.std(), now);
        self.tell(key, handle, findings, false).await;
    }

    /// What could not be told is found again at the next look. `all`: this is all that is there, of which none starts a run.
    async fn tell(&mut self, key: &Key, handle: &Handle, findings: Findings, all: bool) {
        let parts = parts(findings, all);
        let last = parts.len().saturating_sub(1);
        for (number, Findings { found, gone }) in parts.into_iter().enumerate() {
            let (pipeline, trigger) = key.clone();
            let partial = all && number < last;
            let input = Input::FilesFound { pipeline, trigger, found: found.clone(), gone: gone.clone(), partial };
            match handle.submit(input).await {
                Ok(_) => {
                    let known = self.known.get_or_insert_default();
                    known.extend(found.into_iter().map(|file| (file.path, file.version)));
                    known.retain(|path, _| !gone.contains(path));
                }
                Err(Refusal::Overloaded(_)) => return,
                Err(Refusal::NoSpace(_)) => {
                    self.trouble = Some("the store has no room for new runs: what was found is told again when it has".to_owned());
                    return;
                }
                Err(refusal) => {
                    if let Refusal::Rejected(Rejection::Overloaded { limit, .. }) = refusal {
                        self.trouble =
                            Some(format!("there is no room for what was found (the limit is {limit}): it is told again at the next look"));
                    }
                    // Whether it is state now is not known, or the trigger is another.
                    self.known = None;
                    return;
                }
            }
        }
    }
}

/// Divides what a look means into inputs.
pub(crate) fn parts(findings: Findings, all: bool) -> Vec<Findings> {
    let mut parts: Vec<Findings> = Vec::new();
    let (mut files, mut bytes) = (FILES_PER_INPUT, 0);
    let mut part = |parts: &mut Vec<Findings>, path: &str| {
        // An event of a file holds its path three times, and some words.
        let more = 500 + 3 * path.len();
        (files, bytes) = (files + 1, bytes + more);
        if files > FILES_PER_INPUT || bytes > BYTES_PER_INPUT {
            parts.push(Findings::default());
            (files, bytes) = (1, more);
        }
    };
    for path in findings.gone {
        part(&mut parts, &path);
        parts.last_mut().into_iter().for_each(|last| last.gone.push(path.clone()));
    }
    for file in findings.found {
        part(&mut parts, &file.path);
        parts.last_mut().into_iter().for_each(|last| last.found.push(file.clone()));
    }
    if all && parts.is_empty() {
        parts.push(Findings::default());
    }
    parts
}
