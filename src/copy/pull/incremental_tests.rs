//! Incremental copies of trees of files, through an agent that is a thread: what each member becomes is what the source was.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use crate::base::report::{NoProgress, Progress, Reporter, Total};
use crate::copy::chain::Rebuilt;
use crate::copy::page_hashes::PageHashes;
use crate::copy::records::{FileRecord, Form, RecordsError, read};
use crate::copy::{
    Checksum, CopyItem, CopyPlan, CopyReport, Filter, Incremental, ItemContent, Records, Retries, Reuse, pull,
};
use crate::postgres::lsn::Lsn;
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::{PageSum, PageSummer};
use crate::transport::Remote;

/// A source tree and the chain of its backups.
/// What sort of backup is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    /// A full one that shares with the newest what did not change.
    Linked,
    Incremental {
        by_lsn: bool,
    },
}

struct Lab {
    root: PathBuf,
    /// Directories of the backups, the newest first.
    members: Vec<PathBuf>,
    /// LSNs are those of the backup that they precede: `n * 1000`.
    clock: u64,
    meanwhile: Meanwhile,
}

/// What happens after the source was listed, before its files are read.
#[derive(Default)]
struct Meanwhile {
    vanishes: Option<PathBuf>,
}

impl Reporter for Meanwhile {
    fn info(&self, _line: &str) {}
    fn warning(&self, _line: &str) {}
    fn error(&self, _line: &str) {}
    fn debug(&self, _line: &str) {}
    fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
        if let Some(path) = &self.vanishes {
            fs::remove_file(path).unwrap();
        }
        Box::new(NoProgress)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Lab {
    fn new(name: &str) -> Lab {
        let root = std::env::temp_dir().join(format!(".barkeep-incremental-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("source/base/5")).unwrap();
        fs::create_dir_all(root.join("source/global")).unwrap();
        fs::write(root.join("source/global/pg_control"), "control").unwrap();
        Lab {
            root,
            members: Vec::new(),
            clock: 1,
            meanwhile: Meanwhile::default(),
        }
    }

    fn source(&self, path: &str) -> PathBuf {
        self.root.join("source").join(path)
    }

    /// Writes a file of these pages; the time of its change is that of the clock.
    fn write(&self, path: &str, pages: &[Vec<u8>]) {
        fs::write(self.source(path), pages.concat()).unwrap();
        self.touch(path);
    }

    fn touch(&self, path: &str) {
        let file = fs::File::options().write(true).open(self.source(path)).unwrap();
        file.set_modified(time(self.clock)).unwrap();
    }

    /// A page that was changed now.
    fn page(&self, fill: u8) -> Vec<u8> {
        page(self.clock * 1000 + 1, fill)
    }

    /// A backup, on the newest where it needs one.
    fn backup(&mut self, kind: Kind) -> CopyReport {
        // What changes from now on changes after the backup began.
        self.clock += 1;
        let directory = self.root.join(format!("backup-{}", self.clock));
        let data = directory.join("data");
        let parent = self.members.first().filter(|_| kind != Kind::Full);
        let since = Lsn((self.clock - 1) * 1000);
        let began = time(self.clock - 1) + Duration::from_secs(50);
        let item = |content, path: &str| CopyItem {
            label: "x".to_owned(),
            content,
            source: self.source(path),
            destination: data.join(path),
            reference: parent.map(|parent| parent.join("data").join(path)),
            filter: Filter::default().exclude(["/global/pg_control"]),
            bandwidth_kib: None,
        };
        let plan = CopyPlan {
            items: vec![
                item(ItemContent::Pgdata, ""),
                item(ItemContent::Control, "global/pg_control"),
            ],
            reuse: if kind == Kind::Full {
                Reuse::Off
            } else {
                Reuse::Link
            },
            safe_horizon: parent.map(|_| began - Duration::from_secs(100)),
            jobs: 2,
            pace: Default::default(),
            bandwidth_kib: None,
            compress: false,
            page_checks: None,
            manifest: None,
            previous_manifest: None,
            resume: None,
            records: Some(Records {
                path: directory.join("records"),
                directory: directory.clone(),
                previous: parent.map(|parent| parent.join("records")),
                page_hashes: Some(directory.join("pages")),
                older_page_hashes: self.members.iter().map(|member| member.join("pages")).collect(),
            }),
            since: (kind == Kind::Linked).then_some(since),
            incremental: match kind {
                Kind::Incremental { by_lsn } => Some(Incremental {
                    members: self.members.clone(),
                    since: by_lsn.then_some(since),
                }),
                Kind::Full | Kind::Linked => None,
            },
            retries: Retries::default(),
        };
        let report = pull(&plan, &Remote::local(), &self.meanwhile).unwrap();
        if !matches!(kind, Kind::Incremental { .. }) {
            self.members.clear();
        }
        self.members.insert(0, directory);
        report
    }

    fn newest(&self) -> &Path {
        &self.members[0]
    }

    /// The records of the newest backup.
    fn records(&self) -> BTreeMap<String, FileRecord> {
        let mut found = BTreeMap::new();
        read::<RecordsError>(&self.newest().join("records"), &mut |record| {
            found.insert(String::from_utf8(record.path.to_vec()).unwrap(), record);
            Ok(())
        })
        .unwrap();
        found
    }

    fn record(&self, path: &str) -> FileRecord {
        self.records().remove(&format!("data/{path}")).unwrap()
    }

    /// What a file of the newest backup becomes.
    fn rebuilt(&self, path: &str) -> Vec<u8> {
        let rebuilt = Rebuilt::open(&self.members, format!("data/{path}").as_bytes())
            .unwrap()
            .unwrap();
        let mut content = vec![0xee; usize::try_from(rebuilt.size()).unwrap()];
        assert_eq!(rebuilt.read_at(&mut content, 0).unwrap(), content.len());
        content
    }

    /// Every file of the newest backup becomes what the source has, and its records say so.
    fn agree(&self) {
        for (path, record) in self.records() {
            let path = path.strip_prefix("data/").unwrap();
            let content = fs::read(self.source(path)).unwrap();
            assert!(self.rebuilt(path) == content, "{path} differs");
            let mut summer = PageSummer::default();
            summer.update(&content);
            assert_eq!(record.sum, Some(summer.finish()), "the sum of {path}");
            assert_eq!(record.size, content.len() as u64, "the size of {path}");
            let stored = match record.form {
                Form::Whole => self.newest().join("data").join(path),
                Form::Blocks { .. } => self.newest().join(
                    String::from_utf8(crate::postgres::incremental::incremental_path(
                        format!("data/{path}").as_bytes(),
                    ))
                    .unwrap(),
                ),
            };
            let stored = fs::read(stored).unwrap();
            assert_eq!(record.stored, stored.len() as u64);
            let checksum = record.checksum.unwrap();
            assert_eq!(checksum.algorithm, Checksum::Crc32c);
            assert_eq!(checksum.value, crc32c::crc32c(&stored).to_ne_bytes());
        }
    }
}

fn time(clock: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + clock * 100)
}

/// An initialised page.
fn page(lsn: u64, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; PAGE_SIZE];
    page[0..4].copy_from_slice(&u32::try_from(lsn >> 32).unwrap().to_ne_bytes());
    page[4..8].copy_from_slice(&u32::try_from(lsn & 0xffff_ffff).unwrap().to_ne_bytes());
    page[14..16].copy_from_slice(&100_u16.to_ne_bytes());
    page
}

fn zero() -> Vec<u8> {
    vec![0; PAGE_SIZE]
}

const TABLE: &str = "base/5/16384";

#[test]
fn what_is_stored_of_what() {
    let mut lab = Lab::new("stored");
    let old: Vec<Vec<u8>> = (0..20).map(|_| lab.page(1)).collect();
    for path in [
        TABLE,
        "base/5/1",
        "base/5/2",
        "base/5/2_fsm",
        "base/5/2_vm",
        "base/5/16384.1",
        "base/5/3",
        "base/5/3_init",
        "base/5/3_fsm",
        "base/5/3.1",
        "base/5/9",
        "PG_VERSION",
    ] {
        lab.write(path, &old);
    }
    lab.backup(Kind::Full);
    lab.clock += 1;
    let mut new = old.clone();
    new[7] = lab.page(2);
    lab.write(TABLE, &new);
    lab.write("base/5/2_vm", &new);
    lab.write("base/5/new", &new);
    lab.write("base/5/77", &new);
    let all_new: Vec<Vec<u8>> = (0..20).map(|_| lab.page(3)).collect();
    lab.write("base/5/16384.1", &all_new);
    lab.write("base/5/2", &[]);
    fs::remove_file(lab.source("base/5/9")).unwrap();
    let report = lab.backup(Kind::Incremental { by_lsn: true });
    lab.agree();
    let base = lab.newest().join("data/base/5");
    let mut names: Vec<String> = fs::read_dir(&base)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "16384.1",
            "2",
            "2_fsm",
            "2_vm",
            "3_init",
            "77",
            "INCREMENTAL.1",
            "INCREMENTAL.16384",
            "new"
        ]
    );
    assert_eq!(fs::metadata(base.join("INCREMENTAL.1")).unwrap().len(), 12);
    assert_eq!(
        fs::metadata(base.join("INCREMENTAL.16384")).unwrap().len(),
        2 * PAGE_SIZE as u64
    );
    let blocks = report.blocks;
    assert_eq!((blocks.unchanged, blocks.by_lsn, blocks.blocks_by_lsn), (1, 1, 1));
    assert_eq!(
        (blocks.mostly_changed, blocks.lsn_refuted, blocks.unlogged),
        (1, 0, 3)
    );
    // What is no relation is shared with the parent where it did not change.
    let shared = fs::metadata(lab.newest().join("data/PG_VERSION")).unwrap();
    assert_eq!(shared.nlink(), 2);
    assert!(report.backup_bytes < report.total_bytes);
}

