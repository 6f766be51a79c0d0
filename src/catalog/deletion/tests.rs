#![allow(clippy::unwrap_used)]
use std::sync::Mutex;

use super::*;
use crate::base::directory;
use crate::base::report::{NoProgress, Progress, Total};
use crate::catalog::{KeepTarget, Layout, enforcement, fixture};
use crate::codec::Detector;
use crate::postgres::wal_name::SegmentName;

/// Remembers the lines.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn add(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }

    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Reporter for Lines {
    fn info(&self, line: &str) {
        self.add(line);
    }
    fn warning(&self, line: &str) {
        self.add(&format!("WARNING: {line}"));
    }
    fn error(&self, line: &str) {
        self.add(&format!("ERROR: {line}"));
    }
    fn debug(&self, _line: &str) {}
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
        Box::new(NoProgress)
    }
}

/// Three backups a day apart, each with a segment of its own and two more before the next: 2, 5, 8 of 1 to 10.
struct Lab {
    root: PathBuf,
    catalog: Catalog,
    config: ServerConfig,
    lines: Lines,
}

const IDS: [&str; 3] = ["20260101T000000", "20260102T000000", "20260103T000000"];

impl Lab {
    fn new(name: &str) -> Lab {
        let root = std::env::temp_dir().join(format!("barkeep-deletion-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let catalog = Catalog::at(Layout::under(&root, "main"), Detector::default());
        catalog.create_directories().unwrap();
        for (number, id) in (0u32..).zip(IDS) {
            let mut info = BackupInfo::empty(BackupId::parse(id).unwrap());
            info.status = BackupStatus::Done;
            info.mode = Some("postgres".to_owned());
            info.timeline = Some(1);
            info.begin_wal = SegmentName::parse(&segment(2 + 3 * number));
            info.end_wal = info.begin_wal;
            info.end_time = calendar::parse("2026-01-01 00:05:00+00:00");
            catalog.save(&info).unwrap();
            let data = catalog.layout().data_dir(&info.id);
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        }
        for number in 1..=10 {
            fixture::archive(&catalog, &segment(number));
        }
        let config = ServerConfig {
            name: "main".to_owned(),
            ..ServerConfig::default()
        };
        Lab {
            root,
            catalog,
            config,
            lines: Lines::default(),
        }
    }

    fn hooks(&self) -> HookRunner {
        HookRunner::of_server(&self.config, Path::new("/etc/barman.conf"))
    }

    fn delete(&self, index: usize) -> Result<(), DeletionError> {
        let hooks = self.hooks();
        Deletion::by_operator(&self.catalog, &self.config, &hooks, &self.lines).run(&id(index))
    }

    fn enforce(&self) {
        enforcement::enforce(&self.catalog, &self.config, &self.hooks(), &self.lines).unwrap();
    }

    fn status(&self, index: usize) -> Option<BackupStatus> {
        self.catalog.load(&id(index)).unwrap().map(|info| info.status)
    }

    /// The segments in the database; each is also on disk, and no other.
    fn segments(&self) -> Vec<u32> {
        let recorded: Vec<u32> = (1..=10)
            .filter(|number| self.catalog.xlogdb().find(&segment(*number)).unwrap().is_some())
            .collect();
        for number in 1..=10 {
            let there = self.catalog.layout().wal_path(&segment(number)).unwrap().exists();
            assert_eq!(there, recorded.contains(&number), "segment {number}");
        }
        recorded
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn id(index: usize) -> BackupId {
    BackupId::parse(IDS.get(index).unwrap()).unwrap()
}

#[test]
fn the_oldest_takes_its_wal_along_and_the_others_none() {
    let lab = Lab::new("oldest");
    lab.delete(1).unwrap();
    assert_eq!(lab.segments().len(), 10);
    lab.delete(0).unwrap();
    assert_eq!(lab.segments(), [8, 9, 10]);
    assert!(
        lab.lines
            .all()
            .contains("Delete associated WAL segments:\n\t000000010000000000000001\n")
    );
    assert!(!lab.catalog.layout().base_dir(&id(0)).exists());
    assert!(!lab.catalog.locks().backup_id_path(&id(0)).exists());
    // Without any backup the WAL from the last one's begin stays.
    lab.delete(2).unwrap();
    assert_eq!(lab.segments(), [8, 9, 10]);
    assert_eq!(lab.catalog.backups().unwrap().len(), 0);
}

#[test]
fn a_script_that_forbids_the_deletion_leaves_no_trace() {
    let mut lab = Lab::new("forbidden");
    lab.config.pre_delete_retry_script = Some("exit 63".to_owned());
    assert!(matches!(lab.delete(0), Err(DeletionError::Hook(_))));
    assert_eq!(lab.status(0), Some(BackupStatus::Done));
    assert!(!lab.catalog.is_being_deleted(&id(0)).unwrap());
    assert!(lab.catalog.layout().data_dir(&id(0)).join("PG_VERSION").exists());
}

#[test]
fn a_script_that_forbids_the_first_wal_undoes_the_deletion() {
    let mut lab = Lab::new("first-wal");
    lab.config.pre_wal_delete_retry_script = Some("exit 63".to_owned());
    assert!(matches!(lab.delete(0), Err(DeletionError::Hook(_))));
    assert_eq!(lab.status(0), Some(BackupStatus::Done));
    assert_eq!(lab.catalog.load(&id(0)).unwrap().unwrap().error, None);
    assert!(!lab.catalog.is_being_deleted(&id(0)).unwrap());
    assert_eq!(lab.segments().len(), 10);
}

#[test]
fn a_script_that_forbids_a_later_wal_leaves_a_failed_backup_that_can_be_deleted() {
    let mut lab = Lab::new("later-wal");
    lab.config.pre_wal_delete_retry_script =
        Some(format!("test $BARMAN_SEGMENT != {} || exit 63", segment(3)));
    assert!(matches!(lab.delete(0), Err(DeletionError::Hook(_))));
    assert_eq!(lab.status(0), Some(BackupStatus::Failed));
    assert_eq!(lab.segments(), [3, 4, 5, 6, 7, 8, 9, 10]);
    lab.config.pre_wal_delete_retry_script = None;
    lab.delete(0).unwrap();
    assert_eq!((lab.status(0), lab.segments()), (None, vec![5, 6, 7, 8, 9, 10]));
}

#[test]
fn what_is_not_in_the_database_survives_and_what_cannot_be_removed_stays_in_it() {
    let lab = Lab::new("foreign");
    let directory = lab.catalog.layout().wals.join("0000000100000000");
    fs::write(directory.join("notes.txt"), "mine").unwrap();
    // A directory in the place of a file cannot be unlinked.
    let stuck = directory.join(segment(1));
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    lab.delete(0).unwrap();
    assert!(directory.join("notes.txt").exists());
    assert_eq!(lab.segments(), [1, 5, 6, 7, 8, 9, 10]);
    assert!(
        lab.lines
            .all()
            .contains("WARNING: Ignoring deletion of WAL file 000000010000000000000001")
    );
}

#[test]
fn a_full_disk_does_not_keep_a_backup_from_making_room() {
    let lab = Lab::new("full");
    let meta = &lab.catalog.layout().meta;
    // Whatever is written to these names finds no room.
    for name in ["backup.info.tmp", "delete_this.tmp"] {
        std::os::unix::fs::symlink("/dev/full", meta.join(format!("{}-{name}", IDS[1]))).unwrap();
    }
    lab.delete(1).unwrap();
    assert_eq!(lab.status(1), None);
    assert!(!lab.catalog.layout().base_dir(&id(1)).exists());
    let left = directory::names(meta).unwrap();
    assert!(left.iter().all(|name| !name.starts_with(IDS[1])), "{left:?}");
}

#[test]
fn kept_backups_and_the_minimum_are_refused() {
    let mut lab = Lab::new("refused");
    lab.catalog.keep(&id(0), KeepTarget::Full).unwrap();
    assert!(matches!(
        lab.delete(0),
        Err(DeletionError::Refused(Refusal::Kept { .. }))
    ));
    lab.config.minimum_redundancy = 3;
    let refusal = lab.delete(1).unwrap_err().to_string();
    assert!(
        refusal.ends_with("(minimum redundancy = 3, current redundancy = 3)"),
        "{refusal}"
    );
    assert!(
        !lab.root.join(".main-backup.lock").exists(),
        "a refusal takes no lock"
    );
}

#[test]
fn a_backup_that_is_read_or_a_server_that_is_busy_is_left_alone() {
    let lab = Lab::new("busy");
    let reader = lab.catalog.locks().backup_reader(&id(0)).unwrap();
    assert!(matches!(lab.delete(0), Err(DeletionError::BackupBusy { .. })));
    drop(reader);
    let backup = lab.catalog.locks().backup().unwrap();
    assert!(matches!(lab.delete(0), Err(DeletionError::ServerBusy { .. })));
    drop(backup);
    assert_eq!(lab.status(0), Some(BackupStatus::Done));
    lab.delete(0).unwrap();
}

#[test]
fn nothing_of_a_tree_goes_while_a_part_of_it_is_read() {
    let lab = Lab::new("tree");
    for (child, parent) in [(1, 0), (2, 0)] {
        let mut info = lab.catalog.load(&id(child)).unwrap().unwrap();
        info.parent_backup_id = Some(id(parent));
        lab.catalog.save(&info).unwrap();
    }
    for read in [0, 1, 2] {
        let reader = lab.catalog.locks().backup_reader(&id(read)).unwrap();
        lab.delete(0).unwrap_err();
        drop(reader);
        for index in [0, 1, 2] {
            assert_eq!(
                lab.status(index),
                Some(BackupStatus::Done),
                "{index} while {read} is read"
            );
        }
    }
    lab.delete(0).unwrap();
    assert_eq!([0, 1, 2].map(|index| lab.status(index)), [None; 3]);
}

#[test]
fn wal_stays_while_somebody_recovers_through_it_from_a_backup_kept_for_itself() {
    let mut lab = Lab::new("through");
    lab.catalog
        .set_keep_target(&id(0), KeepTarget::Standalone)
        .unwrap();
    lab.config.retention_policy = Some("REDUNDANCY 1".to_owned());
    let reader = lab.catalog.locks().backup_reader(&id(0)).unwrap();
    lab.enforce();
    assert_eq!(lab.status(1), Some(BackupStatus::Done));
    assert!(lab.segments().contains(&5));
    drop(reader);
    lab.enforce();
    assert_eq!(lab.status(1), None);
    assert!(!lab.segments().contains(&5));
    assert!(lab.segments().contains(&2), "its own WAL stays");
}

#[test]
fn retention_removes_what_it_should() {
    let mut lab = Lab::new("retention");
    lab.config.retention_policy = Some("REDUNDANCY 2".to_owned());
    let running = lab.catalog.locks().backup().unwrap();
    lab.enforce();
    assert_eq!(lab.status(0), Some(BackupStatus::Done), "not while a backup runs");
    drop(running);
    lab.enforce();
    assert_eq!((lab.status(0), lab.status(1)), (None, Some(BackupStatus::Done)));
    assert!(
        lab.lines
            .all()
            .contains("Enforcing retention policy: removing backup 20260101T000000 for server main")
    );
}

#[test]
fn a_deletion_begun_is_finished_only_if_it_is_still_allowed() {
    let mut lab = Lab::new("begun");
    lab.config.retention_policy = Some("REDUNDANCY 3".to_owned());
    for index in [0, 1] {
        lab.catalog.begin_deletion(&id(index)).unwrap();
    }
    lab.catalog.set_keep_target(&id(0), KeepTarget::Full).unwrap();
    lab.enforce();
    assert_eq!(lab.status(0), Some(BackupStatus::Done));
    assert!(!lab.catalog.is_being_deleted(&id(0)).unwrap());
    assert_eq!(lab.status(1), None);
    assert!(
        lab.lines
            .all()
            .contains("The deletion begun earlier is given up.")
    );
}

#[test]
fn a_backup_without_data_does_not_stand_in_for_one_that_has_them() {
    let mut lab = Lab::new("orphan");
    lab.config.retention_policy = Some("REDUNDANCY 2".to_owned());
    fs::remove_dir_all(lab.catalog.layout().base_dir(&id(2))).unwrap();
    lab.enforce();
    assert_eq!(lab.status(0), Some(BackupStatus::Done));
    assert!(
        lab.lines
            .all()
            .contains("Backup '20260103T000000' is an orphan backup")
    );
    // The data of a deletion that was cut short: finished without asking.
    lab.catalog.begin_deletion(&id(2)).unwrap();
    lab.enforce();
    assert_eq!(lab.status(2), None);
}

/// Somebody deletes the newest backup while the retention policy is being judged.
struct Meanwhile<'a>(&'a Lab);

impl Reporter for Meanwhile<'_> {
    fn info(&self, _line: &str) {}
    fn warning(&self, line: &str) {
        assert!(line.contains("is an orphan backup"), "{line}");
        self.0.delete(2).unwrap();
    }
    fn error(&self, line: &str) {
        self.0.lines.error(line);
    }
    fn debug(&self, _line: &str) {}
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
        Box::new(NoProgress)
    }
}

#[test]
fn retention_is_judged_anew_when_nobody_else_deletes() {
    let mut lab = Lab::new("anew");
    lab.config.retention_policy = Some("REDUNDANCY 2".to_owned());
    let mut orphan = lab.catalog.load(&id(2)).unwrap().unwrap();
    orphan.id = BackupId::parse("20260104T000000").unwrap();
    lab.catalog.save(&orphan).unwrap();
    enforcement::enforce(&lab.catalog, &lab.config, &lab.hooks(), &Meanwhile(&lab)).unwrap();
    assert_eq!(lab.status(2), None);
    assert_eq!(
        lab.status(0),
        Some(BackupStatus::Done),
        "two are left of three: {}",
        lab.lines.all()
    );
}

#[test]
fn leftovers_of_deleted_backups_go_unless_a_deletion_is_at_work() {
    let lab = Lab::new("leftovers");
    let base = &lab.catalog.layout().base;
    let gone = base.join(".deleting-20251231T000000");
    let unfinished = base.join(format!(".deleting-{}", IDS[0]));
    let foreign = base.join(".deleting-notes");
    for directory in [&gone, &unfinished, &foreign] {
        fs::create_dir_all(directory.join("data")).unwrap();
    }
    let layout = lab.catalog.layout();
    let deleted = BackupId::parse("20251231T000000").unwrap();
    let sidecars = layout.sidecars(&deleted);
    let stays = [
        layout.records_path(&id(0)),
        layout.merge_path(&deleted),
        layout.annotation_path(&deleted, "keep"),
    ];
    for path in sidecars.iter().chain(&stays) {
        fs::write(path, "").unwrap();
    }
    let lock = lab.catalog.locks().backup().unwrap();
    lab.catalog.remove_leftovers().unwrap();
    assert!(gone.exists());
    drop(lock);
    // Data without metadata: somebody may yet want to know what they are.
    fs::create_dir(layout.base_dir(&deleted)).unwrap();
    lab.catalog.remove_leftovers().unwrap();
    assert!(sidecars.iter().all(|path| path.exists()));
    fs::remove_dir(layout.base_dir(&deleted)).unwrap();
    lab.catalog.remove_leftovers().unwrap();
    assert!(sidecars.iter().all(|path| !path.exists()));
    assert!(stays.iter().all(|path| path.exists()));
    assert!(!gone.exists());
    assert!(unfinished.exists() && foreign.exists());
}

/// Everything below a directory, with the times of last change of files and directories alike.
fn traces(root: &Path) -> Vec<(PathBuf, i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let change = metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec();
            (entry.into_path(), change, metadata.mtime_nsec(), metadata.len())
        })
        .collect()
}

