//! Tests of `archive-wal` on real directories.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::archive::sandbox::{SEGMENT_SIZE, Sandbox, segment};
use crate::base::report::{NoProgress, Progress as Bar, Total};
use crate::catalog::WalEntry;
use crate::config::{WalCompression, WalValidation};
use crate::postgres::wal_header::sample_header;
use crate::postgres::wal_name::SegmentName;

/// Collects the lines.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn push(&self, kind: &str, line: &str) {
        self.0.lock().unwrap().push(format!("{kind}{line}"));
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Reporter for Lines {
    fn info(&self, line: &str) {
        self.push("", line);
    }
    fn warning(&self, line: &str) {
        self.push("WARNING: ", line);
    }
    fn error(&self, line: &str) {
        self.push("ERROR: ", line);
    }
    fn debug(&self, _line: &str) {}
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Bar> {
        Box::new(NoProgress)
    }
}

fn no_hooks() -> HookRunner {
    HookRunner::new("main", Path::new("/etc/barman.conf"), None, [])
}

pub(super) fn run(sandbox: &Sandbox) -> (ArchiveReport, Vec<String>) {
    let lines = Lines::default();
    let report = archive_wal(&sandbox.config, &no_hooks(), Announce::Always, &lines).unwrap();
    (report, lines.take())
}

fn recorded(sandbox: &Sandbox) -> Vec<WalEntry> {
    Catalog::of(&sandbox.config)
        .unwrap()
        .xlogdb()
        .entries()
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

pub(super) fn names(sandbox: &Sandbox) -> Vec<String> {
    recorded(sandbox).into_iter().map(|entry| entry.name).collect()
}

/// The name of the segment with this number.
pub(super) fn wal(number: u32) -> String {
    SegmentName {
        timeline: 1,
        log: 0,
        segment: number,
    }
    .to_string()
}

fn deliver(sandbox: &Sandbox, number: u32) {
    sandbox.write(
        &format!("incoming/{}", wal(number)),
        &segment(&wal(number), number),
    );
}

fn plain(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let path = sandbox.places().archived(name).unwrap();
    let mut reader = wal_codec(&sandbox.config).open_plain(&path).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
    content
}

#[test]
fn every_compression_is_stored_recorded_and_read_back() {
    for compression in [
        None,
        Some(WalCompression::Gzip),
        Some(WalCompression::Pigz),
        Some(WalCompression::Bzip2),
        Some(WalCompression::Xz),
        Some(WalCompression::Zstd),
        Some(WalCompression::Lz4),
        Some(WalCompression::Snappy),
        Some(WalCompression::Custom),
    ] {
        let mut sandbox = Sandbox::new();
        sandbox.config.compression = compression;
        sandbox.config.custom_compression_filter = Some("tr 0-9 5-90-4".to_owned());
        sandbox.config.custom_decompression_filter = match compression {
            Some(WalCompression::Custom) => Some("tr 0-9 5-90-4".to_owned()),
            _ => None,
        };
        for number in 1..4 {
            deliver(&sandbox, number);
        }
        let source = sandbox.root.join("incoming").join(wal(1));
        fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&source).unwrap();
        let (report, lines) = run(&sandbox);
        assert_eq!(report.archived, 3, "{compression:?}");
        assert_eq!(
            lines,
            [
                "Processing xlog segments from file archival for main".to_owned(),
                format!("\t{}", wal(1)),
                format!("\t{}", wal(2)),
                format!("\t{}", wal(3)),
            ]
        );
        assert_eq!(sandbox.list("incoming"), [""; 0]);
        assert_eq!(sandbox.list("wals/0000000100000000"), [wal(1), wal(2), wal(3)]);
        let entries = recorded(&sandbox);
        let expected = compression.map(|_| {
            Catalog::of(&sandbox.config).unwrap();
            wal_codec(&sandbox.config).compression.unwrap().name().to_owned()
        });
        let after = fs::metadata(sandbox.places().archived(&wal(1)).unwrap()).unwrap();
        assert_eq!(entries[0].compression, expected);
        assert_eq!(entries[0].size, after.len());
        assert_eq!(
            (after.mtime(), after.mtime_nsec()),
            (before.mtime(), before.mtime_nsec())
        );
        assert_eq!(after.mode(), before.mode());
        assert_eq!(after.nlink(), 1);
        assert!(plain(&sandbox, &wal(2)) == segment(&wal(2), 2), "{compression:?}");
    }
}