#[test]
fn a_page_that_changed_without_a_new_lsn_is_noticed() {
    let mut lab = Lab::new("refuted");
    let mut pages: Vec<Vec<u8>> = (0..20).map(|_| lab.page(1)).collect();
    lab.write(TABLE, &pages);
    lab.backup(Kind::Full);
    lab.clock += 1;
    pages[3] = page(1, 9);
    pages[5] = lab.page(7);
    lab.write(TABLE, &pages);
    let report = lab.backup(Kind::Incremental { by_lsn: true });
    lab.agree();
    let blocks = report.blocks;
    assert_eq!((blocks.lsn_refuted, blocks.by_lsn), (1, 0));
    assert_eq!(
        (blocks.by_hash, blocks.blocks_by_hash, blocks.parent_damaged),
        (1, 2, 0)
    );
}

#[test]
fn a_linked_backup_sends_what_changed_and_heals_the_rest() {
    let mut lab = Lab::new("healing");
    let mut pages: Vec<Vec<u8>> = (0..100).map(|n| lab.page(n)).collect();
    lab.write(TABLE, &pages);
    let whole = lab.backup(Kind::Full).wire_bytes;
    lab.clock += 1;
    pages[7] = lab.page(200);
    lab.write(TABLE, &pages);
    let linked = lab.backup(Kind::Linked);
    assert!(linked.wire_bytes < whole / 20, "{linked:?} of {whole}");
    assert_eq!((linked.blocks.by_lsn, linked.blocks.blocks_by_lsn), (1, 1));
    lab.agree();
    // The previous backup rots in a page that nobody changed: the next one has it right.
    let rotten = lab.newest().join("data").join(TABLE);
    fs::write(
        &rotten,
        [&pages[..50].concat(), &zero()[..], &pages[51..].concat()].concat(),
    )
    .unwrap();
    lab.clock += 1;
    pages[8] = lab.page(201);
    lab.write(TABLE, &pages);
    assert_eq!(lab.backup(Kind::Linked).blocks.lsn_refuted, 1);
    lab.agree();
}

