//! How fast the WAL archive grows, from the end of the WAL database.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::base::error::{PathContext, PathError};

use super::Catalog;
use super::wal_entry::WalLine;

/// How much of the database is read: the newest ten thousand files, about.
const TAIL: u64 = 1 << 20;
/// The time that counts, in seconds: a day, which has its busy and its quiet hours.
const DAY: f64 = 86_400.0;
/// A shorter time says little, in seconds.
const HOUR: f64 = 3_600.0;

impl Catalog {
    /// How many bytes the archive has grown by in an hour, on the average of the last day before `now` (seconds since the
    /// epoch). Zero when nothing was archived.
    ///
    /// # Errors
    /// The WAL database cannot be read.
    pub fn wal_bytes_per_hour(&self, now: f64) -> Result<f64, PathError> {
        let path = self.xlogdb().path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0.0),
            Err(error) => return Err(PathError::new("open", &path, error)),
        };
        let length = file.metadata().at("examine", &path)?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
            .at("seek", &path)?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).at("read", &path)?;
        Ok(rate(&tail, length > TAIL, now))
    }
}

/// The rate that the lines of `tail` show; the first of them may be cut.
#[allow(clippy::cast_precision_loss)] // a figure for people
fn rate(tail: &[u8], cut: bool, now: f64) -> f64 {
    let (mut bytes, mut oldest) = (0_u64, now);
    for line in tail.split(|byte| *byte == b'\n').skip(usize::from(cut)) {
        let Some(line) = WalLine::parse(line) else {
            continue;
        };
        let Some(time) = line.time().filter(|time| now - time <= DAY && *time <= now) else {
            continue;
        };
        bytes = bytes.saturating_add(line.size);
        oldest = oldest.min(time);
    }
    bytes as f64 / ((now - oldest).max(HOUR) / HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_counts() {
        let line = |time: u32, size: u32| format!("000000010000000000000001\t{size}\t{time}.5\tgzip\tNone\n");
        let text = line(1_000_000, 1 << 30) + &line(1_100_000, 3000) + &line(1_103_600, 3000);
        let now = 1_107_200.5;
        assert!((rate(text.as_bytes(), false, now) - 3000.0).abs() < 1.0);
        assert!((rate(text.as_bytes(), true, now) - 3000.0).abs() < 1.0);
        // Half an hour of load is not twice as much in an hour.
        assert!((rate(line(1_106_000, 500).as_bytes(), false, 1_106_100.0) - 500.0).abs() < 1.0);
        assert_eq!(rate(b"", false, now), 0.0);
        assert_eq!(rate(b"junk\n", false, now), 0.0);
    }
}
