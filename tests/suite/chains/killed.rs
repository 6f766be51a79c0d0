//! `merge`, killed at every step that changes the disk: the chosen backup and what builds on it must be readable at every
//! instant, nothing else may look good, and the merge must be finished by running it again.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use barkeep::catalog::{BackupId, BackupStatus, chains};
use barkeep::copy::chain::Rebuilt;
use barkeep::copy::verify::{self, Wanted};
use barkeep::postgres::incremental::Header;
use barkeep::postgres::manifest::{self, Checksum, ManifestFile, ManifestWriter, WalRange};
use barkeep::postgres::page::PAGE_SIZE;
use walkdir::WalkDir;

use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::killing::{Killing, SERVER, Step};
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;
use crate::support::tree::files;

const ROOT: &str = "20240101T000000";
const FIRST: &str = "20240102T000000";
const CHOSEN: &str = "20240103T000000";
const CHILD: &str = "20240104T000000";
/// A full backup that shares files with the root.
const OTHER: &str = "20240101T120000";
/// The system calls that change a disk.
const CALLS: &str = "pwrite64,write,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,\
                     ftruncate,fsync,utimensat,fchmod,chmod,ioctl,copy_file_range";

/// Files, their lengths, and the CRCs of what they hold.
type Tree = BTreeMap<String, (usize, u32)>;

pub fn every_step_of_merge(barkeep: &Tool) {
    let scratch = Scratch::in_memory("merge-killed");
    let pristine = scratch.join("home");
    build(&pristine);
    let lab = |name: &str| Killing::new(&scratch, &pristine, name);
    let start = lab("start");
    let (chosen, child) = (start.rebuilt(CHOSEN), start.rebuilt(CHILD));
    let other = start.other();
    let finished = lab("finished");
    finished.merge(barkeep, &[]);
    let after = finished.lasting_files();
    assert_eq!(finished.rebuilt(CHOSEN), chosen);
    assert_eq!(finished.rebuilt(CHILD), child);
    finished.check_result();

    let merge = ["merge", SERVER, CHOSEN];
    let kills = Killing::at_every_step(&scratch, &pristine, barkeep, CALLS, &merge, |lab, step| {
        // Barman's turn now and then: it takes a third of a second.
        if step.number % 20 == 0 {
            lab.lists(&Tool::barman());
        }
        assert_eq!(lab.rebuilt(CHOSEN), chosen, "the chosen backup after step {step}");
        assert_eq!(lab.rebuilt(CHILD), child, "its child after step {step}");
        lab.nothing_else_looks_good(step);
        lab.go_on_with_merge(barkeep);
        same(&lab.lasting_files(), &after, step);
        assert_eq!(
            lab.rebuilt(CHOSEN),
            chosen,
            "finished after a kill at step {step}"
        );
        assert_eq!(lab.rebuilt(CHILD), child, "finished after a kill at step {step}");
        if step.number % 10 == 0 {
            lab.check_result();
        }
        assert_eq!(
            lab.other(),
            other,
            "a backup that shared files, after step {step}"
        );
    });
    assert!(kills > 60, "only {kills} steps were found: is strace at work?");
}

/// A page that tells its member and its number.
fn page(member: u8, block: u32) -> Vec<u8> {
    let mut page = vec![member; PAGE_SIZE];
    page[..4].copy_from_slice(&block.to_ne_bytes());
    page
}

fn whole(member: u8, blocks: u32) -> Vec<u8> {
    (0..blocks).flat_map(|block| page(member, block)).collect()
}

fn changed(member: u8, truncation: u32, blocks: &[u32]) -> Vec<u8> {
    let header = Header {
        truncation,
        blocks: blocks.to_vec(),
    };
    let mut content = header.to_bytes();
    content.extend(blocks.iter().flat_map(|block| page(member, *block)));
    content
}

