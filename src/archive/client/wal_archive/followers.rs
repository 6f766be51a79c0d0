//! The segments behind the one that PostgreSQL wants archived which wait for the same.
//!
//! They are found by their names alone: what a directory of 200,000 waiting segments holds would take longer to read than
//! a segment to send. Only whole segments of the same timeline travel ahead. A history file or the label of a backup is
//! rare and small, and the first segment of a new timeline must not overtake the history that explains it.

use std::path::{Path, PathBuf};

use crate::archive::put_wal::base_name;
use crate::postgres::wal_header::valid_segment_size;
use crate::postgres::wal_name::WalKind;

/// The most bytes that are sent with one call.
const MOST_BYTES: u64 = 512 << 20;

/// The files that wait behind `first`, in order, without a gap, and at most `limit`. None where `first` is no segment in
/// a directory of PostgreSQL's, or where that directory says nothing of what waits.
pub(super) fn followers(first: &Path, limit: u32) -> Vec<PathBuf> {
    if waits(first) {
        run_behind(first, limit, 1)
    } else {
        Vec::new()
    }
}

/// The same behind `last`, which has been sent.
pub(super) fn behind(last: &Path, limit: u32) -> Vec<PathBuf> {
    run_behind(last, limit, 0)
}

/// Whether PostgreSQL has still to ask for this file.
pub(super) fn waits(path: &Path) -> bool {
    has_status(path, "ready")
}

/// Whether PostgreSQL has noted that this file is archived.
pub(super) fn is_done(path: &Path) -> bool {
    has_status(path, "done")
}

fn has_status(path: &Path, status: &str) -> bool {
    path.parent().is_some_and(|directory| {
        let name = format!("{}.{status}", base_name(path));
        directory.join("archive_status").join(name).is_file()
    })
}

/// The files behind a segment, for a delivery that holds so many others already.
fn run_behind(path: &Path, limit: u32, others: u64) -> Vec<PathBuf> {
    let (Some(WalKind::Segment(segment)), Some(directory), Ok(metadata)) =
        (WalKind::of(&base_name(path)), path.parent(), path.metadata())
    else {
        return Vec::new();
    };
    let size = metadata.len();
    if !valid_segment_size(size) {
        return Vec::new();
    }
    let room = (MOST_BYTES / size).saturating_sub(others).min(u64::from(limit));
    std::iter::successors(Some(segment.next(size)), |name| Some(name.next(size)))
        .take(usize::try_from(room).unwrap_or_default())
        .map(|name| directory.join(name.to_string()))
        .take_while(|path| {
            waits(path)
                && path
                    .metadata()
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
