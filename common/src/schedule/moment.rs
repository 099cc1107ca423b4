//! Dates and times as users write them: `2024-01-31`, `2024-01-31T02:00`, `2024-01-31T02:00:00+01:00`, `2024-01-31T01:00Z`.
//!
//! Without an offset they are those of a zone's clock. A time that the clock skips is the end of the gap, one that it shows twice is
//! the first of the two: as fixed times of a schedule.

use std::ops::Range;

use jiff::civil::{Date, Time};

use super::engine::{END, FIRST};
use super::problem::{Problem, shown};
use super::zone::Zone;
use crate::{Interval, Millis, Timestamp};

const HINT: &str = "write a date such as 2024-01-31, or a time such as 2024-01-31T02:00, 2024-01-31T02:00:00+01:00 or 2024-01-31T01:00Z";

/// A day or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A whole day of a zone's calendar.
    Day {
        /// Its first instant.
        first: Timestamp,
        /// The first instant of the next day; the same where the zone skipped the day.
        next: Timestamp,
    },
    /// A time.
    Instant(Timestamp),
}

impl Moment {
    /// Reads a date or a time of the years 1970–2100. What is wrong is said with its place in `text`.
    pub fn parse(text: &str, zone: &Zone) -> Result<Self, Problem> {
        let mut reader = Reader { text, at: 0 };
        let date = reader.date()?;
        if reader.rest().is_empty() {
            let midnight = seconds(date, Time::midnight());
            return Ok(Self::Day { first: instant(zone, midnight), next: instant(zone, midnight + 86_400) });
        }
        let (time, millis) = reader.time()?;
        let wall = seconds(date, time);
        let at = match reader.offset()? {
            Some(offset) => Timestamp((wall - offset) * 1_000 + millis),
            // Within a gap, the fraction of a second is skipped as well.
            None if zone.latest_shown(zone.first_showing(wall)) == wall => instant(zone, wall).after(Millis(millis.unsigned_abs())),
            None => instant(zone, wall),
        };
        if reader.rest().is_empty() {
            return Ok(Self::Instant(at));
        }
        Err(reader.wrong(reader.at..text.len(), "follows a time"))
    }

    /// The first instant of it: what `start_date` and `--start-date` mean.
    pub fn first(&self) -> Timestamp {
        match self {
            Self::Day { first, .. } => *first,
            Self::Instant(at) => *at,
        }
    }

    /// The last instant of it, to the millisecond: what `end_date` and `--end-date` mean, both inclusive.
    pub fn last(&self) -> Timestamp {
        match self {
            Self::Day { next, .. } => Timestamp(next.0 - 1),
            Self::Instant(at) => *at,
        }
    }
}

/// The time that a run covers, as people write it: a day of the zone, `2024-01-31`, or START/END, each a day (its first instant) or a time.
/// What is wrong is said in words that follow the text.
pub fn span(text: &str, zone: &Zone) -> Result<Interval, String> {
    let moment = |text: &str| Moment::parse(text, zone).map_err(|problem| problem.to_string());
    let (start, end) = match text.split_once('/') {
        Some((start, end)) => (moment(start)?.first(), moment(end)?.first()),
        None => match moment(text)? {
            Moment::Day { first, next } => (first, next),
            Moment::Instant(_) => {
                return Err("a time covers nothing: write a day, 2024-01-31, or START/END, each a day or a time".to_owned());
            }
        },
    };
    Interval::new(start, end).ok_or_else(|| "it must start before it ends: write the earlier first".to_owned())
}