#[test]
fn a_linked_backup_keeps_holes() {
    let mut lab = Lab::new("holes");
    // Pages of zeros count as changed: there are not so many that the file would be sent whole.
    let mut pages = vec![lab.page(1); 1000];
    pages.resize(2000, zero());
    lab.write(TABLE, &pages);
    lab.backup(Kind::Full);
    lab.clock += 1;
    pages[1] = lab.page(2);
    lab.write(TABLE, &pages);
    assert_eq!(lab.backup(Kind::Linked).blocks.by_lsn, 1);
    lab.agree();
    let stored = fs::metadata(lab.newest().join("data").join(TABLE))
        .unwrap()
        .blocks()
        * 512;
    assert!(
        stored < 1500 * PAGE_SIZE as u64,
        "{stored} bytes for a thousand pages"
    );
}

#[test]
fn what_vanishes_during_a_linked_backup_is_not_in_it() {
    let mut lab = Lab::new("vanishing");
    let mut pages: Vec<Vec<u8>> = (0..10).map(|n| lab.page(n)).collect();
    lab.write(TABLE, &pages);
    lab.backup(Kind::Full);
    lab.clock += 1;
    pages[1] = lab.page(99);
    lab.write(TABLE, &pages);
    lab.meanwhile.vanishes = Some(lab.source(TABLE));
    lab.backup(Kind::Linked);
    assert!(!lab.newest().join("data").join(TABLE).exists());
    assert!(!lab.records().contains_key(&format!("data/{TABLE}")));
}

