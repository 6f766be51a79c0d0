//! What to do with each file: Barman's rules for comparing with the previous backup.
//!
//! Equal in size and time, and older than the start of the previous backup: unchanged. Equal but younger: it could have changed
//! unseen within the resolution of the clock, so its content decides. Different: only what differs is fetched.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use super::plan::Reuse;
use super::records::Known;
use crate::agent::message::{Attributes, Entry, Time};
use crate::postgres::page::{FileKind, Fork, PAGE_SIZE, SEGMENT_PAGES, file_kind, relation_file};

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
    /// The previous backup's file and the pages with a later LSN.
    PagesByLsn,
    /// The previous backup's file and rolling deltas.
    Rolling,
    /// The whole of it.
    Whole,
    /// Nothing of it: it is as the parent has it.
    Stub,
    /// Its changed blocks, by LSN.
    BlocksByLsn,
    /// Its changed blocks, by hash.
    BlocksByHash,
}

/// A relation file as the parent of an incremental backup has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent {
    /// Bytes, rebuilt.
    pub(super) size: u64,
    /// Time of last change.
    pub(super) modified: Time,
    /// Whether its sum is known.
    pub(super) summed: bool,
}

impl From<&Known> for Parent {
    fn from(known: &Known) -> Parent {
        Parent {
            size: known.size,
            modified: known.modified,
            summed: known.sum.is_some(),
        }
    }
}

/// Before a parent began by so much, a file's time is beyond doubt, whatever the resolution of its file system.
const CLOCK_DOUBT: Duration = Duration::from_secs(2);

/// How an incremental backup takes a file; `None` when in the ordinary way, as [`decide`] says. Only main forks of whole
/// blocks that the parent has as well are taken by blocks. `by_lsn`: LSNs tell what changed.
pub(super) fn decide_incremental(
    entry: &Entry,
    parent: Option<Parent>,
    by_lsn: bool,
    horizon: Option<SystemTime>,
) -> Option<Action> {
    let of_blocks = |size: u64| {
        let page = PAGE_SIZE as u64;
        size > 0 && size.is_multiple_of(page) && size / page <= u64::from(SEGMENT_PAGES)
    };
    let main = relation_file(&entry.path).is_some_and(|file| file.fork == Fork::Main);
    let parent = parent.filter(|parent| main && of_blocks(entry.size) && of_blocks(parent.size))?;
    let modified = entry.attributes.modified;
    if entry.size == parent.size && same_time(modified, parent.modified) {
        let horizon = horizon.and_then(|horizon| horizon.checked_sub(CLOCK_DOUBT));
        if horizon.is_some_and(|horizon| modified < time_of(horizon)) {
            return Some(Action::Stub);
        }
    }
    Some(if by_lsn && parent.summed {
        Action::BlocksByLsn
    } else {
        Action::BlocksByHash
    })
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
    fn blocks_of_main_forks_alone() {
        let time = Time {
            seconds: 1_000,
            nanoseconds: 5,
        };
        let later = Time {
            seconds: 1_001,
            ..time
        };
        let parent = Parent {
            size: 8192 * 7,
            modified: time,
            summed: true,
        };
        let began = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let action = |path: &str, size, modified, parent, by_lsn| {
            decide_incremental(&entry(path, size, modified), parent, by_lsn, began(2_000))
        };
        let table = "base/5/16384.1";
        let same = entry(table, parent.size, time);
        assert_eq!(
            action(table, parent.size, time, Some(parent), true),
            Some(Action::Stub)
        );
        assert_eq!(
            decide_incremental(&same, Some(parent), true, began(1_001)),
            Some(Action::BlocksByLsn),
            "changed about when the parent began"
        );
        assert_eq!(
            decide_incremental(&same, Some(parent), true, None),
            Some(Action::BlocksByLsn)
        );
        assert_eq!(
            action(table, parent.size, later, Some(parent), true),
            Some(Action::BlocksByLsn)
        );
        assert_eq!(
            action(table, 8192, time, Some(parent), true),
            Some(Action::BlocksByLsn)
        );
        assert_eq!(
            action(table, 8192, later, Some(parent), false),
            Some(Action::BlocksByHash)
        );
        let unsummed = Parent {
            summed: false,
            ..parent
        };
        assert_eq!(
            action(table, 8192, later, Some(unsummed), true),
            Some(Action::BlocksByHash)
        );
        for (path, size, parent) in [
            (table, 8192, None),
            (table, 0, Some(parent)),
            (table, 8191, Some(parent)),
            (table, (1 << 30) + 8192, Some(parent)),
            (table, 8192, Some(Parent { size: 0, ..parent })),
            (table, 8192, Some(Parent { size: 100, ..parent })),
            ("base/5/16384_fsm", 8192, Some(parent)),
            ("base/5/16384_vm", 8192, Some(parent)),
            ("base/5/16384_init", 8192, Some(parent)),
            ("base/5/pg_filenode.map", 8192, Some(parent)),
            ("pg_xact/0000", 8192, Some(parent)),
            ("global/pg_control", 8192, Some(parent)),
        ] {
            assert_eq!(action(path, size, later, parent, true), None, "{path} {size}");
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
