//! The rules of [`select`], one test each.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::postgres::history::History;
use crate::postgres::wal_name::WalKind;
use crate::recovery::timelines::Histories;

const MIB: u64 = 1024 * 1024;

/// Segment n of timeline 1 was closed n seconds after the epoch.
fn closed(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn archive(names: &[&str]) -> Archived {
    let mut archived = Archived::default();
    for name in names {
        let number = WalKind::of(name)
            .and_then(|kind| match kind {
                WalKind::Segment(segment) => Some(u64::from(segment.segment)),
                _ => None,
            })
            .unwrap_or(0);
        let file = ArchivedFile {
            name: (*name).to_owned(),
            path: PathBuf::from(name),
            size: 1,
            modified: closed(number),
        };
        match WalKind::of(name).unwrap() {
            WalKind::Segment(segment) => drop(archived.segments.insert(segment, file)),
            WalKind::Partial(segment) => drop(archived.partials.insert(segment, file)),
            WalKind::BackupLabel(segment) => archived.labels.push((segment, file)),
            WalKind::History(timeline) => drop(archived.histories.insert(timeline, file)),
        }
    }
    archived
}

fn segments(timeline: u32, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| SegmentName::containing(timeline, Lsn(number * MIB), MIB).to_string())
        .collect()
}

fn straight() -> Path {
    Path::new(&Histories::new(), 1, Lsn(2 * MIB), Lsn(3 * MIB), 1).unwrap()
}

fn forked(target: u32) -> Path {
    let mut histories = Histories::new();
    histories.insert(2, History::parse(2, "1\t0/580000\tx\n").unwrap());
    Path::new(&histories, 1, Lsn(2 * MIB), Lsn(3 * MIB), target).unwrap()
}

/// A backup that begins in segment 2 and ends in segment 3.
fn wanted(path: &Path, stop: Stop) -> Wanted<'_> {
    Wanted {
        path,
        begin: SegmentName::containing(1, Lsn(2 * MIB), MIB),
        end: SegmentName::containing(1, Lsn(3 * MIB), MIB),
        end_lsn: Lsn(3 * MIB + 0x138),
        segment_size: MIB,
        stop,
        partial: false,
        standalone: false,
    }
}

fn names(selection: &Selection) -> Vec<String> {
    selection.files.iter().map(|file| file.name.clone()).collect()
}