#[test]
fn a_damaged_parent_is_not_built_on() {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |content| content[3 * PAGE_SIZE + 100] ^= 1,
        |content| content.truncate(10 * PAGE_SIZE),
        Vec::clear,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        for (by_lsn, hashes) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut lab = Lab::new(&format!("damaged-{number}-{by_lsn}-{hashes}"));
            let mut pages: Vec<Vec<u8>> = (0..40).map(|_| lab.page(1)).collect();
            lab.write(TABLE, &pages);
            lab.backup(Kind::Full);
            let stored = lab.newest().join("data").join(TABLE);
            let mut content = fs::read(&stored).unwrap();
            damage(&mut content);
            fs::write(&stored, content).unwrap();
            if !hashes {
                fs::remove_file(lab.newest().join("pages")).unwrap();
            }
            lab.clock += 1;
            pages[3] = lab.page(2);
            lab.write(TABLE, &pages);
            lab.backup(Kind::Incremental { by_lsn });
            lab.agree();
            // The page that is damaged is the one that is replaced.
            let whole = lab.record(TABLE).form == Form::Whole;
            assert_eq!(whole, number > 0, "damage {number}");
        }
    }
}

#[test]
fn what_rots_in_the_parent_shows_in_the_sum_of_what_builds_on_it() {
    let mut lab = Lab::new("rotten");
    let mut pages: Vec<Vec<u8>> = (0..40).map(|_| lab.page(1)).collect();
    lab.write(TABLE, &pages);
    lab.backup(Kind::Full);
    let stored = lab.newest().join("data").join(TABLE);
    let mut content = fs::read(&stored).unwrap();
    content[9 * PAGE_SIZE + 100] ^= 1;
    fs::write(&stored, content).unwrap();
    lab.clock += 1;
    pages[3] = lab.page(2);
    lab.write(TABLE, &pages);
    lab.backup(Kind::Incremental { by_lsn: true });
    let mut summer = PageSummer::default();
    summer.update(&lab.rebuilt(TABLE));
    assert_ne!(lab.record(TABLE).sum, Some(summer.finish()));
}

