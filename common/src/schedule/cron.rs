//! A cron expression: five fields as the crontab manual has them, matched as Vixie's cron matches them.
//!
//! Where the fields differ from other dialects is [`super::field`]'s; finding what matches is [`super::engine`]'s; daylight saving is
//! [`super::clock`]'s.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Sets};
use super::field::{DAY, Field, HOUR, Kind, MINUTE, MONTH, WEEKDAY};
use super::problem::{Problem, shown};

/// Bytes of an expression: all minutes, hours and days as lists take some 330.
const MAX_BYTES: usize = 1_024;
const FIELDS: [Kind; 5] = [MINUTE, HOUR, DAY, MONTH, WEEKDAY];
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const ORDER: &str = "minute, hour, day of month, month, day of week";

/// A checked cron expression that matches at least once. Cheap to clone; equal where the texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron(Arc<Inner>);

struct Inner {
    text: String,
    engine: Engine,
    every_hour: bool,
    warnings: Vec<Problem>,
}

impl Cron {
    /// Reads five fields or a word such as `@daily`. What is wrong is said with its place in `text`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let trimmed = text.trim();
        let from = text.len() - text.trim_start().len();
        let at = from..from + trimmed.len();
        if trimmed.is_empty() {
            return Err(Problem::new(
                0..text.len(),
                "a cron expression is empty",
                format!("write five fields, {ORDER}, such as 0 2 * * *"),
            ));
        }
        if trimmed.len() > MAX_BYTES {
            let message = format!("a cron expression has {} bytes", trimmed.len());
            return Err(Problem::new(at, message, format!("at most {MAX_BYTES}: write ranges and steps, or a list of expressions")));
        }
        let fields = match WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(trimmed)) {
            Some((_, meaning)) => read(words(meaning)).map_err(|problem| Problem { at: at.clone(), ..problem })?,
            None if trimmed.starts_with('@') => return Err(unknown_word(trimmed, at)),
            None => read(split(text)?)?,
        };
        Self::of(trimmed, fields, at)
    }

    fn of(text: &str, fields: [Field; 5], at: Range<usize>) -> Result<Self, Problem> {
        let [minute, hour, day, month, weekday] = &fields;
        let sets = Sets {
            minutes: minute.allowed,
            hours: hour.allowed,
            days: day.allowed,
            months: month.allowed,
            weekdays: weekday.allowed,
            both: day.star || weekday.star,
        };
        let engine = Engine::new(&sets).map_err(|error| {
            Problem::new(at.clone(), format!("the expression {} is beyond the engine: {error}", shown(text)), "please report it")
        })?;
        let Some(engine) = engine else {
            let days = day.at.start..month.at.end.max(day.at.end);
            let message = format!("the cron expression {} never fires: no month it names has such a day", shown(text));
            let hint = "February has at most 29 days; April, June, September and November have 30";
            return Err(Problem::new(days, message, hint));
        };
        let warnings = day_fields(day, weekday).into_iter().collect();
        let every_hour = hour.allowed == HOUR.all();
        Ok(Self(Arc::new(Inner { text: text.to_owned(), engine, every_hour, warnings })))
    }

    /// As it was written, without space around it.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// What is allowed and may surprise. Places are as in an error, in the text that was parsed.
    pub fn warnings(&self) -> &[Problem] {
        &self.0.warnings
    }

    /// It allows every hour, so it follows the clock on the wall through a change of the clock; else its times are fixed ones.
    pub fn allows_every_hour(&self) -> bool {
        self.0.every_hour
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }
}

