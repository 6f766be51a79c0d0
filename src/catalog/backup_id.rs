//! Names of backups: the local time at which they began, `20261120T210633`.
//!
//! Everything in a catalog is ordered by comparing these names byte by byte (catalog reference §2).

use std::fmt;

use chrono::{Duration, NaiveDateTime};

use crate::base::calendar;

const FORMAT: &str = "%Y%m%dT%H%M%S";

/// The name of a backup. Its order is the order of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// Reads a token that has the shape of an id: eight digits, `T`, six digits (not checked against the calendar).
    #[must_use]
    pub fn parse(text: &str) -> Option<BackupId> {
        let shaped = text.len() == 15
            && text.bytes().enumerate().all(|(index, byte)| match index {
                8 => byte == b'T',
                _ => byte.is_ascii_digit(),
            });
        shaped.then(|| BackupId(text.to_owned()))
    }

    /// Accepts any name found in a catalog. `None` for what could lead out of its directory.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<BackupId> {
        let harmless = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0', '\n']);
        harmless.then(|| BackupId(name.to_owned()))
    }

    /// The id of a backup that begins at `time` (local), given the newest id of the catalog and a test for names in use.
    ///
    /// Two backups in one second, or a clock that was set back at the end of summer time, would share an id or change
    /// the order of backups. The new id is therefore later than `newest` when that lies less than two hours ahead, and
    /// never one in use. (An id far in the future, from a clock once wrong, does not drag all others along.)
    pub(super) fn unused(
        time: NaiveDateTime,
        newest: Option<&BackupId>,
        in_use: impl Fn(&BackupId) -> bool,
    ) -> BackupId {
        let mut moment = time;
        if let Some(last) = newest.and_then(BackupId::time)
            && last >= moment
            && last - moment < Duration::hours(2)
        {
            moment = last + Duration::seconds(1);
        }
        loop {
            let id = BackupId(moment.format(FORMAT).to_string());
            if !in_use(&id) {
                return id;
            }
            moment += Duration::seconds(1);
        }
    }

    /// The local wall-clock time in the name.
    #[must_use]
    pub fn time(&self) -> Option<NaiveDateTime> {
        NaiveDateTime::parse_from_str(&self.0, FORMAT).ok()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn now() -> NaiveDateTime {
        calendar::now().naive_local()
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, FORMAT).unwrap()
    }

    #[test]
    fn only_the_shape_of_a_token_is_checked() {
        assert!(BackupId::parse("20269931T996199").is_some());
        for other in [
            "",
            "20261120T21063",
            "20261120 210633",
            "20261120T2106330",
            "2026112éT21063",
        ] {
            assert!(BackupId::parse(other).is_none(), "{other}");
        }
        for dangerous in ["", "..", ".import-x", "a/b"] {
            assert!(BackupId::from_file_name(dangerous).is_none(), "{dangerous}");
        }
    }

    #[test]
    fn ids_never_collide_nor_go_back() {
        let newest = BackupId::parse("20261025T025959").unwrap();
        let free = |_: &BackupId| false;
        // The same second, and the second pass through the repeated hour at the end of summer time.
        let same = BackupId::unused(at("20261025T025959"), Some(&newest), free);
        assert_eq!(same.as_str(), "20261025T030000");
        let again = BackupId::unused(at("20261025T021000"), Some(&newest), free);
        assert!(again > newest);
        // A clock that was wrong by years once.
        let future = BackupId::parse("20400101T000000").unwrap();
        let now = BackupId::unused(at("20261025T021000"), Some(&future), free);
        assert_eq!(now.as_str(), "20261025T021000");
        let taken = BackupId::unused(at("20261025T021000"), None, |id| id.as_str() == "20261025T021000");
        assert_eq!(taken.as_str(), "20261025T021001");
    }
}
