//! What to do with each file: Barman's rules for comparing with the previous backup.
//!
//! Equal in size and time, and older than the start of the previous backup: unchanged. Equal but younger: it could have changed
//! unseen within the resolution of the clock, so its content decides. Different: only what differs is fetched.

use std::fs::Metadata;
use std::time::SystemTime;

use super::plan::Reuse;
use crate::agent::message::{Attributes, Entry, Time};
use crate::postgres::page::{FileKind, file_kind};

/// Files shorter than this are fetched whole: describing the old one costs as much.
const ROLLING_FROM: u64 = 32 << 10;

/// How a file gets into the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// From the previous backup, unseen.
    Reuse,
    /// From the previous backup, if the content is equal.
    Compare,
    /// The previous backup's file and the pages that differ.
    Pages,
    /// The previous backup's file and rolling deltas.
    Rolling,
    /// The whole of it.
    Whole,
}

/// Decides about one file. `reference` is the previous backup's file of the same name, if it is a regular file.
pub(super) fn decide(
    entry: &Entry,
    reference: Option<&Metadata>,
    reuse: Reuse,
    safe_horizon: Option<SystemTime>,
) -> Action {
    let Some(reference) = reference.filter(|_| reuse != Reuse::Off) else {
        return Action::Whole;
    };
    if entry.size == reference.len() && same_time(entry.attributes.modified, Time::modified(reference)) {
        let safe = safe_horizon.is_some_and(|horizon| is_before(entry.attributes.modified, horizon));
        return if safe { Action::Reuse } else { Action::Compare };
    }
    delta_for(entry, reference.len())
}

/// How a file that differs is fetched.
pub(super) fn delta_for(entry: &Entry, reference_size: u64) -> Action {
    if reference_size == 0 || entry.size == 0 {
        return Action::Whole;
    }
    match file_kind(&entry.path) {
        FileKind::Relation { .. } | FileKind::Blocks => Action::Pages,
        FileKind::Other if entry.size.min(reference_size) >= ROLLING_FROM => Action::Rolling,
        FileKind::Other => Action::Whole,
    }
}

/// Whether a file that is the same may be the same inode: permissions and time must agree too.
pub(super) fn linkable(attributes: Attributes, reference: &Metadata) -> bool {
    let old = Attributes::of(reference);
    old.mode == attributes.mode && same_time(attributes.modified, old.modified)
}

/// To the nanosecond where both sides have it: a copy made by an older tool, or on another file system, has whole seconds.
fn same_time(one: Time, other: Time) -> bool {
    one.seconds == other.seconds
        && (one.nanoseconds == other.nanoseconds || one.nanoseconds == 0 || other.nanoseconds == 0)
}

/// Whether a file's time lies before a moment.
pub(super) fn is_before(modified: Time, moment: SystemTime) -> bool {
    modified < time_of(moment)
}

fn time_of(time: SystemTime) -> Time {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Time {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        },
        Err(_) => Time::default(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::message::EntryKind;
    use std::time::Duration;

    fn entry(path: &str, size: u64, modified: Time) -> Entry {
        Entry {
            path: path.as_bytes().into(),
            kind: EntryKind::File,
            size,
            attributes: Attributes {
                mode: 0o600,
                modified,
            },
        }
    }

    #[test]
    fn barmans_rules() {
        let path = std::env::temp_dir().join(format!(".barkeep-compare-{}", std::process::id()));
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let reference = std::fs::metadata(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let time = Time::modified(&reference);
        let modified = reference.modified().unwrap();
        let after = Some(modified + Duration::from_nanos(1));
        let decide_with = |entry: &Entry, horizon| decide(entry, Some(&reference), Reuse::Link, horizon);

        let same = entry("base/5/16384", 100_000, time);
        assert_eq!(decide_with(&same, after), Action::Reuse);
        assert_eq!(
            decide_with(&same, Some(modified)),
            Action::Compare,
            "a tie is not safe"
        );
        assert_eq!(decide_with(&same, None), Action::Compare);
        assert_eq!(decide(&same, None, Reuse::Link, after), Action::Whole);
        assert_eq!(decide(&same, Some(&reference), Reuse::Off, after), Action::Whole);

        let nanosecond = Time {
            nanoseconds: time.nanoseconds ^ 1,
            ..time
        };
        if time.nanoseconds > 1 {
            assert_eq!(
                decide_with(&entry("base/5/16384", 100_000, nanosecond), after),
                Action::Pages
            );
        }
        let whole_second = Time {
            nanoseconds: 0,
            ..time
        };
        assert_eq!(
            decide_with(&entry("base/5/16384", 100_000, whole_second), after),
            Action::Reuse
        );
        assert_eq!(
            decide_with(&entry("base/5/16384", 99_999, time), after),
            Action::Pages
        );
        assert_eq!(
            decide_with(&entry("server.log", 99_999, time), after),
            Action::Rolling
        );
        assert_eq!(decide_with(&entry("PG_VERSION", 3, time), after), Action::Whole);
        assert_eq!(decide_with(&entry("base/5/16384", 0, time), after), Action::Whole);
    }
}