fn build(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    let member = |id, first, parent, children| {
        let mut backup = Backup::done(id, first, first);
        backup.mode = "postgres";
        (backup.parent, backup.children) = (parent, children);
        backup.tablespaces = true;
        backup
    };
    let other = Backup::done(OTHER, 2, 2);
    for backup in [
        member(ROOT, 1, None, Some(FIRST)),
        other,
        member(FIRST, 3, Some(ROOT), Some(CHOSEN)),
        member(CHOSEN, 4, Some(FIRST), Some(CHILD)),
        member(CHILD, 5, Some(CHOSEN), None),
    ] {
        catalog.backup(&backup);
    }
    catalog.segments(1, 1, 6, None);
    catalog.finish();
    let base = home.join(SERVER).join("base");
    let put = |id: &str, path: &str, content: Vec<u8>| {
        let path = base.join(id).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    };
    // (name, root, first, chosen, child): every way in which a file may change. Blocks that an older member has and a newer
    // one lost are listed again when they come back, or they would be those of the older member: the rule of all chains.
    let relations: [(&str, [Option<Vec<u8>>; 4]); 8] = [
        (
            "unchanged",
            [
                Some(whole(1, 8)),
                Some(changed(2, 8, &[])),
                Some(changed(3, 8, &[])),
                Some(changed(4, 8, &[])),
            ],
        ),
        (
            "patched",
            [
                Some(whole(1, 8)),
                Some(changed(2, 8, &[1, 2])),
                Some(changed(3, 8, &[2, 5])),
                Some(changed(4, 8, &[0])),
            ],
        ),
        (
            "grown",
            [
                Some(whole(1, 4)),
                Some(changed(2, 4, &[])),
                Some(changed(3, 6, &[7])),
                Some(changed(4, 8, &[7])),
            ],
        ),
        (
            "cut",
            [
                Some(whole(1, 8)),
                Some(changed(2, 6, &[6])),
                Some(changed(3, 3, &[])),
                Some(changed(4, 3, &[1])),
            ],
        ),
        (
            "hole",
            [
                Some(whole(1, 8)),
                Some(changed(2, 8, &[])),
                Some(changed(3, 2, &[6])),
                Some(changed(4, 7, &[2, 3, 4, 5])),
            ],
        ),
        (
            "between",
            [
                Some(whole(1, 8)),
                Some(whole(2, 5)),
                Some(changed(3, 5, &[4])),
                Some(changed(4, 5, &[2])),
            ],
        ),
        ("gone", [Some(whole(1, 3)), Some(changed(2, 3, &[])), None, None]),
        ("new", [None, None, Some(whole(3, 2)), Some(changed(4, 2, &[]))]),
    ];
    for (number, (_, members)) in relations.iter().enumerate() {
        for (id, content) in [ROOT, FIRST, CHOSEN, CHILD].iter().zip(members) {
            let Some(content) = content else { continue };
            let incremental = if content.starts_with(&0xd3ae_1f0d_u32.to_ne_bytes()) {
                "INCREMENTAL."
            } else {
                ""
            };
            for place in ["data/base/5", "16387/PG_15_202209061/5"] {
                put(
                    id,
                    &format!("{place}/{incremental}{}", 16384 + number),
                    content.clone(),
                );
            }
        }
    }
    // A file that another backup has too: it must not change there.
    for number in [16385, 16386] {
        let shared = base.join(ROOT).join(format!("data/base/5/{number}"));
        std::fs::hard_link(shared, base.join(OTHER).join(format!("data/base/5/{number}"))).unwrap();
    }
    put(CHOSEN, "data/later/directory/file", b"new".to_vec());
    put(ROOT, "data/earlier/file", b"old".to_vec());
    for id in [ROOT, FIRST, CHOSEN, CHILD] {
        let oid = base.join(id).join("16387");
        std::os::unix::fs::symlink(oid, base.join(id).join("data/pg_tblspc/16387")).unwrap();
    }
    for (id, from) in [(FIRST, "0/1000028"), (CHOSEN, "0/3000028"), (CHILD, "0/4000028")] {
        let label = base.join(id).join("data/backup_label");
        let mut text = std::fs::read_to_string(&label).unwrap();
        text.push_str(&format!(
            "INCREMENTAL FROM LSN: {from}\nINCREMENTAL FROM TLI: 1\n"
        ));
        std::fs::write(&label, text).unwrap();
    }
    for id in [ROOT, FIRST, CHOSEN, CHILD] {
        write_manifest(&base.join(id));
    }
}

fn write_manifest(base: &Path) {
    let layout = manifest::Layout::PostgreSql {
        ranges: vec![WalRange {
            timeline: 1,
            start: "0/1000028".parse().unwrap(),
            end: "0/1000138".parse().unwrap(),
        }],
        system_identifier: Some(7),
    };
    let output = std::fs::File::create(base.join("data/backup_manifest")).unwrap();
    let mut writer = ManifestWriter::new(output, layout).unwrap();
    for (directory, prefix) in [("data", ""), ("16387", "pg_tblspc/16387/")] {
        let root = base.join(directory);
        for entry in WalkDir::new(&root).sort_by_file_name() {
            let entry = entry.unwrap();
            let inside = entry.path().strip_prefix(&root).unwrap().display().to_string();
            if entry.file_type().is_file() && inside != "backup_manifest" {
                let file = described(entry.path(), format!("{prefix}{inside}"));
                writer.file(&file).unwrap();
            }
        }
    }
    writer.finish().unwrap();
}

fn described(path: &Path, name: String) -> ManifestFile {
    let wanted = Wanted {
        checksum: Some(Checksum::Crc32c),
        ..Wanted::default()
    };
    let found = verify::file(path, b"", wanted).unwrap();
    ManifestFile {
        path: name.into_bytes(),
        size: found.size,
        modified: 0,
        algorithm: Checksum::Crc32c,
        checksum: found.checksum,
    }
}

#[track_caller]
fn same(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>, step: &Step) {
    let differing: Vec<_> = found
        .keys()
        .chain(expected.keys())
        .filter(|name| found.get(*name) != expected.get(*name))
        .map(|name| format!("{name}: {:?}, expected {:?}", found.get(name), expected.get(name)))
        .collect();
    assert!(
        differing.is_empty(),
        "finished after a kill at step {step}:\n{}",
        differing.join("\n")
    );
}

fn summary(content: &[u8]) -> (usize, u32) {
    (content.len(), crc32c::crc32c(content))
}

