//! The segments behind the one that PostgreSQL wants archived which wait for the same.
//!
//! They are found by their names alone: what a directory of 200,000 waiting segments holds would take longer to read than
//! a segment to send. Only whole segments of the same timeline travel ahead. A history file or the label of a backup is
//! rare and small, and the first segment of a new timeline must not overtake the history that explains it.

use std::path::{Path, PathBuf};

use crate::archive::put_wal::base_name;
use crate::postgres::wal_header::valid_segment_size;
use crate::postgres::wal_name::{SegmentName, WalKind};

/// Where PostgreSQL notes which files of the directory above are to be archived.
const STATUS: &str = "archive_status";
/// The most bytes that are sent with one call.
const MOST_BYTES: u64 = 512 << 20;

/// The files that wait behind `first`, in order, without a gap, and at most `limit`. None where `first` is no segment in
/// a directory of PostgreSQL's, or where that directory says nothing of what waits.
pub(super) fn followers(first: &Path, limit: u32) -> Vec<PathBuf> {
    let Some(WalKind::Segment(segment)) = WalKind::of(&base_name(first)) else {
        return Vec::new();
    };
    let (Some(directory), Ok(metadata)) = (first.parent(), first.metadata()) else {
        return Vec::new();
    };
    let size = metadata.len();
    let status = directory.join(STATUS);
    if !valid_segment_size(size) || !is_ready(&status, &base_name(first)) {
        return Vec::new();
    }
    let room = (MOST_BYTES / size).saturating_sub(1).min(u64::from(limit));
    run(directory, segment.next(size), size, room)
}

/// The files that wait behind `last`, which has been sent: as [`followers`].
pub(super) fn behind(last: &Path, limit: u32) -> Vec<PathBuf> {
    let (Some(WalKind::Segment(segment)), Some(directory), Ok(metadata)) =
        (WalKind::of(&base_name(last)), last.parent(), last.metadata())
    else {
        return Vec::new();
    };
    let size = metadata.len();
    if !valid_segment_size(size) {
        return Vec::new();
    }
    run(
        directory,
        segment.next(size),
        size,
        (MOST_BYTES / size).min(u64::from(limit)),
    )
}

/// Whether PostgreSQL has still to ask for this file.
pub(super) fn waits(path: &Path) -> bool {
    path.parent()
        .is_some_and(|directory| is_ready(&directory.join(STATUS), &base_name(path)))
}

/// Whether PostgreSQL has noted that this file is archived.
pub(super) fn is_done(path: &Path) -> bool {
    path.parent().is_some_and(|directory| {
        let name = format!("{}.done", base_name(path));
        directory.join(STATUS).join(name).is_file()
    })
}

fn is_ready(status: &Path, name: &str) -> bool {
    status.join(format!("{name}.ready")).is_file()
}

/// At most `limit` files from the segment `from` on, which are of this size, without a gap.
fn run(directory: &Path, from: SegmentName, size: u64, limit: u64) -> Vec<PathBuf> {
    let status = directory.join(STATUS);
    std::iter::successors(Some(from), |name| Some(name.next(size)))
        .take(usize::try_from(limit).unwrap_or_default())
        .map(|name| name.to_string())
        .take_while(|name| is_ready(&status, name))
        .map(|name| directory.join(name))
        .take_while(|path| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.len() == size)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::sandbox::{SEGMENT_SIZE, Sandbox};

    #[test]
    fn a_run_of_waiting_segments_is_found() {
        let sandbox = Sandbox::new();
        let whole = vec![0; SEGMENT_SIZE];
        let name = |number: u32| format!("0000000100000000{number:08X}");
        for number in 1..=9 {
            let first = sandbox.write(&format!("pg_wal/{}", name(number)), &whole);
            assert!(followers(&first, 9).is_empty(), "nothing says what waits");
        }
        let first = sandbox.root.join("pg_wal").join(name(1));
        let ready = |number: u32| {
            sandbox.write(&format!("pg_wal/archive_status/{}.ready", name(number)), b"");
        };
        [2, 3, 4].into_iter().for_each(ready);
        assert!(followers(&first, 9).is_empty(), "the first does not wait");
        ready(1);
        let found = |limit| -> Vec<String> {
            followers(&first, limit)
                .iter()
                .map(|path| base_name(path))
                .collect()
        };
        assert_eq!(found(9), [name(2), name(3), name(4)]);
        assert_eq!(found(2), [name(2), name(3)]);
        // 5 has been archived; what waits behind it comes later.
        ready(6);
        assert_eq!(found(9).len(), 3);
        // A file that is not whole is none that PostgreSQL has finished.
        sandbox.write(&format!("pg_wal/{}", name(3)), b"short");
        assert_eq!(found(9), [name(2)]);
        let label = sandbox.write(&format!("pg_wal/{}.00000028.backup", name(1)), &whole);
        assert!(followers(&label, 9).is_empty());
    }
}
