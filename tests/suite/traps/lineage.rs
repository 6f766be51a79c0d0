//! Servers that are not the one that the parent was taken from, or not any more: put back from an older copy, promoted,
//! with checksums switched on.

use std::collections::BTreeSet;
use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use walkdir::WalkDir;

use super::proof::{prove_equal, same_files};
use super::{Setting, incremental};
use crate::support::cluster::{Cluster, Version};
use crate::support::lab::Lab;
use crate::support::process::{Account, Background, eventually, run};
use crate::support::tool::Tool;
use crate::support::tree;

/// A data directory is put back from an older copy, file by file into the same inodes with the old times, and goes on from
/// there on the same timeline until its WAL is past the parent's: pages are older than the parent and not what it has.
/// Then data checksums are switched: no chain goes on across that.
pub fn older_cluster(tool: &Tool, setting: Setting) {
    let size = match setting.version {
        Version::V15 => "--wal-segsize=1",
        _ => "--wal-segsize=64",
    };
    let mut lab = Lab::start("older", tool, &setting.options().initdb(size));
    for table in ["stale", "diverged", "untouched"] {
        lab.cluster.sql(&format!(
            "CREATE TABLE {table} AS SELECT g, repeat('o', 50) AS t FROM generate_series(1, 30000) g"
        ));
    }
    lab.prepare(tool);
    lab.cluster.stop();
    let copy = lab.scratch.join("copy");
    tree::copy(&lab.cluster.data, &copy);
    lab.cluster.launch();
    lab.cluster
        .sql("UPDATE stale SET t = repeat('p', 50) WHERE g % 5 = 0");
    lab.cluster
        .sql("UPDATE diverged SET t = repeat('p', 50) WHERE g % 3 = 0");
    lab.cluster
        .sql("CREATE TABLE lost AS SELECT g FROM generate_series(1, 1000) g");
    lab.backup(tool, &[]);
    let parent_end = lab.cluster.sql("SELECT pg_current_wal_insert_lsn()");

    lab.cluster.stop();
    put_back(&copy, &lab.cluster);
    // The archive has other WAL of the same names: who puts back a cluster has to make room.
    for directory in ["wals", "incoming"] {
        for entry in std::fs::read_dir(lab.manager.server("main").join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else if directory == "incoming" {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    lab.manager.run(tool, &["rebuild-xlogdb", "main"]).success();
    lab.cluster.launch();
    lab.cluster
        .sql("UPDATE diverged SET t = repeat('q', 50) WHERE g % 7 = 0");
    eventually(Duration::from_secs(60), "the WAL to be past the parent's", || {
        lab.cluster.switch_wal();
        lab.cluster
            .sql(&format!("SELECT pg_current_wal_insert_lsn() > '{parent_end}'"))
            == "t"
    });
    lab.cluster.sql("CHECKPOINT");
    let child = incremental(&lab, tool);
    let restored = lab.restore(tool, "older", &child, &[]);
    same_files(&lab.cluster, &restored);
    prove_equal(&lab, restored, setting);

    switch_checksums(&mut lab, tool, setting);
}

fn switch_checksums(lab: &mut Lab, tool: &Tool, setting: Setting) {
    lab.cluster.stop();
    let mut switch = lab.cluster.program("pg_checksums");
    switch
        .arg(if setting.checksums {
            "--disable"
        } else {
            "--enable"
        })
        .arg("-D")
        .arg(&lab.cluster.data);
    run(switch).success();
    lab.cluster.launch();
    let before = lab.manager.backup_ids("main");
    let refused = lab
        .manager
        .run(tool, &["backup", "--incremental", "latest", "main"])
        .exits(1);
    assert!(refused.stderr.contains("checksum"), "{}", refused.stderr);
    assert_eq!(before, lab.manager.backup_ids("main"));
    let full = lab.backup(tool, &["--incremental", "auto"]);
    let listed = lab.manager.run(tool, &["list-backups", "main"]).success().stdout;
    assert!(listed.contains(&format!("main {full} - R - ")), "{listed}");
}

/// Makes a data directory what its copy is. What exists is written over, and gets its old times.
fn put_back(copy: &Path, cluster: &Cluster) {
    let mut kept = BTreeSet::new();
    for entry in WalkDir::new(copy) {
        let entry = entry.unwrap();
        let relative = entry.path().strip_prefix(copy).unwrap().to_path_buf();
        let target = cluster.data.join(&relative);
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            cluster.owner.own(&target);
        } else {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&target)
                .unwrap();
            file.write_all(&std::fs::read(entry.path()).unwrap()).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            file.set_times(FileTimes::new().set_modified(modified)).unwrap();
            cluster.owner.own(&target);
        }
        kept.insert(relative);
    }
    let everything: Vec<PathBuf> = WalkDir::new(&cluster.data)
        .contents_first(true)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    for path in everything {
        if kept.contains(path.strip_prefix(&cluster.data).unwrap()) {
            continue;
        }
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    drop(File::open(&cluster.data).unwrap());
}

/// A chain that begins on a standby, goes on there, and ends on the same server after it was promoted.
pub fn failover(tool: &Tool, setting: Setting) {
    let mut lab = Lab::start("failover", tool, &setting.options());
    lab.cluster.sql(
        "CREATE TABLE hints AS SELECT g AS id, 'v' AS v FROM generate_series(1, 30000) g; CREATE INDEX ON hints (id)",
    );
    lab.prepare(tool);
    let standby = standby(&lab, tool);
    let on_standby = |lab: &Lab| {
        lab.configure(&format!(
            "conninfo = {}\nprimary_conninfo = {}\nprimary_checkpoint_timeout = 5\n",
            standby.conninfo(),
            lab.cluster.conninfo()
        ));
    };
    on_standby(&lab);
    let mut heartbeat = heartbeat(&lab);
    lab.backup(tool, &[]);
    lab.cluster.sql("UPDATE hints SET v = 'w' WHERE id % 50 = 0");
    lab.cluster
        .sql("INSERT INTO pgbench_history SELECT 1, 1, g, 0, now(), 'h' FROM generate_series(1, 10000) g");
    caught_up(&lab, &standby);
    // Bits that only the standby has.
    standby.sql("SELECT count(*) FROM hints");
    lab.cluster.sql("CHECKPOINT");
    caught_up(&lab, &standby);
    let one = incremental(&lab, tool);
    heartbeat.stop();
    lab.archive_everything(tool);
    let restored = lab.restore(tool, "one", &one, &[]);
    prove_equal(&lab, restored, setting);

    // The primary is gone.
    lab.cluster.stop();
    standby.sql("SELECT pg_promote()");
    lab.cluster = standby;
    lab.configure("");
    lab.cluster.sql("SELECT count(*) FROM hints");
    lab.cluster.sql("VACUUM hints");
    lab.cluster.sql("UPDATE hints SET v = 'x' WHERE id % 300 = 0");
    lab.cluster.sql("CHECKPOINT");
    let two = incremental(&lab, tool);
    let restored = lab.restore(tool, "two", &two, &[]);
    same_files(&lab.cluster, &restored);
    prove_equal(&lab, restored, setting);
}

/// Closes segments of the primary, as a busy one does: a backup from a standby waits for its last one.
fn heartbeat(lab: &Lab) -> Background {
    let script = lab.scratch.join("heartbeat.sql");
    std::fs::write(
        &script,
        "SELECT pg_logical_emit_message(false, 'test', 'beat');\nSELECT pg_switch_wal();\n",
    )
    .unwrap();
    let mut pgbench = lab.cluster.client("pgbench");
    pgbench
        .args(["-n", "-T", "600", "-c", "1", "-R", "0.7", "-f"])
        .arg(&script)
        .arg("postgres")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Background::start(pgbench, Signal::SIGINT)
}

/// A standby of the lab's cluster, streaming.
fn standby(lab: &Lab, tool: &Tool) -> Cluster {
    let home = lab.scratch.directory("standby", &Account::postgres());
    let data = home.join("data");
    let mut copy = lab.cluster.client("pg_basebackup");
    copy.args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync", "-D"])
        .arg(&data);
    run(copy).success();
    let mut standby = Cluster::adopt(data, lab.cluster.version, Account::postgres())
        .with_path(&[lab.sshd.bin.clone(), tool.path().to_path_buf()]);
    standby.environment.clone_from(&lab.cluster.environment);
    standby.launch();
    caught_up(lab, &standby);
    standby
}

/// Waits until the standby has replayed what there is.
fn caught_up(lab: &Lab, standby: &Cluster) {
    let position = lab.cluster.sql("SELECT pg_current_wal_lsn()");
    eventually(Duration::from_secs(60), "the standby to catch up", || {
        standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")) == "t"
    });
}
