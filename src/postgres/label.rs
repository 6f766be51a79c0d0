//! The text of `backup_label`, as `pg_backup_stop()` returns it and PostgreSQL reads it at the start of recovery.

use super::lsn::Lsn;
use super::wal_name::{SegmentName, Timeline};

/// What a `backup_label` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where recovery starts.
    pub start_lsn: Lsn,
    /// The segment that holds `start_lsn`.
    pub start_wal: SegmentName,
    /// The checkpoint that recovery starts with.
    pub checkpoint: Option<Lsn>,
    /// `streamed` or `pg_start_backup`.
    pub method: Option<String>,
    /// `primary` or `standby`.
    pub from: Option<String>,
    /// When the backup began, in PostgreSQL's words: `2026-11-20 21:04:12 UTC`.
    pub start_time: Option<String>,
    /// The text given to `pg_backup_start()`.
    pub label: Option<String>,
    /// The timeline on which the backup began (PostgreSQL 11 and newer).
    pub start_timeline: Option<Timeline>,
    /// For an incremental backup, where its predecessor began.
    pub incremental_from_lsn: Option<Lsn>,
    /// For an incremental backup, the timeline on which its predecessor began.
    pub incremental_from_timeline: Option<Timeline>,
}

/// The text of the label of an incremental backup without the lines that make it one: the label of the cluster that the
/// backup becomes when it is restored.
#[must_use]
pub fn as_full(text: &[u8]) -> Vec<u8> {
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"INCREMENTAL FROM "))
        .flatten()
        .copied()
        .collect()
}

/// Text that is not a `backup_label`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a backup label: {0}")]
pub struct InvalidLabel(String);

impl BackupLabel {
    /// Reads the text. Lines of newer versions are ignored.
    ///
    /// # Errors
    /// There is no line `START WAL LOCATION`, or a number in the text is none.
    pub fn parse(text: &str) -> Result<BackupLabel, InvalidLabel> {
        let field = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == key).then(|| value.trim())
            })
        };
        let start = field("START WAL LOCATION").ok_or_else(|| missing("START WAL LOCATION"))?;
        let (lsn, file) = start
            .split_once(" (file ")
            .ok_or_else(|| wrong("START WAL LOCATION", start))?;
        Ok(BackupLabel {
            start_lsn: lsn.parse().map_err(|_| wrong("START WAL LOCATION", start))?,
            start_wal: SegmentName::parse(file.trim_end_matches(')'))
                .ok_or_else(|| wrong("START WAL LOCATION", start))?,
            checkpoint: number(field("CHECKPOINT LOCATION"), "CHECKPOINT LOCATION")?,
            method: field("BACKUP METHOD").map(str::to_owned),
            from: field("BACKUP FROM").map(str::to_owned),
            start_time: field("START TIME").map(str::to_owned),
            label: field("LABEL").map(str::to_owned),
            start_timeline: number(field("START TIMELINE"), "START TIMELINE")?,
            incremental_from_lsn: number(field("INCREMENTAL FROM LSN"), "INCREMENTAL FROM LSN")?,
            incremental_from_timeline: number(field("INCREMENTAL FROM TLI"), "INCREMENTAL FROM TLI")?,
        })
    }
}

fn number<T: std::str::FromStr>(value: Option<&str>, key: &str) -> Result<Option<T>, InvalidLabel> {
    value
        .map(|text| text.parse().map_err(|_| wrong(key, text)))
        .transpose()
}

fn missing(key: &str) -> InvalidLabel {
    InvalidLabel(format!("it has no line {key}"))
}

fn wrong(key: &str, value: &str) -> InvalidLabel {
    InvalidLabel(format!("{key} is {value:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const LABEL: &str = "START WAL LOCATION: 0/96000028 (file 000000010000000000000096)\n\
        CHECKPOINT LOCATION: 0/96000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
        START TIME: 2026-11-20 21:04:12 UTC\nLABEL: Barman backup main: 20261120T210412\nSTART TIMELINE: 1\n";

    #[test]
    fn every_line_is_read() {
        let label = BackupLabel::parse(LABEL).unwrap();
        assert_eq!(label.start_lsn.to_string(), "0/96000028");
        assert_eq!(label.start_wal.to_string(), "000000010000000000000096");
        assert_eq!(label.checkpoint, Some(Lsn(0x9600_0060)));
        assert_eq!(label.start_time.as_deref(), Some("2026-11-20 21:04:12 UTC"));
        assert_eq!(
            label.label.as_deref(),
            Some("Barman backup main: 20261120T210412")
        );
        assert_eq!(label.start_timeline, Some(1));
        assert_eq!(label.incremental_from_lsn, None);
    }

    #[test]
    fn a_text_without_start_is_refused() {
        for bad in [
            "",
            "LABEL: x\n",
            "START WAL LOCATION: 0/1\n",
            "START WAL LOCATION: 0/1 (file x)\n",
        ] {
            assert!(BackupLabel::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(START WAL LOCATION|LABEL|:|[0-9A-F/()\n ]|.)*") {
            let _ = BackupLabel::parse(&text);
        }
    }
}
