//! Points in time as Barman reads and writes them.

use chrono::{DateTime, FixedOffset, Local, NaiveDateTime, TimeZone};

/// A point in time with the offset it was written with.
pub type Timestamp = DateTime<FixedOffset>;

/// Now, in local time.
#[must_use]
pub fn now() -> Timestamp {
    Local::now().fixed_offset()
}

/// Python's `str(datetime)`: `2026-11-20 21:04:12.499033+00:00`, microseconds left out when zero.
#[must_use]
pub fn python_str(time: &Timestamp) -> String {
    python_form(time, ' ')
}

/// Python's `datetime.isoformat()`: like [`python_str`] with a `T`.
#[must_use]
pub fn python_iso(time: &Timestamp) -> String {
    python_form(time, 'T')
}

fn python_form(time: &Timestamp, separator: char) -> String {
    let date = time.format("%Y-%m-%d");
    if time.timestamp_subsec_micros() == 0 {
        format!("{date}{separator}{}", time.format("%H:%M:%S%:z"))
    } else {
        format!("{date}{separator}{}", time.format("%H:%M:%S%.6f%:z"))
    }
}

/// C's `ctime`: `Fri Nov 20 21:07:00 2026`, in the time's own offset, as Python's `datetime.ctime()`.
#[must_use]
pub fn ctime(time: &Timestamp) -> String {
    time.format("%a %b %e %H:%M:%S %Y").to_string()
}

/// Reads what [`python_str`] wrote, and the naive and ISO forms Barman accepts; a time without an offset is local.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    for format in [
        "%Y-%m-%d %H:%M:%S%.f%:z",
        "%Y-%m-%dT%H:%M:%S%.f%:z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
    ] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time);
        }
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%a %b %e %H:%M:%S %Y",
    ] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
            return local(naive);
        }
    }
    None
}

/// A local wall-clock time as a point in time; the earlier one where the clock was set back.
#[must_use]
pub fn local(naive: NaiveDateTime) -> Option<Timestamp> {
    Local
        .from_local_datetime(&naive)
        .earliest()
        .map(|time| time.fixed_offset())
}

/// The same moment in the time of this machine.
#[must_use]
pub fn here(time: &Timestamp) -> Timestamp {
    time.with_timezone(&Local).fixed_offset()
}

/// Seconds since the epoch with microseconds, as Python's `timestamp()`.
#[must_use]
#[allow(clippy::cast_precision_loss)] // microseconds fit a double for the next 280 years
pub fn epoch_seconds(time: &Timestamp) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}

/// Seconds from `start` to `end`, negative when `end` is earlier.
#[must_use]
#[allow(clippy::cast_precision_loss)] // durations of operations
pub fn seconds_between(start: &Timestamp, end: &Timestamp) -> f64 {
    (*end - *start).num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn python_text_survives_a_round_trip() {
        for text in [
            "2026-11-20 21:04:12.499033+00:00",
            "2026-11-20 21:04:12+05:30",
            "2026-01-01 00:00:00.000001-03:00",
        ] {
            assert_eq!(python_str(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn ctime_pads_the_day_with_a_blank() {
        assert_eq!(
            ctime(&parse("2026-11-02 21:04:12+00:00").unwrap()),
            "Mon Nov  2 21:04:12 2026"
        );
    }
}
