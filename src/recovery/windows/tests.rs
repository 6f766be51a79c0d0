//! Surveys of archives on disk: only names matter.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::archive::archive_wal::errors_directory::REASON;
use crate::catalog::Layout;
use crate::codec::{CustomMagic, Detector};

struct Sandbox {
    home: PathBuf,
    catalog: Catalog,
}

impl Sandbox {
    fn new(name: &str) -> Sandbox {
        let home = std::env::temp_dir().join(format!("barkeep-windows-{name}-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let catalog = Catalog::at(Layout::under(&home, "main"), Detector::new(CustomMagic::Unused));
        catalog.create_directories().unwrap();
        fs::write(catalog.xlogdb().path(), "").unwrap();
        Sandbox { home, catalog }
    }

    fn wal(&self, timeline: Timeline, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let path = archived(&self.catalog.layout().wals, name(timeline, number));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn history(&self, timeline: Timeline, text: &str) {
        let path = self.catalog.layout().wals.join(History::file_name(timeline));
        fs::write(path, text).unwrap();
    }

    fn backup(&self, id: &str, timeline: Timeline, begin: u32, end: u32) -> BackupId {
        let mut info = BackupInfo::empty(BackupId::parse(id).unwrap());
        info.begin_wal = Some(name(timeline, begin));
        info.end_wal = Some(name(timeline, end));
        info.begin_xlog = Some(Lsn((u64::from(begin) << 24) + 0x28));
        info.end_xlog = Some(Lsn((u64::from(end) << 24) + 0x138));
        info.timeline = Some(timeline);
        info.status = BackupStatus::Done;
        self.catalog.save(&info).unwrap();
        info.id
    }

    fn survey(&self) -> Survey {
        let backups = self.catalog.backups().unwrap();
        survey(&ServerConfig::default(), &self.catalog, &backups).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn name(timeline: Timeline, number: u32) -> SegmentName {
    SegmentName {
        timeline,
        log: 0,
        segment: number,
    }
}

/// Timeline, first and last position, cut: of each window.
fn windows(survey: &Survey, index: usize) -> Vec<(Timeline, u64, u64, bool)> {
    survey.backups[index]
        .windows
        .iter()
        .map(|window| {
            (
                window.timeline,
                window.from.lsn.0 >> 24,
                window.to.lsn.0 >> 24,
                window.cut,
            )
        })
        .collect()
}

fn gaps(survey: &Survey) -> Vec<(SegmentName, SegmentName, usize)> {
    survey
        .gaps
        .iter()
        .map(|gap| (gap.first, gap.last, gap.backups.len()))
        .collect()
}

#[test]
fn a_gap_ends_the_windows_of_the_backups_before_it() {
    let sandbox = Sandbox::new("gap");
    sandbox.backup("20260101T000000", 1, 2, 3);
    sandbox.backup("20260102T000000", 1, 5, 5);
    sandbox.backup("20260103T000000", 1, 12, 13);
    sandbox.wal(1, (2..=8).chain(11..=20));
    let survey = sandbox.survey();
    assert_eq!(windows(&survey, 0), [(1, 3, 9, true)]);
    assert_eq!(windows(&survey, 1), [(1, 5, 9, true)]);
    assert_eq!(windows(&survey, 2), [(1, 13, 21, false)]);
    assert_eq!(gaps(&survey), [(name(1, 9), name(1, 10), 2)]);
    assert_eq!(survey.gaps[0].causes, [(Cause::NeverArrived, 2)]);
    assert_eq!(
        survey.gaps[0].to_string(),
        "timeline 1: 000000010000000000000009 to 00000001000000000000000A are missing (2 segments): never arrived"
    );
    // What waits is not missing, and what comes closes the gap.
    fs::write(
        sandbox.catalog.layout().incoming.join(name(1, 9).to_string()),
        b"",
    )
    .unwrap();
    assert_eq!(gaps(&sandbox.survey()), [(name(1, 10), name(1, 10), 2)]);
    sandbox.wal(1, [10]);
    let survey = sandbox.survey();
    assert_eq!(gaps(&survey), []);
    assert_eq!(windows(&survey, 0), [(1, 3, 21, false)]);
}

#[test]
fn what_no_backup_needs_is_no_gap() {
    let sandbox = Sandbox::new("old");
    // Kept for itself: its later WAL went with the retention policy.
    let id = sandbox.backup("20260101T000000", 1, 2, 3);
    sandbox
        .catalog
        .set_keep_target(&id, KeepTarget::Standalone)
        .unwrap();
    sandbox.backup("20260102T000000", 1, 12, 13);
    sandbox.wal(1, (2..=3).chain(7..=7).chain(12..=20));
    let survey = sandbox.survey();
    assert_eq!(gaps(&survey), []);
    assert_eq!(windows(&survey, 0), [(1, 3, 4, false)]);
    assert_eq!(windows(&survey, 1), [(1, 13, 21, false)]);
    assert_eq!(Sandbox::new("none").survey(), Survey::default());
}

#[test]
fn timelines_go_on_where_their_histories_say() {
    let sandbox = Sandbox::new("timelines");
    sandbox.backup("20260101T000000", 1, 2, 3);
    sandbox.backup("20260102T000000", 2, 8, 8);
    sandbox.wal(1, 2..=5);
    // Left in the middle of segment 6, which the old primary never archived.
    sandbox.history(2, "1\t0/6000100\tno recovery target specified\n");
    sandbox.wal(2, 6..=10);
    // A timeline of which nothing has been archived yet.
    sandbox.history(3, "1\t0/6000100\tx\n2\t0/9000000\tx\n");
    let survey = sandbox.survey();
    assert_eq!(gaps(&survey), []);
    assert_eq!(windows(&survey, 0), [(1, 3, 6, false), (2, 6, 11, false)]);
    assert_eq!(windows(&survey, 1), [(2, 8, 11, false)]);
    // The last segment before the switch.
    fs::remove_file(archived(&sandbox.catalog.layout().wals, name(1, 5))).unwrap();
    fs::write(
        sandbox.catalog.xlogdb().path(),
        "000000010000000000000005\t1\t1.0\tNone\tNone\n",
    )
    .unwrap();
    let survey = sandbox.survey();
    assert_eq!(gaps(&survey), [(name(1, 5), name(1, 5), 1)]);
    assert_eq!(survey.gaps[0].causes, [(Cause::Removed, 1)]);
    assert_eq!(windows(&survey, 0), [(1, 3, 5, false)]);
    // The first one behind it.
    sandbox.wal(1, [5]);
    fs::remove_file(archived(&sandbox.catalog.layout().wals, name(2, 6))).unwrap();
    let aside = sandbox
        .catalog
        .layout()
        .errors
        .join("000000020000000000000006.20260101T000000Z.damaged");
    fs::write(&aside, b"").unwrap();
    fs::write(aside.with_extension(format!("damaged{REASON}")), "broken\n").unwrap();
    let survey = sandbox.survey();
    assert_eq!(gaps(&survey), [(name(2, 6), name(2, 6), 1)]);
    assert!(
        survey.gaps[0].to_string().ends_with(".damaged\": broken"),
        "{}",
        survey.gaps[0]
    );
    assert_eq!(windows(&survey, 0), [(1, 3, 6, false)]);
}

#[test]
fn a_backup_without_its_own_wal_says_so() {
    let sandbox = Sandbox::new("own");
    sandbox.backup("20260101T000000", 1, 2, 4);
    sandbox.wal(1, [2, 3]);
    let survey = sandbox.survey();
    assert_eq!(survey.backups[0].windows, []);
    assert!(
        survey.backups[0]
            .problem
            .as_deref()
            .unwrap()
            .starts_with("000000010000000000000004 is not")
    );
    assert_eq!(gaps(&survey), [(name(1, 4), name(1, 4), 1)]);
}

#[test]
fn what_lies_between_two_clusters_is_no_gap() {
    use crate::postgres::wal_header::sample_header;
    let sandbox = Sandbox::new("clusters");
    let of = |cluster: u64, numbers: std::ops::RangeInclusive<u32>| {
        sandbox.wal(1, numbers.clone());
        for number in numbers {
            let path = archived(&sandbox.catalog.layout().wals, name(1, number));
            fs::write(
                path,
                sample_header(&name(1, number).to_string(), 1 << 24, cluster),
            )
            .unwrap();
        }
    };
    let backup = |id: &str, begin: u32, cluster: &str| {
        let id = sandbox.backup(id, 1, begin, begin);
        let mut info = sandbox.catalog.backups().unwrap().remove(&id).unwrap();
        info.systemid = Some(cluster.to_owned());
        sandbox.catalog.save(&info).unwrap();
    };
    of(42, 1..=5);
    of(43, 7..=9);
    backup("20240101T000000", 2, "42");
    let before = sandbox.survey();
    assert_eq!(before.gaps.len(), 1, "all that is known is that 6 is missing");
    backup("20240102T000000", 8, "43");
    let survey = sandbox.survey();
    assert_eq!(survey.gaps, []);
    assert_eq!(windows(&survey, 0), [(1, 2, 6, false)]);
    assert_eq!(windows(&survey, 1), [(1, 8, 10, false)]);
    // A hole before the upgrade is one.
    fs::remove_file(archived(&sandbox.catalog.layout().wals, name(1, 4))).unwrap();
    let survey = sandbox.survey();
    assert_eq!((survey.gaps.len(), survey.gaps[0].first), (1, name(1, 4)));
    assert_eq!(windows(&survey, 0), [(1, 2, 4, true)]);
}