#[test]
fn a_poisoned_duplicate_does_not_block_the_others() {
    let mut sandbox = Sandbox::new();
    sandbox.config.compression = Some(WalCompression::Gzip);
    for number in 1..4 {
        deliver(&sandbox, number);
    }
    run(&sandbox);
    // The same again, something else, and something broken under known names; then new ones and junk.
    deliver(&sandbox, 1);
    sandbox.write(&format!("incoming/{}", wal(2)), &segment(&wal(2), 99));
    sandbox.write(&format!("incoming/{}", wal(3)), b"\x1f\x8b\x08 broken");
    deliver(&sandbox, 4);
    sandbox.write("incoming/junk", b"");
    let (report, lines) = run(&sandbox);
    assert_eq!((report.archived, report.matching), (1, 1));
    assert_eq!(report.duplicates, [wal(2), wal(3)]);
    assert_eq!(
        lines,
        [
            "Processing xlog segments from file archival for main (batch size: 4)".to_owned(),
            format!("\t{}", wal(1)),
            format!("\t{}", wal(2)),
            format!("\tError: {} is already present in server main. File moved to errors directory.", wal(2)),
            format!("\t{}", wal(3)),
            format!("\tError: {} is already present in server main. File moved to errors directory.", wal(3)),
            format!("\t{}", wal(4)),
            "Some unknown objects have been found while processing xlog segments for main. Objects moved to errors directory:"
                .to_owned(),
            "\tjunk".to_owned(),
        ]
    );
    assert_eq!(sandbox.list("incoming"), [""; 0]);
    assert_eq!(names(&sandbox), [wal(1), wal(2), wal(3), wal(4)]);
    let aside = sandbox.list("errors");
    assert_eq!(aside.len(), 3);
    assert!(
        aside[0].ends_with("Z.duplicate") && aside[2].ends_with("Z.unknown"),
        "{aside:?}"
    );
    assert!(
        plain(&sandbox, &wal(2)) == segment(&wal(2), 2),
        "the archive is untouched"
    );
}

#[test]
fn what_a_crash_left_is_completed_by_the_next_run() {
    for compression in [None, Some(WalCompression::Zstd)] {
        let mut sandbox = Sandbox::new();
        sandbox.config.compression = compression;
        deliver(&sandbox, 1);
        run(&sandbox);
        // Between storing and recording: the source is still there, as a link when it was stored as it arrived.
        deliver(&sandbox, 2);
        let archived = sandbox.places().archived(&wal(2)).unwrap();
        let source = sandbox.root.join("incoming").join(wal(2));
        wal_codec(&sandbox.config).compress(&source, &archived).unwrap();
        if compression.is_none() {
            fs::hard_link(&source, &archived).unwrap();
        }
        // Between recording and removing.
        fs::copy(
            sandbox.places().archived(&wal(1)).unwrap(),
            sandbox.root.join("incoming").join(wal(1)),
        )
        .unwrap();
        // While compressing.
        deliver(&sandbox, 3);
        sandbox.write(
            &format!("wals/0000000100000000/{}.compressed.tmp", wal(3)),
            b"half",
        );
        let (report, _) = run(&sandbox);
        assert_eq!(report.failed, []);
        assert_eq!(sandbox.list("incoming"), [""; 0]);
        let mut found = names(&sandbox);
        found.sort();
        assert_eq!(found, [wal(1), wal(2), wal(3)], "each is recorded once");
        assert!(plain(&sandbox, &wal(2)) == segment(&wal(2), 2));
        assert!(plain(&sandbox, &wal(3)) == segment(&wal(3), 3));
        if compression.is_some() {
            assert_eq!(sandbox.list("wals/0000000100000000"), [wal(1), wal(2), wal(3)]);
        }
        assert_eq!(fs::metadata(archived).unwrap().nlink(), 1);
    }
}