/// Every file and what it holds.
fn contents(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for entry in WalkDir::new(root) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let inside = entry.path().strip_prefix(root).unwrap().display().to_string();
            tree.insert(inside, summary(&std::fs::read(entry.path()).unwrap()));
        }
    }
    tree
}

impl Killing {
    fn base(&self, id: &BackupId) -> PathBuf {
        self.catalog().layout().base_dir(id)
    }

    /// Everything but what times make different.
    fn lasting_files(&self) -> BTreeMap<String, String> {
        let mut files = self.files();
        files.retain(|name, _| !name.ends_with("backup_manifest"));
        files
    }

    fn merge(&self, tool: &Tool, more: &[&str]) {
        let words = [&["merge", SERVER, CHOSEN], more].concat();
        let output = self.command(tool, &words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The same command once more; one that was killed after its last step has nothing left to do, and says so.
    fn go_on_with_merge(&self, tool: &Tool) {
        let catalog = self.catalog();
        let chosen = BackupId::parse(CHOSEN).unwrap();
        let info = catalog.load(&chosen).unwrap().unwrap();
        let over = info.parent_backup_id.is_none() && !catalog.layout().merge_path(&chosen).exists();
        let output = self.command(tool, &["merge", SERVER, CHOSEN]).output().unwrap();
        assert_eq!(output.status.success(), !over, "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!over || said.contains("is a full backup"), "{said}");
    }

    fn lists(&self, tool: &Tool) {
        let output = self.command(tool, &["list-backups", SERVER]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// What a backup restores to, by the catalog of this moment.
    fn rebuilt(&self, id: &str) -> Tree {
        let backups = self.catalog().backups().unwrap();
        let id = BackupId::parse(id).unwrap();
        let members: Vec<PathBuf> = chains::members(&backups, &id)
            .unwrap()
            .iter()
            .map(|info| self.base(&info.id))
            .collect();
        let mut tree = Tree::new();
        for entry in WalkDir::new(&members[0]) {
            let entry = entry.unwrap();
            let inside = entry
                .path()
                .strip_prefix(&members[0])
                .unwrap()
                .display()
                .to_string();
            let name = inside.replace("INCREMENTAL.", "");
            // Manifests differ between the stages; what is not of the backup yet, or no more, has a name of its own.
            if !entry.file_type().is_file() || name.contains("manifest") || name.contains(".barkeep-merge") {
                continue;
            }
            let rebuilt = Rebuilt::open(&members, name.as_bytes()).unwrap().unwrap();
            let mut content = vec![0; usize::try_from(rebuilt.size()).unwrap()];
            rebuilt.read_at(&mut content, 0).unwrap();
            if name == "data/backup_label" {
                content = barkeep::postgres::label::as_full(&content);
            }
            tree.insert(name, summary(&content));
        }
        tree
    }

    /// The backup that shares files with the root.
    fn other(&self) -> Tree {
        self.rebuilt(OTHER)
    }

    fn nothing_else_looks_good(&self, step: &Step) {
        let backups = self.catalog().backups().unwrap();
        let journal = self
            .catalog()
            .layout()
            .merge_path(&BackupId::parse(CHOSEN).unwrap())
            .exists();
        for id in [ROOT, FIRST].map(|id| BackupId::parse(id).unwrap()) {
            let Some(info) = backups.get(&id) else { continue };
            if info.status == BackupStatus::Done {
                let untouched = files(&self.base(&id));
                let pristine = files(
                    &self
                        .directory
                        .join("../home")
                        .join(SERVER)
                        .join("base")
                        .join(id.as_str()),
                );
                assert_eq!(untouched, pristine, "step {step}: {id} is DONE and has changed");
            } else {
                assert!(
                    journal || info.status == BackupStatus::Failed,
                    "step {step}: {id}"
                );
            }
        }
    }

    /// The merged backup is a full one that its manifest describes, and the others are gone.
    fn check_result(&self) {
        let catalog = self.catalog();
        let backups = catalog.backups().unwrap();
        let ids: Vec<&str> = backups.keys().map(BackupId::as_str).collect();
        assert_eq!(ids, [OTHER, CHOSEN, CHILD]);
        let chosen = &backups[&BackupId::parse(CHOSEN).unwrap()];
        assert!(!chosen.is_incremental() && chosen.status == BackupStatus::Done);
        assert_eq!(chosen.children_backup_ids.as_ref().unwrap().len(), 1);
        let base = self.base(&chosen.id);
        let link = std::fs::read_link(base.join("data/pg_tblspc/16387")).unwrap();
        assert!(link.ends_with(format!("{CHOSEN}/16387")), "{}", link.display());
        let label = std::fs::read_to_string(base.join("data/backup_label")).unwrap();
        assert!(
            !label.contains("INCREMENTAL") && label.contains(CHOSEN),
            "{label}"
        );
        let verified = catalog
            .verify(chosen, 2, &barkeep::codec::WalCodec::default())
            .unwrap();
        assert_eq!(verified.mismatches, []);
        assert!(verified.files > 20, "{}", verified.files);
    }
}
