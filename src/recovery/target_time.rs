//! The point in time of `--target-time`, in the forms people and PostgreSQL write it.
//!
//! Barman hands the text to Python's dateutil, which guesses: `10:30` becomes today, an unknown zone (`CET`) is
//! dropped and the time is taken as local. A wrong guess here restores the wrong data, so this reader accepts every form that says a
//! whole date and has one meaning, with dateutil's reading of it, and refuses the rest with the reason:
//!
//! * ISO 8601, extended and compact: `2026-11-20T21:30:45.5+01:00`, `20261120T213045Z`, `2026-11-20`;
//! * PostgreSQL's output: `2026-11-20 21:30:45.123456+00`, `Fri Nov 20 21:30:45 2026 UTC`, `11/20/2026 21:30:45`;
//! * C's `ctime`, `date(1)` and RFC 2822: `Fri, 20 Nov 2026 21:30:45 +0100`;
//! * month names and am/pm: `November 20, 2026 9:30 pm`.
//!
//! All-numeric dates with slashes are month first (PostgreSQL's default and dateutil's), unless the first number
//! cannot be a month.

mod words;

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Weekday};

use crate::base::calendar::{self, Timestamp};

use words::{month_number, weekday_of};

/// The longest text that is looked at.
const LONGEST: usize = 128;

