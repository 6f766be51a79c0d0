//! Backups that are being read are not deleted, with anything that they build on, by neither tool (B5).
//!
//! Each reader is stopped while it reads a file of the backup. (Copies to a passive node: `sync::held_on_the_primary_node`; the
//! backups that a running one builds on or takes files from: `incremental` and `unusual_backups::reference_is_locked`.)

use std::path::Path;

use libtest_mimic::Trial;

use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::killing::{Killing, SERVER};
use crate::support::scratch::Scratch;
use crate::support::stopping::Stopped;
use crate::support::tool::Tool;
use crate::support::tree::files;

/// A full backup, an incremental one on it, and one by itself.
const ROOT: &str = "20240102T000000";
const CHILD: &str = "20240103T000000";
const ALONE: &str = "20240104T000000";

/// The tests of this module.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    // The command ("{dest}" is a directory that is empty), the backup that it reads, and those that must stay.
    let readers: [(&str, &str, &str, &[&str]); 6] = [
        (
            "restore",
            "restore main 20240104T000000 {dest}/pg",
            ALONE,
            &[ALONE],
        ),
        (
            "restore_of_a_chain",
            "restore main 20240103T000000 {dest}/pg",
            CHILD,
            &[CHILD, ROOT],
        ),
        ("verify", "verify-backup main 20240104T000000", ALONE, &[ALONE]),
        (
            "verify_of_a_chain",
            "verify-backup main 20240103T000000",
            CHILD,
            &[CHILD, ROOT],
        ),
        (
            "export",
            "export-backup main 20240104T000000 {dest}",
            ALONE,
            &[ALONE],
        ),
        (
            "generate_manifest",
            "generate-manifest main 20240104T000000",
            ALONE,
            &[ALONE],
        ),
    ];
    readers
        .into_iter()
        .map(|(name, command, read, held)| {
            let tool = barkeep.clone();
            Trial::test(format!("in_use::{name}"), move || {
                stays(&tool, command, read, held);
                Ok(())
            })
        })
        .collect()
}

fn build(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    let postgres = |id, segment| Backup {
        mode: "postgres",
        ..Backup::done(id, segment, segment)
    };
    catalog.backup(&Backup {
        children: Some(CHILD),
        ..postgres(ROOT, 2)
    });
    catalog.backup(&Backup {
        parent: Some(ROOT),
        ..postgres(CHILD, 4)
    });
    catalog.backup(&Backup::done(ALONE, 6, 6));
    catalog.segments(1, 1, 8, None);
    catalog.finish();
}

fn stays(barkeep: &Tool, command: &str, read: &str, held: &[&str]) {
    let scratch = Scratch::new("in-use");
    let pristine = scratch.join("home");
    build(&pristine);
    let lab = Killing::new(&scratch, &pristine, "lab");
    let words: Vec<String> = {
        let destination = lab.directory.join("destination");
        std::fs::create_dir(&destination).unwrap();
        let fill = |word: &str| word.replace("{dest}", destination.to_str().unwrap());
        command.split(' ').map(fill).collect()
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words[0] == "verify-backup" {
        for id in [ROOT, CHILD, ALONE] {
            let output = lab
                .command(barkeep, &["generate-manifest", SERVER, id])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
    let base = lab.directory.join("home").join(SERVER).join("base");
    let file = base.join(read).join("data/base/5/1259");
    let reader = Stopped::at(&file, &lab.command(barkeep, &words), lab.directory.join("calls"));
    let before = files(&base);
    for id in held {
        for tool in [barkeep, &Tool::barman()] {
            let refused = lab.command(tool, &["delete", SERVER, id]).output().unwrap();
            assert!(!refused.status.success(), "{} deletes {id}", tool.name);
            assert!(files(&base) == before, "{} has deleted a part of {id}", tool.name);
        }
    }
    let finished = reader.finish();
    assert_eq!(finished.code, 0, "{finished:?}");
    for id in held {
        let deleted = lab.command(barkeep, &["delete", SERVER, id]).output().unwrap();
        assert!(deleted.status.success(), "{id} afterwards: {deleted:?}");
    }
}
