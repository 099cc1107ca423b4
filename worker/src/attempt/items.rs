//! What a program writes to the file `$PENSTOCK_ITEMS`: JSON lines, an item each, for a mapped task below.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use penstock_common::limits::MAX_ITEMS_BYTES;
use penstock_common::{Items, Reason, items};

use super::judge::Verdict;
use super::mask::Masks;

/// Reads the file of a program that has ended; `None` if it wrote none. Blocks, though never for a pipe in the file's place; a link
/// is not followed.
///
/// What is no JSON is FAILED(task): the same program would write the same again. Too much is FAILED(output_too_large).
pub(crate) fn read(path: &Path, masks: &Masks) -> Result<Option<Arc<Items>>, Verdict> {
    let Some((bytes, found)) = bytes(path).map_err(|error| failed(Reason::Task, &error))? else { return Ok(None) };
    if bytes.len() > MAX_ITEMS_BYTES {
        let found = usize::try_from(found).unwrap_or(usize::MAX);
        return Err(failed(Reason::OutputTooLarge, &items::Error::TooLarge { found }));
    }
    let text = String::from_utf8(bytes).map_err(|error| failed(Reason::Task, &format!("it is not UTF-8: {error}")))?;
    let items = Items::parse(&text).and_then(|items| masked(items, masks));
    let items = items.map_err(|error| {
        let reason = if matches!(error, items::Error::NotJson { .. } | items::Error::Inexact { .. }) {
            Reason::Task
        } else {
            Reason::OutputTooLarge
        };
        failed(reason, &error)
    })?;
    Ok(Some(Arc::new(items)))
}

fn failed(reason: Reason, why: &dyn std::fmt::Display) -> Verdict {
    Verdict::failed(reason, &format!("the items file ($PENSTOCK_ITEMS): {why}"))
}

/// The bytes, at most one more than the limit, and how many the file has.
fn bytes(path: &Path) -> io::Result<Option<(Vec<u8>, u64)>> {
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file any more"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_ITEMS_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some((bytes, found.len())))
}

fn masked(items: Items, masks: &Masks) -> Result<Items, items::Error> {
    if masks.is_empty() {
        return Ok(items);
    }
    let one = |item: &Arc<str>| match serde_json::from_str(item) {
        Ok(value) => Arc::from(masks.value(value).to_string()),
        Err(_) => item.clone(), // it was parsed a moment ago
    };
    Items::new((0..).map_while(|number| items.get(number)).map(one).collect())
}