#[test]
fn a_dry_run_foresees_what_happens_and_leaves_no_trace() {
    let mut lab = Lab::new("foreseen");
    lab.config.retention_policy = Some("REDUNDANCY 1".to_owned());
    // A lock file that is missing stays missing, a last line that was cut short stays cut short.
    fs::remove_file(lab.root.join(".main-xlogdb.lock")).unwrap();
    let before = traces(&lab.root);
    let (hooks, looking) = (lab.hooks(), lab.catalog.looking_only());
    let planned = Deletion::by_operator(&looking, &lab.config, &hooks, &lab.lines)
        .plan(&id(0))
        .unwrap();
    let (plan, foreseen) = enforcement::foresee(&lab.catalog, &lab.config, &hooks, &lab.lines)
        .unwrap()
        .unwrap();
    assert_eq!(traces(&lab.root), before);

    let reasons: Vec<String> = plan
        .judgements
        .values()
        .map(|one| one.reason.to_string())
        .collect();
    assert_eq!(
        reasons,
        [
            "there are 1 newer full backups",
            "there are 1 newer full backups",
            "number 1 of the 1 newest full backups"
        ]
    );
    let taken = |plan: &DeletionPlan| -> Vec<String> {
        let entries = plan.steps.iter().filter_map(|step| step.wal.as_ref()).flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.name.clone()).collect();
        // The first segment of the lab is twice in the database.
        names.dedup();
        names
    };
    assert_eq!(taken(&planned), (1..=4).map(segment).collect::<Vec<_>>());
    let all: Vec<String> = foreseen
        .iter()
        .flat_map(|one| taken(one.outcome.as_ref().unwrap()))
        .collect();
    assert_eq!(all, (1..=7).map(segment).collect::<Vec<_>>(), "each of them once");

    lab.enforce();
    assert_eq!((lab.status(0), lab.status(1)), (None, None));
    assert_eq!(lab.segments(), [8, 9, 10]);
}
