//! `delete`, killed at every step that changes the disk: nothing good may look damaged, nothing damaged good, and a
//! repeated delete, by either tool, must finish the work.

use std::path::Path;

use barkeep::catalog::{BackupStatus, Catalog};

use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::killing::{Killing, SERVER, Step};
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;
use crate::support::tree::files;

/// A full backup with an incremental one on it: the oldest of the catalog, so WAL goes with it.
const ROOT: &str = "20240101T000000";
const DELETE: [&str; 3] = ["delete", SERVER, ROOT];
/// The system calls that change a disk.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,ftruncate,fsync,fdatasync";

pub fn every_step_of_delete(barkeep: &Tool) {
    let scratch = Scratch::new("killed");
    let pristine = scratch.join("home");
    build(&pristine);
    let before = files(&pristine.join(SERVER));
    let finished = Killing::new(&scratch, &pristine, "finished");
    assert!(finished.command(barkeep, &DELETE).status().unwrap().success());
    let after = finished.files();

    let kills = Killing::at_every_step(&scratch, &pristine, barkeep, CALLS, &DELETE, |lab, step| {
        lab.check_what_is_good(&before, step);
        // Barman's turn now and then: it takes a third of a second.
        let tool = if step.number % 5 == 0 {
            Tool::barman()
        } else {
            barkeep.clone()
        };
        lab.finish(&tool, step);
        assert_eq!(
            lab.files(),
            after,
            "after a kill at step {step}, finished by {}",
            tool.name
        );
    });
    assert!(kills > 30, "only {kills} steps were found: is strace at work?");
}

fn build(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    let mut root = Backup::done(ROOT, 2, 3);
    let mut child = Backup::done("20240102T000000", 4, 4);
    (root.mode, child.mode) = ("postgres", "postgres");
    (root.children, child.parent) = (Some("20240102T000000"), Some(ROOT));
    for backup in [
        root,
        child,
        Backup::done("20240103T000000", 6, 7),
        Backup::done("20240104T000000", 9, 9),
    ] {
        catalog.backup(&backup);
    }
    catalog.segments(1, 1, 10, None);
    catalog.finish();
}

impl Killing {
    /// Whatever is called good is whole: data, and the WAL it needs, on disk and in the database.
    fn check_what_is_good(&self, before: &std::collections::BTreeMap<String, String>, step: &Step) {
        let catalog = self.catalog();
        let now = self.files();
        let recorded: Vec<String> = catalog
            .xlogdb()
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().name)
            .collect();
        let backups = catalog.backups().unwrap();
        for info in backups.values().filter(|info| info.status == BackupStatus::Done) {
            let data = format!("base/{}/", info.id);
            for name in before.keys().filter(|name| name.starts_with(&data)) {
                assert!(
                    now.contains_key(name),
                    "step {step}: {} is DONE but {name} is gone",
                    info.id
                );
            }
            for segment in info.required_segments().map(|segment| segment.to_string()) {
                assert!(
                    recorded.contains(&segment),
                    "step {step}: {} lacks {segment} in xlog.db",
                    info.id
                );
                assert!(
                    catalog.layout().wal_path(&segment).unwrap().is_file(),
                    "step {step}: {segment} is gone"
                );
            }
        }
        for id in ["20240103T000000", "20240104T000000"] {
            assert!(
                backups
                    .values()
                    .any(|info| info.id.as_str() == id && info.status == BackupStatus::Done)
            );
        }
    }

    fn finish(&self, tool: &Tool, step: &Step) {
        let there = |catalog: &Catalog| catalog.backups().unwrap().keys().any(|id| id.as_str() == ROOT);
        if there(&self.catalog()) {
            let output = self.command(tool, &DELETE).output().unwrap();
            assert!(output.status.success(), "step {step}, {}: {output:?}", tool.name);
        }
        assert!(!there(&self.catalog()), "step {step}, {}", tool.name);
        // One that its parent does not name any more is no child to Barman: its own error says what to do.
        for (id, info) in self.catalog().backups().unwrap() {
            if info.status == BackupStatus::Failed {
                assert_eq!(tool.name, Tool::barman().name, "step {step}: {id} is left");
                let output = self
                    .command(tool, &["delete", SERVER, id.as_str()])
                    .output()
                    .unwrap();
                assert!(output.status.success(), "step {step}, {}: {output:?}", tool.name);
            }
        }
        // What cron does.
        self.catalog().remove_leftovers().unwrap();
    }
}
