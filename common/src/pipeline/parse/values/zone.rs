//! `timezone`.

use super::super::fields::Reader;
use super::super::found::cut;
use super::super::node::Node;
use crate::schedule::tzdb;

/// A name of the IANA database, as it is spelt there.
pub(in super::super) fn timezone(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let name = r.string(node)?;
    // Names are found whatever their case, but a version of a pipeline must not depend on it.
    let found = tzdb().get(&name).ok().and_then(|zone| zone.iana_name().map(str::to_owned));
    if found.as_ref() == Some(&name) {
        return found;
    }
    let hint = match found {
        Some(spelt) => format!("did you mean `{spelt}`?"),
        None => {
            let known: Vec<String> = tzdb().available().map(|name| name.as_str().to_owned()).collect();
            let names = known.iter().map(String::as_str);
            // By its city alone, as in `Paris`, a zone is found as well.
            match names.clone().find(|known| known.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&name))) {
                Some(zone) => format!("did you mean `{zone}`?"),
                None => r.found.did_you_mean(&name, names, || "write a name such as Europe/Paris, America/New_York or UTC".to_owned()),
            }
        }
    };
    r.refuse(node.at, &format!("is not a time zone of the IANA database: \"{}\"", cut(&name)), hint);
    None
}
