//! One field of a cron expression: lists, ranges, steps and names become a set of numbers, as in Vixie's `get_list`.
//!
//! What other dialects write there (`L`, `W`, `#`, `?`, `H`, `~`) is refused with what to write instead.

use std::ops::Range;

use super::problem::{Problem, shown};

/// Which of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// As messages name it.
    pub(super) name: &'static str,
    pub(super) min: u32,
    /// Of what may be written: 7 for the day of week, where it is a second name of Sunday.
    pub(super) max: u32,
    /// The largest number that a hint writes: 6 for the day of week.
    last: u32,
    /// Three letters each; the first one is `min`.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Kind = Kind { name: "minute", min: 0, max: 59, last: 59, names: &[] };
pub(super) const HOUR: Kind = Kind { name: "hour", min: 0, max: 23, last: 23, names: &[] };
pub(super) const DAY: Kind = Kind { name: "day of month", min: 1, max: 31, last: 31, names: &[] };
pub(super) const MONTH: Kind = Kind {
    name: "month",
    min: 1,
    max: 12,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(super) const WEEKDAY: Kind =
    Kind { name: "day of week", min: 0, max: 7, last: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// What a field allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit n: n is allowed. Sunday is 0 only.
    pub(super) allowed: u64,
    /// It begins with `*`: Vixie's `DOM_STAR` and `DOW_STAR`.
    pub(super) star: bool,
    /// Where it stands in the expression.
    pub(super) at: Range<usize>,
}

impl Kind {
    /// Every number that the field can allow.
    pub(super) fn all(&self) -> u64 {
        (self.min..=self.last).fold(0, |set, n| set | 1 << n)
    }

    /// Reads a field that begins at byte `from` of its expression.
    pub(super) fn read(&self, text: &str, from: usize) -> Result<Field, Problem> {
        let mut allowed = 0;
        let mut at = from;
        for item in text.split(',') {
            if item.is_empty() {
                // The comma is what is too much: the one before, or the one that begins the field.
                let comma = at.saturating_sub(1).max(from);
                let message = format!("the {} {} has an empty place in its list", self.name, shown(text));
                return Err(Problem::new(comma..comma + 1, message, "write numbers with one comma between two of them, such as 1,15"));
            }
            allowed |= self.item(item).map_err(|problem| problem.shifted(at))?;
            at += item.len() + 1;
        }
        if self.max > self.last && allowed & 1 << self.max != 0 {
            allowed = (allowed | 1) & !(1 << self.max);
        }
        Ok(Field { allowed, star: text.starts_with('*'), at: from..from + text.len() })
    }

    /// `*`, `*/n`, `a`, `a-b` or `a-b/n`. Positions are within the item.
    fn item(&self, item: &str) -> Result<u64, Problem> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(self.step(step).map_err(|problem| problem.shifted(base.len() + 1))?)),
            None => (item, None),
        };
        let (from, to) = match base.split_once('-') {
            _ if base == "*" => (self.min, self.max),
            Some((a, b)) if !a.is_empty() => {
                let from = self.value(a, item)?;
                let to = self.value(b, item).map_err(|problem| problem.shifted(a.len() + 1))?;
                if from > to {
                    return Err(self.backwards(base, from, to));
                }
                (from, to)
            }
            _ => {
                let value = self.value(base, item)?;
                if let Some(step) = step {
                    let message = format!("a step needs a range, not the single {} {}", self.name, shown(base));
                    let hint = format!("write {value}-{}/{step}, or */{step} to begin at {}", self.last, self.min);
                    return Err(Problem::new(0..item.len(), message, hint));
                }
                (value, value)
            }
        };
        let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
        Ok((from..=to).step_by(step).fold(0, |set, n| set | 1 << n))
    }

    fn value(&self, text: &str, item: &str) -> Result<u32, Problem> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let value = text.parse().ok().filter(|n| (self.min..=self.max).contains(n));
            return value.ok_or_else(|| self.refused(text, &format!("is not within {}-{}", self.min, self.max), self.ranges()));
        }
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        if let Some(n) = named.and_then(|n| u32::try_from(n).ok()) {
            return Ok(self.min + n);
        }
        let full = text.get(..3).and_then(|three| self.names.iter().find(|name| name.eq_ignore_ascii_case(three)));
        let hint = match (self.dialect(item), full) {
            (Some(hint), _) => hint,
            (None, Some(name)) if text.bytes().all(|b| b.is_ascii_alphabetic()) => format!("write {name}: names have three letters"),
            _ => self.ranges(),
        };
        Err(self.refused(text, "is not one", hint))
    }

    fn step(&self, text: &str) -> Result<u32, Problem> {
        let count = self.last - self.min + 1;
        let step = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u32>().ok() } else { None };
        match step {
            Some(step) if (1..=count).contains(&step) => Ok(step),
            Some(step) if step > count => {
                let message = format!("a step of {step} is longer than all {count} values of the {}", self.name);
                let hint = match self.name {
                    "minute" => format!("a cron step begins anew with each hour; for a steady period write `every: {step}m`"),
                    "hour" => format!("a cron step begins anew with each day; for a steady period write `every: {step}h`"),
                    _ => format!("write a step of 1 to {count}"),
                };
                Err(Problem::new(0..text.len(), message, hint))
            }
            _ => {
                let message = format!("the step {} of the {} is not a number from 1", shown(text), self.name);
                Err(Problem::new(0..text.len(), message, format!("write */n with n from 1 to {count}")))
            }
        }
    }

    fn backwards(&self, base: &str, from: u32, to: u32) -> Problem {
        let range = |a: u32, b: u32| if a == b { a.to_string() } else { format!("{a}-{b}") };
        let hint = if self.last < self.max && to == self.min {
            format!("write {}: 7 is Sunday as well", range(from, self.max))
        } else {
            format!("write {},{}", range(from, self.last), range(self.min, to))
        };
        Problem::new(0..base.len(), format!("the range {} of the {} runs backwards", shown(base), self.name), hint)
    }

    fn refused(&self, text: &str, why: &str, hint: String) -> Problem {
        Problem::new(0..text.len(), format!("the {} {} {why}", self.name, shown(text)), hint)
    }

    fn ranges(&self) -> String {
        let named = self.names.first().zip(self.names.last());
        let names = named.map(|(first, last)| format!(" or {first}-{last}")).unwrap_or_default();
        let sunday = if self.max > self.last { ", where 0 and 7 are Sunday" } else { "" };
        format!("write numbers {}-{}{names}{sunday}, lists 1,3, ranges 1-5, steps */2", self.min, self.max)
    }

    /// What to write in place of what Quartz, Jenkins and others have beyond Unix.
    fn dialect(&self, item: &str) -> Option<String> {
        let upper = item.to_ascii_uppercase();
        let bare = upper.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let hint = if upper.contains('?') {
            "write * where any will do".to_owned()
        } else if upper.contains('#') {
            let day = item.split('#').next().unwrap_or("1");
            format!("Unix cron has no nth weekday: write {} and let the first task's `if:` choose the week", shown(day).trim_matches('"'))
        } else if upper.contains('~') || bare.starts_with('H') {
            "nothing is drawn at random: write the number itself".to_owned()
        } else if upper.ends_with('W') {
            "Unix cron has no nearest weekday: write 1-5 as the day of week and let the first task's `if:` choose the day".to_owned()
        } else if bare == "L" && self.name == "day of month" {
            "Unix cron has no last day of the month: `0 0 1 * *` runs as the month ends, for the month that ended".to_owned()
        } else if upper.ends_with('L') {
            "Unix cron has no last weekday of the month: write that weekday and let the first task's `if:` choose the week".to_owned()
        } else {
            return None;
        };
        Some(hint)
    }
}

/// A set as a list that every cron reads, each number `shift` higher: `1-5,10`. A full one is `*`.
pub(super) fn listed(allowed: u64, all: u64, shift: u32) -> String {
    if allowed == all {
        return "*".to_owned();
    }
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for n in (0..64).filter(|n| allowed & 1 << n != 0) {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == n => *end = n,
            _ => runs.push((n, n)),
        }
    }
    let text = |&(a, b): &(u32, u32)| if a == b { format!("{}", a + shift) } else { format!("{}-{}", a + shift, b + shift) };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}