fn archive_of(names: &[String]) -> Archived {
    archive(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn everything_to_the_end_without_a_hole() {
    let path = straight();
    let archived = archive_of(&segments(1, 1..8));
    let selection = select(&wanted(&path, Stop::Anywhere), &archived).unwrap();
    assert_eq!(names(&selection), segments(1, 2..8));
    assert_eq!(selection.notes, [] as [String; 0]);
}

#[test]
fn the_backups_own_wal_is_always_needed() {
    let path = straight();
    for stop in [
        Stop::BackupEnd,
        Stop::At(Lsn(MIB)),
        Stop::After(closed(0)),
        Stop::Anywhere,
    ] {
        let missing = select(&wanted(&path, stop), &archive_of(&segments(1, [2, 4, 5]))).unwrap_err();
        assert!(
            matches!(
                missing,
                Missing::OfBackup {
                    at_the_end: false,
                    ..
                }
            ),
            "{missing:?}"
        );
        assert!(missing.to_string().contains("000000010000000000000003."));
        let missing = select(&wanted(&path, stop), &archive_of(&segments(1, [2]))).unwrap_err();
        assert!(matches!(missing, Missing::OfBackup { at_the_end: true, .. }));
        assert!(missing.may_still_arrive());
    }
}

#[test]
fn immediate_stops_at_the_end_of_the_backup() {
    let path = straight();
    let selection = select(
        &wanted(&path, Stop::BackupEnd),
        &archive_of(&segments(1, [2, 3, 5])),
    )
    .unwrap();
    assert_eq!(names(&selection), segments(1, 2..4));
}

#[test]
fn a_hole_is_fatal_unless_the_target_is_in_front_of_it() {
    let path = straight();
    let archived = archive_of(&segments(1, [2, 3, 4, 7, 8]));
    let missing = select(&wanted(&path, Stop::Anywhere), &archived).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "WAL between the backup and the recovery target is missing from the archive: 000000010000000000000005, \
         000000010000000000000006. Recovery would end at 0/500000"
    );
    assert!(missing.hint().contains("--target-lsn 0/400000"));
    // In front of the hole, and behind it.
    let selection = select(&wanted(&path, Stop::At(Lsn(4 * MIB + 5))), &archived).unwrap();
    assert_eq!(names(&selection), segments(1, 2..5));
    assert!(select(&wanted(&path, Stop::At(Lsn(5 * MIB))), &archived).is_err());
    assert!(select(&wanted(&path, Stop::At(Lsn(7 * MIB))), &archived).is_err());
    // Segment 4 was closed at second 4.
    let selection = select(&wanted(&path, Stop::After(closed(3))), &archived).unwrap();
    assert_eq!(names(&selection), segments(1, 2..5));
    assert_eq!(selection.notes.len(), 1);
    assert!(select(&wanted(&path, Stop::After(closed(4))), &archived).is_err());
}

#[test]
fn what_the_hint_offers_is_accepted() {
    let path = straight();
    let archived = archive_of(&segments(1, [2, 3, 4, 7, 8]));
    let missing = select(&wanted(&path, Stop::Anywhere), &archived).unwrap_err();
    let Missing::BeforeTarget { certain, .. } = missing else {
        unreachable!()
    };
    assert!(select(&wanted(&path, Stop::At(certain)), &archived).is_ok());
}

#[test]
fn a_target_behind_the_archive_is_named() {
    let path = straight();
    let archived = archive_of(&segments(1, 2..6));
    let missing = select(&wanted(&path, Stop::At(Lsn(0xF_0000_0000))), &archived).unwrap_err();
    assert!(matches!(missing, Missing::TargetBehindEnd { .. }));
    assert!(missing.to_string().ends_with("0/600000"));
    let selection = select(&wanted(&path, Stop::After(closed(99))), &archived).unwrap();
    assert_eq!(selection.notes.len(), 1);
}

#[test]
fn wal_behind_the_segment_of_the_target_is_delivered_for_records_that_continue() {
    let path = straight();
    let archived = archive_of(&segments(1, 2..60));
    let selection = select(&wanted(&path, Stop::At(Lsn(4 * MIB + 5))), &archived).unwrap();
    assert_eq!(names(&selection), segments(1, 2..21));
}

#[test]
fn a_standalone_backup_ends_with_itself() {
    let path = straight();
    let archived = archive_of(&segments(1, [2, 3, 7, 8]));
    let mut wanted = wanted(&path, Stop::Anywhere);
    assert!(select(&wanted, &archived).is_err());
    wanted.standalone = true;
    let selection = select(&wanted, &archived).unwrap();
    assert_eq!(names(&selection), segments(1, 2..4));
    assert_eq!(selection.notes.len(), 1);
    // A hole elsewhere is no consequence of that.
    assert!(select(&wanted, &archive_of(&segments(1, [2, 3, 4, 7]))).is_err());
}

#[test]
fn the_way_leads_from_timeline_to_timeline() {
    let mut all = segments(1, 2..8);
    all.extend(segments(2, 5..9));
    all.push("00000002.history".to_owned());
    all.push("000000010000000000000003.00000028.backup".to_owned());
    all.push("000000010000000000000007.00000028.backup".to_owned());
    let archived = archive_of(&all);
    let path = forked(2);
    let selection = select(&wanted(&path, Stop::Anywhere), &archived).unwrap();
    let mut expected = segments(1, 2..6);
    expected.extend(segments(2, 5..9));
    expected.push("00000002.history".to_owned());
    expected.push("000000010000000000000003.00000028.backup".to_owned());
    expected.sort();
    assert_eq!(names(&selection), expected);
    // The history is delivered even when the way does not use it: PostgreSQL must not take its number again.
    let path = forked(1);
    let selection = select(&wanted(&path, Stop::Anywhere), &archived).unwrap();
    assert!(names(&selection).contains(&"00000002.history".to_owned()));
    assert!(names(&selection).contains(&"000000010000000000000007".to_owned()));
    assert!(!names(&selection).contains(&"000000020000000000000005".to_owned()));
}

#[test]
fn the_segment_of_the_switch_is_the_childs() {
    let path = forked(2);
    // Timeline 1 has segment 5, but only up to the switch: without 2/5, 2/6 cannot be reached.
    let mut all = segments(1, 2..6);
    all.extend(segments(2, 6..9));
    let missing = select(&wanted(&path, Stop::Anywhere), &archive_of(&all)).unwrap_err();
    assert!(
        missing.to_string().contains("000000020000000000000005."),
        "{missing}"
    );
    // In front of the switch it is enough.
    assert!(select(&wanted(&path, Stop::At(Lsn(5 * MIB + 5))), &archive_of(&all)).is_ok());
    assert!(
        select(
            &wanted(&path, Stop::At(Lsn(5 * MIB + 0x8_0001))),
            &archive_of(&all)
        )
        .is_err()
    );
    // Just promoted: nothing of the child has been archived yet.
    assert!(select(&wanted(&path, Stop::Anywhere), &archive_of(&segments(1, 2..6))).is_ok());
    // The ancestor's segment was never completed, as usual.
    let mut all = segments(1, 2..5);
    all.extend(segments(2, 5..9));
    assert!(select(&wanted(&path, Stop::Anywhere), &archive_of(&all)).is_ok());
}

#[test]
fn incomplete_segments_stand_in_at_the_end_only() {
    let path = straight();
    let mut all = segments(1, 2..6);
    all.push("000000010000000000000005.partial".to_owned());
    all.push("000000010000000000000006.partial".to_owned());
    let archived = archive_of(&all);
    let mut wanted = wanted(&path, Stop::Anywhere);
    assert_eq!(select(&wanted, &archived).unwrap().partials, []);
    wanted.partial = true;
    let selection = select(&wanted, &archived).unwrap();
    let partials: Vec<_> = selection.partials.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(partials, ["000000010000000000000006"]);
    assert_eq!(names(&selection), segments(1, 2..6));
}

#[test]
fn a_hole_of_any_size_is_found_at_once() {
    let path = straight();
    let mut all = segments(1, 2..6);
    all.push("00000001FFFFFFFF00000FFF".to_owned());
    let missing = select(&wanted(&path, Stop::Anywhere), &archive_of(&all)).unwrap_err();
    assert!(missing.to_string().contains(" more"));
    let mut wanted = wanted(&path, Stop::Anywhere);
    wanted.end = SegmentName::parse("00000001FFFFFFFF00000FFF").unwrap();
    assert!(select(&wanted, &archive_of(&segments(1, 2..6))).is_err());
}
