//! `container`: an image and its resources.

use super::super::fields::{Reader, describe};
use super::super::found::cut;
use super::super::keys::CONTAINER;
use super::super::node::{Kind, Node};
use super::super::scalar::{Core, resolve};
use super::super::template::has_tags;
use super::short_or_mapping;
use crate::pipeline::{Container, Pull};

/// No size is larger: a PiB.
const MAX_SIZE: u64 = 1 << 50;
const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
/// CPUs of the largest machine, and then some.
const MAX_CPU_MILLIS: u32 = 10_000_000;
/// Of a Kubernetes name: a DNS subdomain, RFC 1123.
const LONGEST_NAME: usize = 253;

pub(in super::super) fn container(r: &mut Reader, node: &Node<'_>) -> Option<Container> {
    let raw = short_or_mapping(r, node, CONTAINER, "image")?;
    Some(Container {
        image: raw.image?,
        command: raw.command,
        args: raw.args,
        cpu_millis: raw.cpu_millis,
        memory_bytes: raw.memory_bytes,
        namespace: raw.namespace,
        service_account: raw.service_account,
        pull: raw.pull.unwrap_or(Pull::Missing),
    })
}

pub(in super::super) fn image(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let text = r.text(node)?;
    if text.is_empty() || !has_tags(&text) && text.contains(char::is_whitespace) {
        r.refuse(node.at, &format!("is not an image: \"{}\"", cut(&text)), "write REGISTRY/NAME:TAG; its arguments are `args`");
        return None;
    }
    Some(text)
}

/// A list of templates; empty where one is wrong.
pub(in super::super) fn words(r: &mut Reader, node: &Node<'_>) -> Vec<String> {
    r.texts(node, "write [one, two], or leave the key out for the image's own").unwrap_or_default()
}

/// CPUs, in thousandths.
pub(in super::super) fn cpu(r: &mut Reader, node: &Node<'_>) -> Option<u32> {
    const EXPECTED: &str = "a number of CPUs";
    const EXAMPLES: &str = "write 2, 0.5 or 500m";
    let Kind::Scalar { text, .. } = node.kind() else {
        r.mismatch(node, EXPECTED, EXAMPLES);
        return None;
    };
    let millis = match text.strip_suffix('m') {
        Some(digits) => whole(digits),
        None => match text.split_once('.') {
            // Thousandths are as exact as it gets.
            Some((cpus, part)) if (1..=3).contains(&part.len()) => {
                whole(cpus).zip(whole(&format!("{part:0<3}"))).and_then(|(cpus, part)| cpus.checked_mul(1_000)?.checked_add(part))
            }
            Some(_) => None,
            None => whole(text).and_then(|cpus| cpus.checked_mul(1_000)),
        },
    };
    match millis.and_then(|millis| u32::try_from(millis).ok()) {
        Some(millis @ 1..=MAX_CPU_MILLIS) => Some(millis),
        Some(_) => {
            r.refuse(node.at, &format!("is out of range: {}", describe(node)), "write at least 1m, or leave the key out for no limit");
            None
        }
        None => {
            r.mismatch(node, EXPECTED, EXAMPLES);
            None
        }
    }
}

/// Bytes, as 512MiB.
pub(in super::super) fn size(r: &mut Reader, node: &Node<'_>) -> Option<u64> {
    const EXPECTED: &str = "a size";
    const EXAMPLES: &str = "write a whole number and a unit: 500KiB, 64MiB, 1GiB or 2TiB";
    let Kind::Scalar { text, .. } = node.kind() else {
        r.mismatch(node, EXPECTED, EXAMPLES);
        return None;
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = whole(number);
    if let Some((number, (_, power))) = number.zip(UNITS.iter().find(|(name, _)| *name == unit)) {
        let bytes = number.checked_mul(1 << power).filter(|bytes| (1..=MAX_SIZE).contains(bytes));
        if bytes.is_none() {
            r.refuse(node.at, &format!("is out of range: {}", describe(node)), "write a size from 1KiB to 1024TiB");
        }
        return bytes;
    }
    // 512M, 512Mi, 512MB, 512 mb: what Kubernetes and others write.
    let near = UNITS.iter().find(|(name, _)| {
        let unit = unit.trim().to_ascii_lowercase();
        let first = name[..1].to_ascii_lowercase();
        [first.clone(), format!("{first}b"), format!("{first}i"), format!("{first}ib")].contains(&unit)
    });
    let hint = match (number, near) {
        (Some(number), Some((name, _))) => format!("{EXAMPLES}; for instance {number}{name}"),
        (Some(number), None) if resolve(text) != Core::Text => match number {
            0..1_048_576 => format!("{EXAMPLES}; if MiB are meant: {number}MiB"),
            _ => format!("{EXAMPLES}; if bytes are meant: {}MiB", number.div_ceil(1 << 20)),
        },
        _ => EXAMPLES.to_owned(),
    };
    r.mismatch(node, EXPECTED, hint);
    None
}

fn whole(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

pub(in super::super) fn kubernetes_name(r: &mut Reader, node: &Node<'_>) -> Option<String> {
    let name = r.string(node)?;
    let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let valid = name.len() <= LONGEST_NAME
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            is_end(bytes.first().copied())
                && is_end(bytes.last().copied())
                && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        });
    if valid {
        return Some(name);
    }
    r.refuse(node.at, &format!("is not a Kubernetes name: \"{}\"", cut(&name)), "use a-z, 0-9 and -, a letter or digit first and last");
    None
}
