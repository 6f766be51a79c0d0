#![allow(clippy::unwrap_used)]
use super::*;
use crate::catalog::{BackupStatus, Layout};
use crate::codec::Detector;

fn backup(id: &str, timeline: u32, first: &str, last: &str) -> BackupInfo {
    let mut info = BackupInfo::empty(BackupId::from_file_name(id).unwrap());
    info.status = BackupStatus::Done;
    info.timeline = Some(timeline);
    info.begin_wal = SegmentName::parse(first);
    info.end_wal = SegmentName::parse(last);
    info
}

fn lab(lines: &str) -> (Catalog, std::path::PathBuf) {
    let name = std::thread::current()
        .name()
        .unwrap_or_default()
        .replace("::", "-");
    let root = std::env::temp_dir().join(format!("barkeep-{name}-{}", std::process::id()));
    let layout = Layout::under(&root, "main");
    std::fs::create_dir_all(&layout.wals).unwrap();
    std::fs::write(layout.xlogdb_path(), lines).unwrap();
    (Catalog::at(layout, Detector::default()), root)
}

#[test]
fn each_segment_counts_for_the_backups_that_need_it() {
    let lines = "\
000000010000000000000001\t1\t10.0
000000010000000000000002\t10\t20.0
000000010000000000000002.00000028.backup\t5\t20.0
000000010000000000000003\t100\t30.0
000000010000000000000004\t1000\t40.0
000000010000000000000005.partial\t7\t45.0
00000002.history\t41\t50.0
000000020000000000000005\t10000\t60.0
000000020000000000000006\t100000\t70.0
";
    let (catalog, root) = lab(lines);
    let backups: Backups = [
        backup("a", 1, "000000010000000000000002", "000000010000000000000003"),
        // Begins in the segment that the other ends in.
        backup("b", 1, "000000010000000000000003", "000000010000000000000004"),
        backup("c", 2, "000000020000000000000005", "000000020000000000000005"),
    ]
    .into_iter()
    .map(|info| (info.id.clone(), info))
    .collect();
    let figures = catalog.wal_figures(&backups).unwrap();
    let of = |id: &str| figures.get(&BackupId::from_file_name(id).unwrap()).unwrap();
    assert_eq!(of("a").required, WalSum { count: 2, size: 110 });
    assert_eq!(of("a").until_next, WalSum { count: 1, size: 1000 });
    assert_eq!(of("a").last.as_deref(), Some("000000010000000000000004"));
    assert!((of("a").segments_per_second() - 3.0 / 20.0).abs() < 1e-9);
    // Nothing of the newer timeline belongs to it.
    assert_eq!(of("b").until_next, WalSum::default());
    assert_eq!(
        of("c").required,
        WalSum {
            count: 1,
            size: 10_000
        }
    );
    assert_eq!(
        of("c").until_next,
        WalSum {
            count: 1,
            size: 100_000
        }
    );
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_name_that_is_not_of_the_wal_is_an_error_with_a_hint() {
    let (catalog, root) = lab("junk\t1\t2.0\n");
    let info = backup("a", 1, "000000010000000000000002", "000000010000000000000003");
    let backups = Backups::from([(info.id.clone(), info)]);
    let error = catalog.wal_figures(&backups).unwrap_err().to_string();
    assert!(error.contains("invalid WAL segment name 'junk'"), "{error}");
    assert!(error.contains("barman rebuild-xlogdb main"), "{error}");
    std::fs::remove_dir_all(root).unwrap();
}