#[test]
fn hashes_of_pages_serve_through_the_whole_chain() {
    for by_lsn in [true, false] {
        let mut lab = Lab::new(&format!("hashes-{by_lsn}"));
        let mut pages: Vec<Vec<u8>> = (0..100).map(|_| lab.page(1)).collect();
        lab.write(TABLE, &pages);
        lab.backup(Kind::Full);
        // Shorter and longer, with pages of zeros; and a backup in between that has no need to look at the file.
        for (length, changed) in [(100, 7), (40, 3), (90, 60), (90, 99), (90, 5)] {
            lab.clock += 1;
            pages.resize(length, zero());
            if let Some(page) = pages.get_mut(changed) {
                *page = lab.page(5);
                lab.write(TABLE, &pages);
            }
            lab.backup(Kind::Incremental { by_lsn });
            lab.agree();
            if changed < length {
                let sum = lab.record(TABLE).sum.unwrap();
                let found = PageHashes::open(&lab.newest().join("pages")).unwrap();
                let found = found.get(format!("data/{TABLE}").as_bytes(), sum).unwrap();
                let number = changed as u64;
                assert_eq!(found[changed], PageSum::of_page(number, &pages[changed]));
            }
        }
    }
}

#[test]
fn truncated_and_extended_again() {
    for by_lsn in [true, false] {
        let mut lab = Lab::new(&format!("truncated-{by_lsn}"));
        let mut pages: Vec<Vec<u8>> = (0..40).map(|_| lab.page(1)).collect();
        lab.write(TABLE, &pages);
        lab.backup(Kind::Full);
        // Shorter, then longer with zeros that the WAL says nothing about: nothing of the old end may come back.
        lab.clock += 1;
        pages.truncate(20);
        lab.write(TABLE, &pages);
        lab.backup(Kind::Incremental { by_lsn });
        lab.agree();
        assert_eq!(lab.record(TABLE).form, Form::Blocks { longest: 40 });
        lab.clock += 1;
        pages.resize(50, zero());
        pages[45] = lab.page(5);
        lab.write(TABLE, &pages);
        let report = lab.backup(Kind::Incremental { by_lsn });
        lab.agree();
        assert_eq!(lab.record(TABLE).form, Form::Blocks { longest: 50 });
        assert_eq!(report.blocks.lsn_refuted + report.blocks.parent_damaged, 0);
        // Blocks 20 to 39, which an older member has, and 45.
        assert_eq!(report.blocks.blocks_by_lsn + report.blocks.blocks_by_hash, 21);
        // A page that is zeroed by hand, and an end of zeros.
        lab.clock += 1;
        pages[2] = zero();
        pages.resize(52, zero());
        lab.write(TABLE, &pages);
        lab.backup(Kind::Incremental { by_lsn });
        lab.agree();
    }
}

#[test]
fn a_parent_without_records_is_compared_by_hash() {
    let mut lab = Lab::new("unrecorded");
    let mut pages: Vec<Vec<u8>> = (0..20).map(|_| lab.page(1)).collect();
    lab.write(TABLE, &pages);
    lab.write("base/5/1", &pages);
    lab.backup(Kind::Full);
    fs::remove_file(lab.newest().join("records")).unwrap();
    lab.clock += 1;
    pages[3] = lab.page(2);
    lab.write(TABLE, &pages);
    let report = lab.backup(Kind::Incremental { by_lsn: true });
    let rebuilt = lab.rebuilt(TABLE);
    assert!(rebuilt == pages.concat());
    assert_eq!((report.blocks.by_hash, report.blocks.blocks_by_hash), (1, 1));
    assert_eq!((report.blocks.unchanged, report.blocks.by_lsn), (1, 0));
    assert_eq!(lab.record("base/5/1").sum, None, "nobody read it");
    // From the second on the sums are known where something changed.
    fs::remove_file(lab.newest().join("records")).unwrap();
    lab.clock += 1;
    pages[4] = lab.page(2);
    lab.write(TABLE, &pages);
    lab.write("base/5/1", &pages);
    let report = lab.backup(Kind::Incremental { by_lsn: true });
    lab.agree();
    assert_eq!((report.blocks.by_hash, report.blocks.blocks_by_hash), (2, 3));
}