#[test]
fn a_segment_that_is_being_copied_waits() {
    let sandbox = Sandbox::new();
    let content = segment(&wal(1), 1);
    sandbox.write(&format!("incoming/{}", wal(1)), &content[..SEGMENT_SIZE / 2]);
    sandbox.write(&format!("incoming/{}", wal(2)), b"");
    let (report, _) = run(&sandbox);
    assert_eq!(report, ArchiveReport::default());
    assert_eq!(sandbox.list("incoming").len(), 2);
    sandbox.write(&format!("incoming/{}", wal(1)), &content);
    assert_eq!(run(&sandbox).0.archived, 1);
    assert_eq!(names(&sandbox), [wal(1)]);
}

#[test]
fn one_file_that_fails_stays_and_the_others_go_on() {
    let mut sandbox = Sandbox::new();
    sandbox.config.compression = Some(WalCompression::Custom);
    sandbox.config.custom_compression_filter = Some(format!("grep -q {} && false || cat", "POISON"));
    sandbox.config.custom_compression_filter =
        Some("f() { case $(head -c 6 \"$1\") in POISON) exit 1;; esac; cat \"$1\"; }; f \"$1\"".to_owned());
    sandbox.config.wal_validation = WalValidation::Off;
    deliver(&sandbox, 1);
    sandbox.write("incoming/00000002.history", b"POISON");
    deliver(&sandbox, 3);
    let (report, lines) = run(&sandbox);
    assert_eq!(report.archived, 2);
    assert_eq!(report.failed.len(), 1);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("ERROR: cannot archive WAL file '00000002.history'")),
        "{lines:?}"
    );
    assert_eq!(sandbox.list("incoming"), ["00000002.history"]);
    assert_eq!(sandbox.list("wals/0000000100000000"), [wal(1), wal(3)]);
}

#[test]
fn hooks_see_each_file_before_and_after() {
    let mut sandbox = Sandbox::new();
    sandbox.config.compression = Some(WalCompression::Gzip);
    let log = sandbox.root.join("hooks").display().to_string();
    let script = format!(
        "echo $BARMAN_PHASE $BARMAN_SEGMENT $(test -e $BARMAN_FILE && echo there) $BARMAN_SIZE \"[$BARMAN_COMPRESSION]\" >> {log}"
    );
    let hooks = HookRunner::new(
        "main",
        Path::new("/etc/barman.conf"),
        None,
        [
            ("pre_archive_script", script.as_str()),
            ("post_archive_script", script.as_str()),
        ],
    );
    deliver(&sandbox, 1);
    deliver(&sandbox, 2);
    archive_wal(&sandbox.config, &hooks, Announce::WhenBusy, &Lines::default()).unwrap();
    let size = |number| {
        fs::metadata(sandbox.places().archived(&wal(number)).unwrap())
            .unwrap()
            .len()
    };
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        format!(
            "pre {0} there {SEGMENT_SIZE} []\npost {0} there {2} [gzip]\npre {1} there {SEGMENT_SIZE} []\npost {1} there {3} [gzip]\n",
            wal(1),
            wal(2),
            size(1),
            size(2)
        )
    );
    // 63 leaves the file and what follows for later.
    deliver(&sandbox, 3);
    let stop = HookRunner::new(
        "main",
        Path::new("/x"),
        None,
        [("pre_archive_retry_script", "exit 63")],
    );
    let report = archive_wal(&sandbox.config, &stop, Announce::WhenBusy, &Lines::default()).unwrap();
    assert_eq!(report, ArchiveReport::default());
    assert_eq!(sandbox.list("incoming"), [wal(3)]);
}

