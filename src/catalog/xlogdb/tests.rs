#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::catalog::WalEntry;

/// A server's directories that vanish with the value.
struct Lab {
    root: PathBuf,
    layout: Layout,
}

impl Lab {
    fn new() -> Lab {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("barkeep-xlogdb-{}-{serial}", std::process::id()));
        let layout = Layout::under(&root, "main");
        fs::create_dir_all(&layout.wals).unwrap();
        Lab { root, layout }
    }

    fn db(&self) -> XlogDb {
        XlogDb::at(self.layout.clone(), Detector::default())
    }

    fn wal(&self, name: &str, content: &[u8]) {
        let path = self.layout.wal_path(name).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn text(&self) -> String {
        fs::read_to_string(self.layout.xlogdb_path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.db()
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().name)
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn entry(segment: u32) -> WalEntry {
    WalEntry {
        name: format!("0000000100000000{segment:08X}"),
        size: 16_777_216,
        time: 1_795_208_667.385_924_3,
        compression: Some("gzip".to_owned()),
        encryption: None,
    }
}

#[test]
fn a_line_is_exactly_barmans() {
    assert_eq!(
        entry(0x96).to_line(),
        "000000010000000000000096\t16777216\t1795208667.3859243\tgzip\tNone\n"
    );
}

#[test]
fn appended_entries_are_found_and_removed_ones_are_not() {
    let lab = Lab::new();
    lab.db().append(&[entry(1), entry(2)]).unwrap();
    lab.db().append(&[entry(3)]).unwrap();
    assert_eq!(lab.db().find(&entry(2).name).unwrap(), Some(entry(2)));
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&lab.db().path());
    let removed = lab
        .db()
        .remove_entries(|line| line.name == entry(2).name)
        .unwrap();
    assert_eq!(removed, 1);
    assert_eq!(lab.text(), entry(1).to_line() + &entry(3).to_line());
    // Replaced as a whole, never written in place.
    assert_ne!(inode(&lab.db().path()), before);
}

#[test]
fn a_rewrite_keeps_permissions_and_old_lines_as_they_are() {
    let lab = Lab::new();
    fs::write(
        lab.db().path(),
        "000000010000000000000001 5 6\n000000010000000000000002\t7\t8.5\tgzip\n",
    )
    .unwrap();
    fs::set_permissions(lab.db().path(), PermissionsExt::from_mode(0o640)).unwrap();
    lab.db().remove_entries(|_| false).unwrap();
    assert_eq!(
        lab.text(),
        "000000010000000000000001 5 6\n000000010000000000000002\t7\t8.5\tgzip\n"
    );
    assert_eq!(
        fs::metadata(lab.db().path()).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn a_line_cut_short_is_made_anew_from_its_file() {
    let whole = entry(1).to_line();
    for length in 1..entry(2).to_line().len() {
        let lab = Lab::new();
        lab.wal(&entry(2).name, b"the whole file");
        let cut = entry(2).to_line();
        fs::write(lab.db().path(), format!("{whole}{}", cut.get(..length).unwrap())).unwrap();
        lab.db().append(&[entry(3)]).unwrap();
        let names = lab.names();
        // A name that is cut itself names no file.
        let expected: Vec<String> = if length < 24 { vec![1, 3] } else { vec![1, 2, 3] }
            .into_iter()
            .map(|segment| entry(segment).name)
            .collect();
        assert_eq!(names, expected, "cut after {length} bytes");
        if length >= 24 {
            assert_eq!(lab.db().find(&entry(2).name).unwrap().unwrap().size, 14);
        }
    }
}

#[test]
fn a_cut_line_whose_file_does_not_exist_is_dropped() {
    let lab = Lab::new();
    fs::write(
        lab.db().path(),
        entry(1).to_line() + "000000010000000000000002\t16",
    )
    .unwrap();
    assert_eq!(lab.names(), [entry(1).name]);
}

#[test]
fn a_damaged_line_is_an_error_that_shows_it() {
    let lab = Lab::new();
    fs::write(lab.db().path(), "000000010000000000000001 5\n").unwrap();
    let error = lab.db().find("x").unwrap_err().to_string();
    assert!(error.contains("000000010000000000000001 5"), "{error}");
    assert!(error.contains("rebuild-xlogdb"), "{error}");
}

#[test]
fn a_missing_database_is_rebuilt_from_the_archive() {
    let lab = Lab::new();
    lab.wal("000000010000000000000002", b"two");
    lab.wal("000000010000000000000001", &[0x1f, 0x8b, 0x08, 0, 0, 0]);
    lab.wal("000000010000000000000002.00000028.backup", b"label");
    lab.wal("000000010000000000000003.partial", b"part");
    lab.wal("00000002.history", b"1\t0/1\tx\n");
    // None of these is of the archive.
    fs::write(lab.layout.wals.join("junk"), "x").unwrap();
    fs::create_dir_all(lab.layout.wals.join("elsewhere")).unwrap();
    fs::write(lab.layout.wals.join("elsewhere/000000010000000000000009"), "x").unwrap();
    fs::write(
        lab.layout
            .wals
            .join("0000000100000000/000000010000000000000002.tmp"),
        "x",
    )
    .unwrap();
    assert_eq!(
        lab.names(),
        [
            "000000010000000000000001",
            "000000010000000000000002",
            "000000010000000000000002.00000028.backup",
            "000000010000000000000003.partial",
            "00000002.history",
        ]
    );
    let first = lab.db().find("000000010000000000000001").unwrap().unwrap();
    assert_eq!((first.size, first.compression.as_deref()), (6, Some("gzip")));
    let rebuilt = lab.db().rebuild().unwrap();
    assert_eq!(
        rebuilt,
        Rebuilt {
            histories: 1,
            backup_labels: 1,
            segments: 2,
            partials: 1
        }
    );
}

#[test]
fn the_database_of_an_old_barman_goes_only_when_its_successor_is_there() {
    let lab = Lab::new();
    lab.wal("000000010000000000000001", b"custom bytes");
    let legacy = lab.layout.legacy_xlogdb_path();
    fs::write(&legacy, "000000010000000000000001\t12\t1.0\tcustom\n").unwrap();
    let found = lab.db().find("000000010000000000000001").unwrap().unwrap();
    // The bytes do not tell; the old database did.
    assert_eq!(found.compression.as_deref(), Some("custom"));
    assert!(!legacy.exists());
    assert!(lab.db().path().exists());
}

#[test]
fn a_rebuild_that_fails_leaves_the_old_database() {
    let lab = Lab::new();
    lab.db().append(&[entry(1)]).unwrap();
    // A directory in the place of the new file: it cannot be created, by root neither.
    fs::create_dir(durable::sibling(&lab.db().path(), ".tmp")).unwrap();
    assert!(lab.db().rebuild().is_err());
    assert_eq!(lab.text(), entry(1).to_line());
}

#[test]
fn nobody_reads_while_another_writes() {
    let lab = Lab::new();
    lab.db().append(&(0..200).map(entry).collect::<Vec<_>>()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let db = lab.db();
            scope.spawn(move || {
                for round in 0..20 {
                    db.append(&[entry(1000 + worker * 100 + round)]).unwrap();
                    db.remove_entries(|line| line.name == entry(worker * 20 + round).name)
                        .unwrap();
                }
            });
        }
        let db = lab.db();
        scope.spawn(move || {
            for _ in 0..50 {
                // Always whole lines, never an empty file.
                let count = db.entries().unwrap().map(Result::unwrap).count();
                assert!((116..=284).contains(&count), "{count}");
            }
        });
    });
    assert_eq!(lab.names().len(), 200);
}