/// A target time that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetTime {
    /// The point in time.
    pub time: Timestamp,
    /// Whether the text named no zone, so that the zone of this machine was taken.
    pub zone_assumed: bool,
}

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetTimeError {
    /// Nothing in it is understood. (The words are dateutil's, which scripts may know.)
    #[error("Unknown string format: {0}")]
    Unknown(String),
    /// The year, the month or the day is missing.
    #[error("the date is not complete, write it as YYYY-MM-DD HH:MM:SS+HH:MM")]
    Incomplete,
    /// A part is given twice.
    #[error("it has more than one {0}")]
    Repeated(&'static str),
    /// A number is out of its range.
    #[error("there is no such date or time")]
    OutOfRange,
    /// A zone known by a local name only.
    #[error("the time zone \"{0}\" is not known, write its offset from UTC instead, for example +01:00")]
    Zone(String),
    /// The weekday belongs to another date.
    #[error("that date is not a {0}")]
    Weekday(String),
    /// The clocks were set forward over this local time.
    #[error("this local time was skipped when the clocks were set forward, write the offset from UTC")]
    Skipped,
}

/// Reads a point in time; without a zone it is local time.
///
/// # Errors
/// The text is none of the accepted forms, or names a time that does not exist.
pub fn parse(text: &str) -> Result<TargetTime, TargetTimeError> {
    let unknown = || TargetTimeError::Unknown(text.to_owned());
    if text.len() > LONGEST || !text.is_ascii() {
        return Err(unknown());
    }
    let mut reader = Reader {
        rest: text.trim(),
        text,
        found: Parts::default(),
    };
    if reader.rest.is_empty() {
        return Err(unknown());
    }
    while !reader.rest.is_empty() {
        reader.step()?;
    }
    reader.found.assemble()
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Parts {
    year: Option<u32>,
    month: Option<u32>,
    day: Option<u32>,
    compact_date: bool,
    time: Option<NaiveTime>,
    zone: Option<FixedOffset>,
    weekday: Option<(Weekday, String)>,
}

impl Parts {
    fn assemble(self) -> Result<TargetTime, TargetTimeError> {
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else {
            return Err(TargetTimeError::Incomplete);
        };
        let year = i32::try_from(year).map_err(|_| TargetTimeError::OutOfRange)?;
        let date = NaiveDate::from_ymd_opt(year, month, day).ok_or(TargetTimeError::OutOfRange)?;
        if let Some((weekday, name)) = self.weekday
            && chrono::Datelike::weekday(&date) != weekday
        {
            return Err(TargetTimeError::Weekday(name));
        }
        let naive = NaiveDateTime::new(date, self.time.unwrap_or_default());
        match self.zone {
            Some(zone) => {
                let time = zone
                    .from_local_datetime(&naive)
                    .single()
                    .ok_or(TargetTimeError::OutOfRange)?;
                Ok(TargetTime {
                    time,
                    zone_assumed: false,
                })
            }
            None => Ok(TargetTime {
                time: calendar::local(naive).ok_or(TargetTimeError::Skipped)?,
                zone_assumed: true,
            }),
        }
    }
}

struct Reader<'text> {
    rest: &'text str,
    text: &'text str,
    found: Parts,
}

impl<'text> Reader<'text> {
    fn unknown(&self) -> TargetTimeError {
        TargetTimeError::Unknown(self.text.to_owned())
    }

    /// Reads one part from the front.
    fn step(&mut self) -> Result<(), TargetTimeError> {
        match self.rest.as_bytes().first() {
            Some(b' ' | b'\t' | b',') => {
                self.skip(1);
                Ok(())
            }
            Some(b'+' | b'-') if self.found.time.is_some() => self.offset(),
            Some(byte) if byte.is_ascii_digit() => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() => self.word(),
            _ => Err(self.unknown()),
        }
    }

    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Takes the leading digits.
    fn digits(&mut self) -> &'text str {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits
    }

    fn accept(&mut self, wanted: &[u8]) -> Option<u8> {
        let byte = *self.rest.as_bytes().first()?;
        if wanted.contains(&byte) {
            self.skip(1);
            Some(byte)
        } else {
            None
        }
    }

    /// A number begins a date, a time, a day or a year: what follows it decides.
    fn number(&mut self) -> Result<(), TargetTimeError> {
        let digits = self.digits();
        let next = self.rest.as_bytes().first().copied();
        let after = self.rest.as_bytes().get(1).copied();
        match (digits.len(), next) {
            (1 | 2, Some(b':')) => self.clock(digits),
            (4, Some(b'-' | b'/' | b'.')) if after.is_some_and(|byte| byte.is_ascii_digit()) => {
                self.year_first(digits)
            }
            (1 | 2, Some(b'/' | b'-')) if after.is_some_and(|byte| byte.is_ascii_digit()) => {
                self.year_last(digits)
            }
            (1 | 2, Some(b'-')) if after.is_some_and(|byte| byte.is_ascii_alphabetic()) => {
                self.skip(1);
                self.set_day(digits)
            }
            (8, _) if self.found.year.is_none() => self.compact_date(digits),
            (12 | 14, _) if self.found.year.is_none() => {
                let (date, time) = digits.split_at(8);
                self.compact_date(date)?;
                self.compact_clock(time)
            }
            (4 | 6, _) if self.found.compact_date && self.found.time.is_none() => self.compact_clock(digits),
            (4, _) => self.set_year(digits),
            (1 | 2, _) => self.hour_or_day(digits),
            _ => Err(self.unknown()),
        }
    }

    /// `9pm`, `20th`, `20`.
    fn hour_or_day(&mut self, digits: &str) -> Result<(), TargetTimeError> {
        if let Some(afternoon) = self.meridiem() {
            let hour = twelve_hours(value(digits)?, afternoon)?;
            return self.set_time(hour, 0, 0, 0);
        }
        let lower = self.rest.get(..2).unwrap_or_default().to_ascii_lowercase();
        if ["st", "nd", "rd", "th"].contains(&lower.as_str()) {
            self.skip(2);
        }
        self.set_day(digits)
    }

    /// `2026-11-20`, `2026/11/20`, `2026.11.20`, and the `T` that may follow.
    fn year_first(&mut self, year: &str) -> Result<(), TargetTimeError> {
        self.set_year(year)?;
        let separator = self.accept(b"-/.").ok_or_else(|| self.unknown())?;
        let month = self.digits();
        self.accept(&[separator]).ok_or_else(|| self.unknown())?;
        let day = self.digits();
        self.set_month(value(month)?)?;
        self.set_day(day)?;
        self.iso_time()
    }

    /// `11/20/2026`: month first, unless the first number cannot be a month.
    fn year_last(&mut self, first: &str) -> Result<(), TargetTimeError> {
        let separator = self.accept(b"-/").ok_or_else(|| self.unknown())?;
        let second = self.digits();
        self.accept(&[separator]).ok_or_else(|| self.unknown())?;
        let year = self.digits();
        if year.len() != 4 {
            return Err(TargetTimeError::Incomplete);
        }
        self.set_year(year)?;
        let (month, day) = if value(first)? > 12 {
            (second, first)
        } else {
            (first, second)
        };
        self.set_month(value(month)?)?;
        self.set_day(day)
    }

    fn compact_date(&mut self, digits: &str) -> Result<(), TargetTimeError> {
        let (year, rest) = digits.split_at(4);
        let (month, day) = rest.split_at(2);
        self.set_year(year)?;
        self.set_month(value(month)?)?;
        self.set_day(day)?;
        self.found.compact_date = true;
        self.iso_time()
    }

    /// The `T` between an ISO date and its time; the time itself may then be compact or only an hour.
    fn iso_time(&mut self) -> Result<(), TargetTimeError> {
        let is_time = matches!(self.rest.as_bytes(), [b'T' | b't', digit, ..] if digit.is_ascii_digit());
        if !is_time {
            return Ok(());
        }
        self.skip(1);
        let digits = self.digits();
        match (digits.len(), self.rest.as_bytes().first()) {
            (2, Some(b':')) => self.clock(digits),
            (2 | 4 | 6, _) => self.compact_clock(digits),
            _ => Err(self.unknown()),
        }
    }

    /// `21`, `2130`, `213045`, `213045.5`.
    fn compact_clock(&mut self, digits: &str) -> Result<(), TargetTimeError> {
        let part = |from: usize| digits.get(from..from + 2).map_or(Ok(0), value);
        let micros = if digits.len() == 6 { self.fraction()? } else { 0 };
        self.set_time(part(0)?, part(2)?, part(4)?, micros)
    }

    /// `21:30`, `21:30:45`, `21:30:45.123456`, `9:30 pm`; `hour` has been taken.
    fn clock(&mut self, hour: &str) -> Result<(), TargetTimeError> {
        self.skip(1);
        let minute = self.two_digits()?;
        let mut second = 0;
        let mut micros = 0;
        if self.accept(b":").is_some() {
            second = self.two_digits()?;
            micros = self.fraction()?;
        }
        let mut hour = value(hour)?;
        if let Some(afternoon) = self.meridiem() {
            hour = twelve_hours(hour, afternoon)?;
        }
        self.set_time(hour, minute, second, micros)
    }

    fn two_digits(&mut self) -> Result<u32, TargetTimeError> {
        let digits = self.digits();
        if digits.len() == 2 {
            value(digits)
        } else {
            Err(self.unknown())
        }
    }

    /// A fraction of a second in microseconds, further digits cut off (as dateutil does).
    fn fraction(&mut self) -> Result<u32, TargetTimeError> {
        if self.accept(b".,").is_none() {
            return Ok(0);
        }
        let digits = self.digits();
        if digits.is_empty() {
            return Err(self.unknown());
        }
        value(&format!("{digits:0<6}")[..6])
    }

    /// A following `am` or `pm`, blanks before it allowed.
    fn meridiem(&mut self) -> Option<bool> {
        let trimmed = self.rest.trim_start();
        let word_length = trimmed.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, rest) = trimmed.split_at(word_length);
        let afternoon = match word.to_ascii_lowercase().as_str() {
            "am" => false,
            "pm" => true,
            _ => return None,
        };
        self.rest = rest;
        Some(afternoon)
    }

    /// `+01`, `+0130`, `-01:30`.
    fn offset(&mut self) -> Result<(), TargetTimeError> {
        let sign = if self.accept(b"+-") == Some(b'-') { -1 } else { 1 };
        let digits = self.digits();
        let (hours, minutes) = match digits.len() {
            2 if self.accept(b":").is_some() => (digits, self.digits()),
            2 => (digits, "00"),
            4 => digits.split_at(2),
            _ => return Err(self.unknown()),
        };
        let (hours, minutes) = (value(hours)?, value(minutes)?);
        if minutes > 59 || hours > 15 {
            return Err(TargetTimeError::OutOfRange);
        }
        let seconds = i32::try_from(hours * 3600 + minutes * 60).map_err(|_| TargetTimeError::OutOfRange)?;
        let zone = FixedOffset::east_opt(sign * seconds).ok_or(TargetTimeError::OutOfRange)?;
        self.set_zone(zone)
    }

    /// A month, a weekday, a zone, or a word between them.
    fn word(&mut self) -> Result<(), TargetTimeError> {
        let length = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        let lower = word.to_ascii_lowercase();
        if let Some(month) = month_number(&lower) {
            self.accept(b".-");
            return self.set_month(month);
        }
        if let Some(weekday) = weekday_of(&lower) {
            self.accept(b".");
            return put(&mut self.found.weekday, (weekday, word.to_owned()), "weekday");
        }
        match lower.as_str() {
            "z" | "utc" | "gmt" if self.found.time.is_some() => {
                // "UTC+3" means one thing to POSIX and the opposite to everybody else.
                if self.rest.starts_with(['+', '-']) {
                    let end = self.rest.find(' ').unwrap_or(self.rest.len());
                    return Err(TargetTimeError::Zone(format!("{word}{}", &self.rest[..end])));
                }
                let utc = FixedOffset::east_opt(0).ok_or(TargetTimeError::OutOfRange)?;
                self.set_zone(utc)
            }
            "at" | "on" | "of" => Ok(()),
            _ if self.found.time.is_some() && (2..=5).contains(&word.len()) => {
                Err(TargetTimeError::Zone(word.to_owned()))
            }
            _ => Err(self.unknown()),
        }
    }

    fn set_year(&mut self, digits: &str) -> Result<(), TargetTimeError> {
        put(&mut self.found.year, value(digits)?, "year")
    }

    fn set_month(&mut self, month: u32) -> Result<(), TargetTimeError> {
        put(&mut self.found.month, month, "month")
    }

    fn set_day(&mut self, digits: &str) -> Result<(), TargetTimeError> {
        if digits.len() > 2 {
            return Err(self.unknown());
        }
        put(&mut self.found.day, value(digits)?, "day")
    }

    fn set_zone(&mut self, zone: FixedOffset) -> Result<(), TargetTimeError> {
        put(&mut self.found.zone, zone, "time zone")
    }

    fn set_time(&mut self, hour: u32, minute: u32, second: u32, micros: u32) -> Result<(), TargetTimeError> {
        let time =
            NaiveTime::from_hms_micro_opt(hour, minute, second, micros).ok_or(TargetTimeError::OutOfRange)?;
        put(&mut self.found.time, time, "time")
    }
}

fn put<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<(), TargetTimeError> {
    if slot.replace(value).is_some() {
        return Err(TargetTimeError::Repeated(name));
    }
    Ok(())
}

fn value(digits: &str) -> Result<u32, TargetTimeError> {
    digits.parse().map_err(|_| TargetTimeError::OutOfRange)
}

fn twelve_hours(hour: u32, afternoon: bool) -> Result<u32, TargetTimeError> {
    match (hour, afternoon) {
        (12, false) => Ok(0),
        (12, true) => Ok(12),
        (1..=11, _) => Ok(hour + if afternoon { 12 } else { 0 }),
        _ => Err(TargetTimeError::OutOfRange),
    }
}

#[cfg(test)]
mod tests;