#[test]
fn only_one_run_at_a_time_and_quiet_when_idle() {
    let mut sandbox = Sandbox::new();
    sandbox.config.streaming_archiver = true;
    let lines = Lines::default();
    archive_wal(&sandbox.config, &no_hooks(), Announce::WhenBusy, &lines).unwrap();
    assert_eq!(lines.take(), [""; 0]);
    assert_eq!(
        run(&sandbox).1,
        [
            "Processing xlog segments from streaming for main",
            "\tno file found",
            "Processing xlog segments from file archival for main",
            "\tno file found",
        ]
    );
    deliver(&sandbox, 1);
    let held = Catalog::of(&sandbox.config)
        .unwrap()
        .locks()
        .archive_wal()
        .unwrap();
    let (report, lines) = run(&sandbox);
    assert!(report.busy);
    assert_eq!(
        lines,
        ["Another archive-wal process is already running on server main. Skipping to the next server"]
    );
    drop(held);
    assert_eq!(run(&sandbox).0.archived, 1);
}

#[test]
fn runs_at_the_same_time_store_everything_once() {
    let sandbox = Sandbox::new();
    for number in 1..40 {
        deliver(&sandbox, number);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| run(&sandbox));
        }
    });
    let mut found = names(&sandbox);
    found.sort();
    assert_eq!(found, (1..40).map(wal).collect::<Vec<_>>());
    assert_eq!(sandbox.list("incoming"), [""; 0]);
}

/// The server's backups are of this cluster, and of PostgreSQL 15, as the segments of the sandbox are.
pub(super) fn identify(sandbox: &Sandbox, system_identifier: &str, version: &str) {
    let identity = crate::catalog::Identity {
        systemid: Some(system_identifier.to_owned()),
        version: Some(version.to_owned()),
    };
    Catalog::of(&sandbox.config)
        .unwrap()
        .save_identity(&identity)
        .unwrap();
}

/// A segment whose only record is a switch: nothing else is in it.
fn switched(name: &str) -> Vec<u8> {
    let mut content = sample_header(name, u32::try_from(SEGMENT_SIZE).unwrap(), 42);
    let mut record = [0_u8; 24];
    record[0] = 24;
    record[16] = 0x40;
    let crc = crc32c::crc32c(&record[..20]);
    record[20..].copy_from_slice(&crc.to_le_bytes());
    content.extend(record);
    content.resize(SEGMENT_SIZE, 0);
    content
}

#[test]
fn damaged_and_foreign_segments_are_put_aside_with_the_reason() {
    for compression in [None, Some(WalCompression::Zstd)] {
        let mut sandbox = Sandbox::new();
        sandbox.config.compression = compression;
        identify(&sandbox, "42", "15");
        deliver(&sandbox, 1);
        // Another place's, another cluster's, nobody's, too long, a broken history, an incomplete one.
        sandbox.write(&format!("incoming/{}", wal(2)), &segment(&wal(9), 2));
        let mut foreign = segment(&wal(3), 3);
        foreign[24] = 43;
        sandbox.write(&format!("incoming/{}", wal(3)), &foreign);
        sandbox.write(&format!("incoming/{}", wal(4)), &vec![0; SEGMENT_SIZE]);
        let mut long = segment(&wal(5), 5);
        long.push(0);
        sandbox.write(&format!("incoming/{}", wal(5)), &long);
        sandbox.write("incoming/00000002.history", b"nonsense");
        sandbox.write("incoming/00000003.history", b"");
        // Compressed by the sender: looked into all the same.
        let packed = zstd::encode_all(segment(&wal(9), 6).as_slice(), 1).unwrap();
        sandbox.write(&format!("incoming/{}", wal(6)), &packed);
        sandbox.write(&format!("incoming/{}", wal(7)), &packed[..20]);
        deliver(&sandbox, 8);
        let (report, lines) = run(&sandbox);
        assert_eq!(report.archived, 2, "{lines:#?}");
        assert_eq!(
            report.rejected,
            [
                "00000002.history".to_owned(),
                wal(2),
                wal(3),
                wal(4),
                wal(5),
                wal(6)
            ]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
        );
        assert_eq!(names(&sandbox), [wal(1), wal(8)]);
        assert_eq!(sandbox.list("incoming"), [wal(7), "00000003.history".to_owned()]);
        let aside = sandbox.list("errors");
        assert_eq!(aside.len(), 12, "{aside:?}");
        let reason = |name: &str| {
            let file = aside
                .iter()
                .find(|file| file.starts_with(name) && file.ends_with(".reason"));
            fs::read_to_string(sandbox.root.join("errors").join(file.unwrap())).unwrap()
        };
        assert!(
            reason(&wal(2)).starts_with("its first page is the one of 0/900000"),
            "{}",
            reason(&wal(2))
        );
        assert!(reason(&wal(3)).contains("system identifier 43"));
        assert!(
            aside
                .iter()
                .any(|file| file.starts_with(&wal(3)) && file.ends_with(".foreign"))
        );
        assert!(reason(&wal(5)).contains("1048577 bytes"));
        let line = format!(
            "ERROR: {} is damaged: it does not begin as a WAL segment does. File moved to errors directory of server main.",
            wal(4)
        );
        assert!(lines.contains(&line), "{lines:#?}");
    }
}