fn seconds(date: Date, time: Time) -> i64 {
    let since = date.to_datetime(time).duration_since(jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    since.as_secs()
}

fn instant(zone: &Zone, wall: i64) -> Timestamp {
    Timestamp(zone.first_showing(wall) * 1_000)
}

/// Reads ASCII from left to right.
struct Reader<'a> {
    text: &'a str,
    /// On a character's boundary: what was taken is ASCII.
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn date(&mut self) -> Result<Date, Problem> {
        let year = self.number(4, "year")?;
        self.expect(b"-")?;
        let month = self.number(2, "month")?;
        self.expect(b"-")?;
        let day = self.number(2, "day")?;
        let date = i16::try_from(year).ok().zip(i8::try_from(month).ok()).zip(i8::try_from(day).ok());
        let Some(date) = date.and_then(|((year, month), day)| Date::new(year, month, day).ok()) else {
            return Err(Problem::new(0..self.at, format!("there is no day {}", shown(&self.text[..self.at])), HINT));
        };
        if !(FIRST..END).contains(&seconds(date, Time::midnight())) {
            return Err(Problem::new(0..4, format!("the year {year} has no schedules"), "write one of 1970-2100"));
        }
        Ok(date)
    }

    /// A time of day and milliseconds.
    fn time(&mut self) -> Result<(Time, i64), Problem> {
        self.expect(b"Tt ")?;
        let from = self.at;
        let hour = self.number(2, "hour")?;
        self.expect(b":")?;
        let minute = self.number(2, "minute")?;
        let (mut second, mut millis) = (0, 0);
        if self.taken(b":") {
            second = self.number(2, "second")?;
            if self.taken(b".") {
                millis = self.fraction()?;
            }
        }
        let small = |n: i64| i8::try_from(n).unwrap_or(i8::MAX);
        let time = Time::new(small(hour), small(minute), small(second), 0).map_err(|_| {
            let message = format!("there is no time of day {}", shown(&self.text[from..self.at]));
            Problem::new(from..self.at, message, "write 00:00 to 23:59:59")
        })?;
        Ok((time, millis))
    }

    /// Milliseconds; further digits are dropped.
    fn fraction(&mut self) -> Result<i64, Problem> {
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.wrong(self.at..self.at + self.character(), "is no fraction of a second"));
        }
        let millis = self.rest()[..digits].iter().chain(b"000").take(3).fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        self.at += digits;
        Ok(millis)
    }

    /// Seconds east of UTC; `None` where none is written.
    fn offset(&mut self) -> Result<Option<i64>, Problem> {
        if self.taken(b"Zz") {
            return Ok(Some(0));
        }
        let from = self.at;
        let west = self.rest().first() == Some(&b'-');
        if !self.taken(b"+-") {
            return Ok(None);
        }
        let hours = self.number(2, "offset's hours")?;
        self.taken(b":");
        let minutes = if self.rest().is_empty() { 0 } else { self.number(2, "offset's minutes")? };
        if hours > 23 || minutes > 59 {
            let message = format!("there is no offset {}", shown(&self.text[from..self.at]));
            return Err(Problem::new(from..self.at, message, "write one such as +01:00, or Z"));
        }
        let offset = hours * 3_600 + minutes * 60;
        Ok(Some(if west { -offset } else { offset }))
    }

    fn number(&mut self, digits: usize, what: &str) -> Result<i64, Problem> {
        match self.rest().get(..digits).filter(|bytes| bytes.iter().all(u8::is_ascii_digit)) {
            Some(bytes) => {
                let number = bytes.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
                self.at += digits;
                Ok(number)
            }
            None => {
                let end = self.text[self.at..].char_indices().nth(digits).map_or(self.text.len(), |(end, _)| self.at + end);
                Err(self.wrong(self.at..end, &format!("is no {what} of {digits} digits")))
            }
        }
    }

    fn expect(&mut self, any: &[u8]) -> Result<(), Problem> {
        if self.taken(any) {
            return Ok(());
        }
        let expected = any.first().map_or(' ', |byte| char::from(*byte));
        Err(self.wrong(self.at..self.at + self.character(), &format!("stands where {expected} is expected")))
    }

    fn taken(&mut self, any: &[u8]) -> bool {
        let is = self.rest().first().is_some_and(|byte| any.contains(byte));
        self.at += usize::from(is);
        is
    }

    /// Bytes of the character that comes next.
    fn character(&self) -> usize {
        self.text[self.at..].chars().next().map_or(0, char::len_utf8)
    }

    fn wrong(&self, at: Range<usize>, why: &str) -> Problem {
        let found = if at.is_empty() { "the end".to_owned() } else { shown(&self.text[at.clone()]) };
        Problem::new(at, format!("{} is not a date or time: {found} {why}", shown(self.text)), HINT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: &str) -> String {
        match Moment::parse(text, &Zone::get(zone).unwrap()) {
            Ok(Moment::Instant(at)) => at.to_string(),
            Ok(Moment::Day { first, next }) => format!("{first}..{next}"),
            Err(problem) => format!("{:?} {problem}", problem.at),
        }
    }

    #[test]
    fn days_and_times_are_those_of_the_zone_unless_an_offset_is_written() {
        assert_eq!(read("2024-01-31", "Europe/Paris"), "2024-01-30T23:00:00.000Z..2024-01-31T23:00:00.000Z");
        assert_eq!(read("2024-01-31T02:00", "Europe/Paris"), "2024-01-31T01:00:00.000Z");
        assert_eq!(read("2024-07-31 02:00:05", "Europe/Paris"), "2024-07-31T00:00:05.000Z");
        for text in
            ["2024-01-31T01:00Z", "2024-01-31T02:00:00+01:00", "2024-01-31t02:00+0100", "2024-01-31T02:00+01", "2024-01-30T22:30-02:30"]
        {
            assert_eq!(read(text, "Asia/Tokyo"), "2024-01-31T01:00:00.000Z", "{text}");
        }
        assert_eq!(read("2024-01-31T02:00:00.1239Z", "UTC"), "2024-01-31T02:00:00.123Z");
    }

    #[test]
    fn a_skipped_time_is_the_end_of_the_gap_and_a_repeated_one_the_first() {
        assert_eq!(read("2024-03-31T02:30", "Europe/Paris"), "2024-03-31T01:00:00.000Z");
        assert_eq!(read("2024-03-31T02:30:00.5", "Europe/Paris"), "2024-03-31T01:00:00.000Z");
        assert_eq!(read("2024-10-27T02:30", "Europe/Paris"), "2024-10-27T00:30:00.000Z");
        assert_eq!(read("2024-10-27T02:30:00.250", "Europe/Paris"), "2024-10-27T00:30:00.250Z");
        assert_eq!(read("2024-04-06", "America/Havana"), "2024-04-06T04:00:00.000Z..2024-04-07T04:00:00.000Z");
        // Midnight twice: the day begins with the first. The clock went back from 01:00 to 00:00.
        assert_eq!(read("2024-11-03", "America/Havana"), "2024-11-03T04:00:00.000Z..2024-11-04T05:00:00.000Z");
        // No midnight at all, then no day at all.
        assert_eq!(read("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00.000Z..2018-11-05T02:00:00.000Z");
        assert_eq!(read("2011-12-30", "Pacific/Apia"), "2011-12-30T10:00:00.000Z..2011-12-30T10:00:00.000Z");
    }

    #[test]
    fn a_day_ends_with_its_last_millisecond() {
        let day = Moment::parse("2024-01-31", &Zone::utc()).unwrap();
        assert_eq!(
            (day.first().to_string().as_str(), day.last().to_string().as_str()),
            ("2024-01-31T00:00:00.000Z", "2024-01-31T23:59:59.999Z")
        );
        let at = Moment::parse("2024-01-31T02:00", &Zone::utc()).unwrap();
        assert_eq!(at.first(), at.last());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, at, says) in [
            ("", 0..0, "the end is no year"),
            ("yesterday", 0..4, "\"yest\" is no year"),
            ("31.01.2024", 0..4, "is no year"),
            ("2024-1-31", 5..7, "\"1-\" is no month of 2 digits"),
            ("2024/01/31", 4..5, "\"/\" stands where - is expected"),
            ("2024-02-30", 0..10, "there is no day \"2024-02-30\""),
            ("2024-13-01", 0..10, "there is no day"),
            ("1969-12-31", 0..4, "the year 1969 has no schedules: write one of 1970-2100"),
            ("2101-01-01", 0..4, "the year 2101"),
            ("2024-01-31T", 11..11, "the end is no hour"),
            ("2024-01-31T2:00", 11..13, "\"2:\" is no hour"),
            ("2024-01-31T24:00", 11..16, "there is no time of day \"24:00\""),
            ("2024-01-31T02:00:60", 11..19, "there is no time of day"),
            ("2024-01-31T02:00:00.", 20..20, "is no fraction"),
            ("2024-01-31T02:00+25:00", 16..22, "there is no offset \"+25:00\""),
            ("2024-01-31T02:00 Europe/Paris", 16..29, "follows a time"),
            ("2024-01-31é", 10..12, "\"é\" stands where T is expected"),
        ] {
            let problem = Moment::parse(text, &Zone::utc()).unwrap_err();
            assert_eq!(problem.at, at, "{text}: {problem}");
            assert!(problem.to_string().contains(says), "{text}: {problem}");
        }
    }
}
