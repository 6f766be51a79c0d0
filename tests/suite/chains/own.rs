//! A week of barkeep's own: a full backup over ssh and six incremental ones, restored, repaired, verified and merged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::cluster::{Cluster, Version};
use crate::support::lab::{Lab, LabOptions, Moment, mark};
use crate::support::proof::prove;
use crate::support::tool::Tool;
use crate::support::tree::Traces;

use super::churn;

/// Members of a chain, the full one included.
const WEEK: usize = 7;

pub(super) fn week(tool: &Tool, version: Version, checksums: bool) {
    let mut options = LabOptions::new(version)
        .tablespace()
        .server("parallel_jobs = 2\ncompression = zstd");
    options.checksums = checksums;
    let lab = Lab::start("week", tool, &options);
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(1, 60);
    let mut ids = vec![lab.backup(tool, &[])];
    let mut moments: Vec<Moment> = Vec::new();
    for number in 1..WEEK {
        lab.cluster.sql(&churn(number - 1));
        lab.cluster.sql("VACUUM pgbench_accounts");
        moments.push(mark(&lab.cluster, &format!("m{number}")));
        ids.push(lab.backup(tool, &["--incremental", "latest"]));
    }
    load.stop();
    let last = mark(&lab.cluster, "last");
    lab.archive_everything(tool);
    let (newest, middle) = (&ids[WEEK - 1], &ids[3]);
    for id in &ids {
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
    }
    let mut local = lab.restore(tool, "local", newest, &[]);
    prove(&mut local, &last);
    let target = ["--target-name", "m4", "--target-action", "promote"];
    let mut remote = lab.restore_remote(tool, "remote", middle, &target);
    prove(&mut remote, &moments[3]);
    repaired(&lab, tool, newest, &mut local, &last);
    damaged_root_is_noticed(&lab, tool, &ids);
    dry_runs_leave_no_trace(&lab, tool, &ids);

    // The tail of the chain becomes a full backup; what builds on it still does, and so does the next one.
    lab.manager.run(tool, &["merge", "main", middle]).success();
    assert_eq!(lab.manager.backup_ids("main").len(), WEEK - 3);
    for id in ids.iter().skip(3) {
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
    }
    let mut merged = lab.restore(tool, "merged", middle, &target);
    prove(&mut merged, &moments[3]);
    lab.cluster.sql(&churn(WEEK));
    let next = lab.backup(tool, &["--incremental", "latest"]);
    let onto_merged = lab.backup(tool, &["--incremental", middle]);
    let end = mark(&lab.cluster, "end");
    lab.archive_everything(tool);
    for (name, id) in [("next", &next), ("onto", &onto_merged)] {
        lab.manager.run(tool, &["verify-backup", "main", id]).success();
        let mut restored = lab.restore(tool, name, id, &[]);
        prove(&mut restored, &end);
    }
    // A linked backup shares files with a merged one; it must not suffer from the next merge.
    lab.manager.run(tool, &["merge", "main", &next]).exits(1);
    lab.manager.run(tool, &["delete", "main", &onto_merged]).success();
    lab.manager.run(tool, &["merge", "main", &next]).success();
    let linked = lab.backup(tool, &[]);
    lab.manager.run(tool, &["verify-backup", "main", &next]).success();
    lab.manager
        .run(tool, &["verify-backup", "main", &linked])
        .success();
    let mut restored = lab.restore(tool, "linked", &linked, &[]);
    prove(&mut restored, &end);
}