#[test]
fn another_version_is_foreign_and_off_looks_at_nothing() {
    let mut sandbox = Sandbox::new();
    identify(&sandbox, "42", "16");
    deliver(&sandbox, 1);
    assert_eq!(run(&sandbox).0.rejected, [wal(1)]);
    sandbox.config.wal_validation = WalValidation::Off;
    deliver(&sandbox, 2);
    sandbox.write(&format!("incoming/{}", wal(3)), b"anything");
    assert_eq!(run(&sandbox).0.archived, 2);
}

#[test]
fn records_are_checked_when_that_is_asked_for() {
    let mut sandbox = Sandbox::new();
    sandbox.config.wal_validation = WalValidation::Full;
    sandbox.config.compression = Some(WalCompression::Gzip);
    sandbox.write(&format!("incoming/{}", wal(1)), &switched(&wal(1)));
    let mut broken = switched(&wal(2));
    broken[44] ^= 1;
    sandbox.write(&format!("incoming/{}", wal(2)), &broken);
    let mut short = switched(&wal(3));
    short.truncate(SEGMENT_SIZE / 2);
    let packed = zstd::encode_all(short.as_slice(), 1).unwrap();
    sandbox.write(&format!("incoming/{}", wal(3)), &packed);
    // Where a timeline ends, its last segment does.
    let mut ended = switched(&wal(4));
    ended[40..64].fill(0);
    sandbox.write(&format!("incoming/{}", wal(4)), &ended);
    let (report, lines) = run(&sandbox);
    assert_eq!(report.rejected, [wal(2), wal(3), wal(4)], "{lines:#?}");
    sandbox.write(&format!("incoming/{}", wal(4)), &ended);
    sandbox.write(
        "incoming/00000002.history",
        b"1\t0/400028\tno recovery target specified\n",
    );
    let (report, lines) = run(&sandbox);
    assert_eq!((report.archived, report.rejected.len()), (2, 0), "{lines:#?}");
}

#[test]
fn many_files_keep_their_order() {
    let mut sandbox = Sandbox::new();
    sandbox.config.compression = Some(WalCompression::Lz4);
    let count = 150;
    for number in 1..=count {
        deliver(&sandbox, number);
    }
    let expected: Vec<String> = (1..=count).map(wal).collect();
    let (report, lines) = run(&sandbox);
    assert_eq!(report.archived, expected.len());
    assert_eq!(names(&sandbox), expected);
    let shown: Vec<&str> = lines.iter().skip(1).map(|line| line.trim_start()).collect();
    assert_eq!(shown, expected);
    assert_eq!(sandbox.list("incoming"), [""; 0]);
    assert_eq!(sandbox.list("wals/0000000100000000"), expected);
}