/// One change of a table.
#[derive(Debug, Clone)]
enum Change {
    /// A page is changed as PostgreSQL does.
    Page(u16, u8),
    /// A page is changed without a new LSN: hint bits, or somebody's hand.
    Silently(u16, u8),
    Zero(u16),
    Truncate(u16),
    /// Pages of zeros at the end.
    Extend(u8),
    /// Another file takes its place.
    Replace(u8, u8),
    /// Its time changes, nothing else.
    Touch,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<u16>(), any::<u8>()).prop_map(|(block, fill)| Change::Page(block, fill)),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(block, fill)| Change::Silently(block, fill)),
        1 => any::<u16>().prop_map(Change::Zero),
        1 => any::<u16>().prop_map(Change::Truncate),
        2 => (0..30_u8).prop_map(Change::Extend),
        1 => (0..40_u8, any::<u8>()).prop_map(|(pages, fill)| Change::Replace(pages, fill)),
        1 => Just(Change::Touch),
    ]
}

fn apply(lab: &Lab, pages: &mut Vec<Vec<u8>>, change: &Change) {
    let length = pages.len();
    let place = |block: &u16| usize::from(*block) % length.max(1);
    match change {
        Change::Page(block, fill) => {
            if let Some(page) = pages.get_mut(place(block)) {
                *page = lab.page(*fill);
            }
        }
        Change::Silently(block, fill) => {
            if let Some(old) = pages.get_mut(place(block)) {
                *old = page(1, *fill);
            }
        }
        Change::Zero(block) => {
            if let Some(page) = pages.get_mut(place(block)) {
                *page = zero();
            }
        }
        Change::Truncate(block) => pages.truncate(place(block)),
        Change::Extend(count) => pages.resize(length + usize::from(*count), zero()),
        Change::Replace(count, fill) => *pages = vec![page(2, *fill); usize::from(*count)],
        Change::Touch => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens to a table between backups, each member of its chain becomes what it was.
    #[test]
    fn chains_of_anything(
        generations in prop::collection::vec((any::<bool>(), prop::collection::vec(change(), 0..6)), 1..6),
        length in 0..60_usize,
    ) {
        let mut lab = Lab::new("anything");
        let mut pages: Vec<Vec<u8>> = (0..length).map(|_| lab.page(1)).collect();
        lab.write(TABLE, &pages);
        lab.backup(Kind::Full);
        for (by_lsn, changes) in generations {
            lab.clock += 1;
            for change in &changes {
                apply(&lab, &mut pages, change);
            }
            if !changes.is_empty() {
                lab.write(TABLE, &pages);
            }
            let report = lab.backup(Kind::Incremental { by_lsn });
            prop_assert_eq!(report.blocks.parent_damaged, 0);
            lab.agree();
        }
    }

    /// Full backups that take over pages of the one before by LSN are what the source is, too.
    #[test]
    fn linked_backups_of_anything(
        generations in prop::collection::vec(prop::collection::vec(change(), 1..6), 1..6),
        length in 0..60_usize,
    ) {
        let mut lab = Lab::new("linked");
        let mut pages: Vec<Vec<u8>> = (0..length).map(|_| lab.page(1)).collect();
        lab.write(TABLE, &pages);
        lab.backup(Kind::Full);
        for changes in generations {
            lab.clock += 1;
            for change in &changes {
                apply(&lab, &mut pages, change);
            }
            lab.write(TABLE, &pages);
            lab.backup(Kind::Linked);
            lab.agree();
        }
    }
}
