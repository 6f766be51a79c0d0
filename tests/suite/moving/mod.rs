//! Backups that move from one catalog to another as one file: `export-backup` and `import-backup`, with Barman on either side, and
//! imports that are killed at every step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use barkeep::catalog::{BackupStatus, Catalog};
use libtest_mimic::Trial;

use crate::support::catalog::{Backup, ServerCatalog};
use crate::support::diff;
use crate::support::killing::{Killing, SERVER, Step};
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;
use crate::support::tree::describe;

/// The tests of this module.
pub fn trials(barkeep: &Tool) -> Vec<Trial> {
    let barkeep = Arc::new(barkeep.clone());
    let (both, killed) = (Arc::clone(&barkeep), barkeep);
    vec![
        Trial::test("moving::both_ways", move || {
            both_ways(&both);
            Ok(())
        }),
        Trial::test("moving::import_killed", move || {
            every_step_of_import(&killed);
            Ok(())
        }),
    ]
}

/// A full backup with tablespaces, on which an incremental one builds.
const MOVED: &str = "20240102T000000";
/// The system calls that change a disk.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,symlink,ftruncate";

fn build(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    catalog.backup(&Backup::done("20240101T000000", 2, 2));
    catalog.backup(&Backup {
        tablespaces: true,
        mode: "postgres",
        name: Some("sunday"),
        children: Some("20240103T000000"),
        // Barman keeps the size that the backup had where its files were shared.
        overrides: vec![("deduplicated_size", Some("41943040"))],
        ..Backup::done(MOVED, 4, 6)
    });
    catalog.backup(&Backup {
        mode: "postgres",
        parent: Some(MOVED),
        ..Backup::done("20240103T000000", 8, 8)
    });
    catalog.segments(1, 1, 5, Some("gzip"));
    catalog.segments(1, 6, 9, None);
    catalog.finish();
    let base = catalog.directory.join("base").join(MOVED);
    let links = base.join("data/pg_tblspc");
    std::fs::create_dir_all(&links).unwrap();
    for oid in ["16387", "16388"] {
        std::os::unix::fs::symlink(base.join(oid), links.join(oid)).unwrap();
    }
    // Longer than the name field of a header.
    let deep = base.join("data").join("d".repeat(90)).join("e".repeat(90));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f".repeat(90)), "deep").unwrap();
}

/// A catalog that knows the cluster, with WAL from before and after.
fn build_target(home: &Path) {
    let mut catalog = ServerCatalog::create(home, SERVER);
    catalog.segments(1, 1, 2, None);
    catalog.segments(1, 9, 9, None);
    catalog.finish();
}

/// Exports with the tool; the path of the file.
fn export(lab: &Killing, tool: &Tool, options: &[&str]) -> PathBuf {
    let directory = lab.directory.join("exported");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    let target = directory.display().to_string();
    let words = [&["export-backup"], options, &[SERVER, "sunday", &target]].concat();
    let output = lab.command(tool, &words).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", tool.name);
    let mut found = std::fs::read_dir(&directory).unwrap();
    let path = found.next().unwrap().unwrap().path();
    assert!(found.next().is_none(), "{} left something behind", tool.name);
    path
}

/// The catalog after an import by the tool, without the paths of the test.
fn imported(scratch: &Scratch, target: &Path, name: &str, tool: &Tool, tarball: &Path) -> String {
    let lab = Killing::new(scratch, target, name);
    let words = ["import-backup", SERVER, tarball.to_str().unwrap()];
    let output = lab.command(tool, &words).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", tool.name);
    let home = lab.directory.join("home");
    describe(&home.join(SERVER))
        .replace(&home.display().to_string(), "HOME")
        // Barman goes on naming backups that were left behind, so the file has another size; its lines follow.
        .replace("children_backup_ids=20240103T000000", "children_backup_ids=None")
        .lines()
        .filter(|line| !(line.starts_with("f ") && line.contains("-backup.info")))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn both_ways(barkeep: &Tool) {
    let scratch = Scratch::new("moving");
    let (pristine, target) = (scratch.join("home"), scratch.join("target"));
    build(&pristine);
    build_target(&target);
    let barman = Tool::barman();
    let source = Killing::new(&scratch, &pristine, "source");
    let theirs = export(&source, &barman, &[]);
    let kept = scratch.join(theirs.file_name().unwrap());
    std::fs::rename(&theirs, &kept).unwrap();
    let expected = imported(&scratch, &target, "reference", &barman, &kept);
    let check = |what: &str, catalog: String| {
        if let Some(text) = diff::lines(&expected, &catalog) {
            panic!("{what} ('-' Barman, '+' barkeep)\n{text}");
        }
    };
    check(
        "Barman to barkeep",
        imported(&scratch, &target, "there", barkeep, &kept),
    );
    for (number, options) in [
        &[][..],
        &["--compression", "gzip", "--compression-level", "1"],
        &["--compression", "bzip2"],
        &["--compression", "xz", "--compression-level", "0"],
    ]
    .into_iter()
    .enumerate()
    {
        let ours = export(&source, barkeep, options);
        let tool = if number % 2 == 0 { &barman } else { barkeep };
        let what = format!("barkeep to {} with {options:?}", tool.name);
        check(
            &what,
            imported(&scratch, &target, &format!("back{number}"), tool, &ours),
        );
    }
}

fn every_step_of_import(barkeep: &Tool) {
    let scratch = Scratch::new("importing");
    let (pristine, target) = (scratch.join("home"), scratch.join("target"));
    build(&pristine);
    build_target(&target);
    let source = Killing::new(&scratch, &pristine, "source");
    let tarball = export(&source, barkeep, &[]);
    let words = ["import-backup", SERVER, tarball.to_str().unwrap()];
    let finished = Killing::new(&scratch, &target, "finished");
    assert!(finished.command(barkeep, &words).status().unwrap().success());
    let after = finished.files();
    let kills = Killing::at_every_step(&scratch, &target, barkeep, CALLS, &words, |lab, step| {
        if !is_complete(&lab.catalog(), step) {
            let output = lab.command(barkeep, &words).output().unwrap();
            assert!(output.status.success(), "step {step}: {output:?}");
            assert!(is_complete(&lab.catalog(), step), "step {step}");
            assert_eq!(lab.files(), after, "after a kill at step {step}");
        }
    });
    assert!(kills > 15, "only {kills} steps were found: is strace at work?");
}

/// Whether the backup is in the catalog, and then all of it.
fn is_complete(catalog: &Catalog, step: &Step) -> bool {
    let backups = catalog.backups().unwrap();
    let Some(info) = backups.values().next() else {
        return false;
    };
    if info.status != BackupStatus::Done {
        assert_eq!(info.status, BackupStatus::Failed, "step {step}");
        return false;
    }
    let base = catalog.layout().base_dir(&info.id);
    for file in [
        "data/backup_label",
        "16387/PG_15_202209061/5/20000",
        "data/pg_tblspc/16387/PG_15_202209061",
    ] {
        assert!(base.join(file).exists(), "step {step}: {file} is missing");
    }
    let recorded: Vec<String> = catalog
        .xlogdb()
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().name)
        .collect();
    for segment in info.required_segments().map(|segment| segment.to_string()) {
        assert!(
            recorded.contains(&segment),
            "step {step}: {segment} is not recorded"
        );
        assert!(
            catalog.layout().wal_path(&segment).unwrap().is_file(),
            "step {step}: {segment}"
        );
    }
    assert!(catalog.keep_status(&info.id).unwrap().is_some(), "step {step}");
    true
}
