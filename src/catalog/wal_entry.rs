//! One line of the WAL database: `name⇥size⇥time⇥compression⇥encryption` (catalog reference §7.4).

use crate::base::float::float_repr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A WAL file of the archive: a segment, a backup label, a partial segment or a timeline history.
#[derive(Debug, Clone, PartialEq)]
pub struct WalEntry {
    /// The name of the file.
    pub name: String,
    /// Bytes on disk, after compression and encryption.
    pub size: u64,
    /// When PostgreSQL wrote it last: seconds since the epoch.
    pub time: f64,
    /// The name of the compression, as configured when it was archived.
    pub compression: Option<String>,
    /// `gpg`, when it is encrypted.
    pub encryption: Option<String>,
}

impl WalEntry {
    /// The line, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!(
            "{}\t{}\t{}\t{}\t{}\n",
            self.name,
            self.size,
            float_repr(self.time),
            self.compression.as_deref().unwrap_or("None"),
            self.encryption.as_deref().unwrap_or("None"),
        )
    }

    /// Reads a line.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<WalEntry> {
        WalLine::parse(line)?.to_entry()
    }
}

/// The time of a file as Python's `st_mtime`: its nanoseconds in a double.
#[must_use]
#[allow(clippy::cast_precision_loss)] // the same loss as Python's
pub fn modification_time(metadata: &Metadata) -> f64 {
    metadata.mtime() as f64 + 1e-9 * metadata.mtime_nsec() as f64
}

/// A line of the WAL database, not taken apart further than needed: a million of them are read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalLine<'a> {
    /// The name of the file.
    pub name: &'a str,
    /// Bytes on disk.
    pub size: u64,
    time: &'a str,
    compression: Option<&'a str>,
    encryption: Option<&'a str>,
}

impl<'a> WalLine<'a> {
    /// Splits a line of three to five columns on any blanks.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<WalLine<'a>> {
        let mut columns = line
            .split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b)
            .filter(|column| !column.is_empty());
        let name = text(columns.next()?)?;
        let size = number(columns.next()?)?;
        let time = text(columns.next()?)?;
        let compression = columns.next();
        let encryption = columns.next();
        if columns.next().is_some() {
            return None;
        }
        Some(WalLine {
            name,
            size,
            time,
            compression: optional(compression)?,
            encryption: optional(encryption)?,
        })
    }

    /// When PostgreSQL wrote the file last: seconds since the epoch. `None` when the column is no number.
    #[must_use]
    pub fn time(&self) -> Option<f64> {
        self.time.parse().ok()
    }

    /// The same as it stands there.
    #[must_use]
    pub(super) fn time_text(&self) -> &'a str {
        self.time
    }

    /// The name of the compression.
    #[must_use]
    pub fn compression(&self) -> Option<&'a str> {
        self.compression
    }

    /// `gpg`, when the file is encrypted.
    #[must_use]
    pub fn encryption(&self) -> Option<&'a str> {
        self.encryption
    }

    /// The same, owned. `None` when the time is no number.
    #[must_use]
    pub fn to_entry(&self) -> Option<WalEntry> {
        Some(WalEntry {
            name: self.name.to_owned(),
            size: self.size,
            time: self.time()?,
            compression: self.compression.map(str::to_owned),
            encryption: self.encryption.map(str::to_owned),
        })
    }
}

fn text(column: &[u8]) -> Option<&str> {
    std::str::from_utf8(column).ok()
}

fn optional(column: Option<&[u8]>) -> Option<Option<&str>> {
    match column {
        None | Some(b"None") => Some(None),
        Some(column) => Some(Some(text(column)?)),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_to_five_columns_between_any_blanks() {
        let five =
            WalEntry::parse(b"000000010000000000000096\t16541\t1795208667.3859243\tgzip\tgpg\n").unwrap();
        assert_eq!(five.size, 16541);
        assert_eq!(five.compression.as_deref(), Some("gzip"));
        assert_eq!(five.encryption.as_deref(), Some("gpg"));
        let four = WalEntry::parse(b"00000002.history 41 1795209169 None").unwrap();
        assert_eq!((four.time, four.compression), (1_795_209_169.0, None));
        let three = WalEntry::parse(b"  00000002.history   41\t1795209169.5540617  ").unwrap();
        assert_eq!(three.encryption, None);
        for bad in [
            "",
            "a",
            "a 1",
            "a b 1",
            "a -1 1",
            "a 1 x",
            "a 1 1 None None None",
            "a 99999999999999999999 1",
        ] {
            assert!(WalEntry::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = WalEntry::parse(&line);
        }

        #[test]
        fn lines_survive(size in any::<u64>(), time in 0.0..4e9f64) {
            let entry = WalEntry {
                name: "000000010000000000000096".to_owned(),
                size,
                time,
                compression: None,
                encryption: Some("gpg".to_owned()),
            };
            prop_assert_eq!(WalEntry::parse(entry.to_line().as_bytes()).unwrap(), entry);
        }
    }
}