/// Nothing changes in the catalog, not even a lock file is made.
fn dry_runs_leave_no_trace(lab: &Lab, tool: &Tool, ids: &[String]) {
    let home = lab.manager.home();
    for entry in fs::read_dir(&home).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') && name.ends_with(".lock") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let destination = lab.manager.directory.join("never");
    let space = format!("space:{}-space", destination.display());
    let path = destination.display().to_string();
    let words = ["restore", "--dry-run", "--tablespace", &space, "main", &ids[3]];
    let restore = [&words[..], &[path.as_str()]].concat();
    let before = Traces::of(&home);
    for words in [
        &restore[..],
        &["merge", "--dry-run", "main", &ids[3]],
        &["delete", "--dry-run", "main", &ids[0]],
        &["cron", "--dry-run"],
    ] {
        let said = lab.manager.run(tool, words).success().stdout;
        assert!(said.contains("main"), "{words:?}: {said}");
        let changed = before.changed(&home);
        assert!(changed.is_empty(), "{words:?}: {changed:?}");
    }
    assert!(!destination.exists());
    // It says what there is to repair, and whoever has nothing to repair gets 0.
    let doctor = lab.manager.run(tool, &["doctor", "main"]);
    let changed = before.changed(&home);
    assert!(changed.is_empty(), "{changed:?}: {}", doctor.stdout);
    doctor.success();
}

/// A destination in which pages were damaged, files lost and files left is brought to the backup by a delta restore.
fn repaired(lab: &Lab, tool: &Tool, id: &str, cluster: &mut Cluster, moment: &Moment) {
    cluster.stop();
    let relation = newest_files(&cluster.data.join("base"));
    let mut content = fs::read(&relation[0]).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x55;
    fs::write(&relation[0], content).unwrap();
    fs::remove_file(&relation[1]).unwrap();
    fs::write(cluster.data.join("base/5/99999"), "no relation of this backup").unwrap();
    fs::write(cluster.data.join("notes of the DBA.txt"), "mine").unwrap();
    fs::create_dir(cluster.data.join("scripts")).unwrap();
    fs::write(cluster.data.join("scripts/nightly.sql"), "mine too").unwrap();
    let space = format!("space:{}", cluster.socket.join("space").display());
    let directory = cluster.data.display().to_string();
    let mut words = vec![
        "restore",
        "--delta-restore",
        "--tablespace",
        &space,
        "main",
        id,
        &directory,
    ];
    words.insert(1, "--dry-run");
    let dry = lab.manager.run(tool, &words).success().stdout;
    assert!(
        dry.contains("base/5/99999") && !dry.contains("notes of the DBA"),
        "{dry}"
    );
    assert!(cluster.data.join("base/5/99999").exists() && cluster.data.join("global/pg_control").exists());
    words.remove(1);
    lab.manager.run(tool, &words).success();
    assert!(!cluster.data.join("base/5/99999").exists());
    for mine in ["notes of the DBA.txt", "scripts/nightly.sql"] {
        assert!(cluster.data.join(mine).exists(), "{mine} is not PostgreSQL's");
    }
    prove(cluster, moment);
}

/// The largest relation files.
fn newest_files(base: &Path) -> Vec<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = walkdir::WalkDir::new(base)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.metadata().unwrap().len(), entry.path().to_path_buf()))
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, path)| path).collect()
}

/// A block of the full backup that the newest still needs is damaged: verify and restore say so.
fn damaged_root_is_noticed(lab: &Lab, tool: &Tool, ids: &[String]) {
    let relation = lab.cluster.sql("SELECT pg_relation_filepath('pg_proc')");
    let path = lab.base(&ids[0]).join("data").join(&relation);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[3 * 8192 + 4000] ^= 1;
    fs::write(&path, bad).unwrap();
    let newest = ids.last().unwrap();
    let verified = lab
        .manager
        .run(tool, &["verify-backup", "main", newest])
        .exits(1)
        .stderr;
    assert!(
        verified.contains(&relation) && verified.contains("put together"),
        "{verified}"
    );
    let directory = lab.scratch.directory("damaged", &lab.manager.account);
    let data = directory.join("data").display().to_string();
    let space = format!("space:{}", directory.join("space").display());
    let words = ["restore", "--tablespace", &space, "main", newest, &data];
    let restored = lab.manager.run(tool, &words).exits(1);
    assert!(restored.stderr.contains(&relation), "{}", restored.stderr);
    assert!(
        !restored.stdout.contains("successfully prepared"),
        "{}",
        restored.stdout
    );
    fs::write(&path, good).unwrap();
    lab.manager
        .run(tool, &["verify-backup", "main", newest])
        .success();
}