/// Where day of month and day of week are both set: how they combine is what people get wrong.
fn day_fields(day: &Field, weekday: &Field) -> Option<Problem> {
    let set = |field: &Field, kind: &Kind| !field.star || field.allowed != kind.all();
    if !set(day, &DAY) || !set(weekday, &WEEKDAY) {
        return None;
    }
    let at = day.at.start..weekday.at.end;
    let (message, hint) = if day.star || weekday.star {
        let message = "day of month and day of week are both set and one begins with *: a day must match both";
        (message, "if either should do, write the steps as a range, such as 1-31/2")
    } else {
        let message = "day of month and day of week are both set: a day that matches either of them is enough";
        (message, "if that is meant, nothing need change; if not, write * for one of them")
    };
    Some(Problem::new(at, message, hint))
}

type Words<'a> = Vec<(usize, &'a str)>;

/// The words of a text with the bytes at which they begin.
fn words(text: &str) -> Words<'_> {
    let begin = text.as_ptr().addr();
    text.split_whitespace().map(|word| (word.as_ptr().addr() - begin, word)).collect()
}

/// Five words, or what is too many or missing.
fn split(text: &str) -> Result<Words<'_>, Problem> {
    let words = words(text);
    let span = |words: &[(usize, &str)]| match (words.first(), words.last()) {
        (Some((from, _)), Some((to, last))) => *from..*to + last.len(),
        _ => 0..0,
    };
    if let Some((at, word)) = words.first().filter(|(_, word)| word.contains('=')) {
        let message = format!("a cron expression begins with {}", shown(word));
        return Err(Problem::new(*at..*at + word.len(), message, "write the zone as `timezone:`, and five fields here"));
    }
    match words.len() {
        5 => Ok(words),
        6 | 7 if words.iter().all(|(_, word)| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"*/,-?#".contains(&b))) => {
            // Quartz and its kin begin with seconds, and may end with a year.
            let five: Vec<_> = words[1..6].iter().map(|(_, word)| if *word == "?" { "*" } else { word }).collect();
            let message = format!("a cron expression has {} fields", words.len());
            let hint = format!(
                "Unix cron has five, {ORDER}: without seconds and year that is `{}`; periods below a minute are `every: 30s`",
                five.join(" ")
            );
            Err(Problem::new(span(if words.len() == 6 { &words[..1] } else { &words }), message, hint))
        }
        n @ 0..5 => {
            let missing = ORDER.split(", ").skip(n).collect::<Vec<_>>().join(", ");
            let message = format!("a cron expression has {n} field{}", if n == 1 { "" } else { "s" });
            Err(Problem::new(span(&words), message, format!("five are needed, {ORDER}: add {missing}")))
        }
        n => {
            let message = format!("a cron expression has {n} fields");
            Err(Problem::new(span(&words[5..]), message, format!("write five, {ORDER}; what runs is said by the tasks")))
        }
    }
}

fn read(words: Words<'_>) -> Result<[Field; 5], Problem> {
    let mut fields = FIELDS.iter().zip(&words).map(|(kind, (at, word))| kind.read(word, *at));
    let mut next = || fields.next().unwrap_or_else(|| Err(Problem::new(0..0, "a field is missing", ORDER)));
    Ok([next()?, next()?, next()?, next()?, next()?])
}

fn unknown_word(word: &str, at: Range<usize>) -> Problem {
    let lower = word.to_ascii_lowercase();
    let hint = if lower == "@reboot" {
        "a pipeline outlives each machine: write when it runs, or start it with `penstock submit`".to_owned()
    } else if let Some(period) = lower.strip_prefix("@every") {
        let period = if period.trim().is_empty() { "15m" } else { period.trim() };
        format!("write `every: {}` in place of `cron:`", shown(period).trim_matches('"'))
    } else {
        format!("write one of {}, or five fields", WORDS.map(|(word, _)| word).join(" "))
    };
    Problem::new(at, format!("a cron expression cannot be {}", shown(word)), hint)
}

impl TryFrom<String> for Cron {
    type Error = Problem;
    fn try_from(text: String) -> Result<Self, Problem> {
        Self::parse(&text)
    }
}
impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.0.text.clone()
    }
}
impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}
impl Eq for Cron {}
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}
impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({:?})", self.0.text)
    }
}
