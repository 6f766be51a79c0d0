//! Backups out of the ordinary: ended by the operator, refused by a hook, taken from a standby, and what a running one
//! keeps others from doing. (Crashes and lost connections: the suite `crash`.)

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, Version};
use crate::support::lab::{Lab, LabOptions, digest};
use crate::support::process::{Account, Background, eventually, run};
use crate::support::tool::Tool;

type Test = fn(&Tool);

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("ctrl_c", ctrl_c),
        ("reference_is_locked", reference_is_locked),
        ("refused_by_a_hook", refused_by_a_hook),
        ("from_a_standby", from_a_standby),
    ];
    tests
        .into_iter()
        .map(|(name, test)| {
            let tool = tool.clone();
            Trial::test(format!("unusual_backups::{name}"), move || {
                test(&tool);
                Ok(())
            })
        })
        .collect()
}

/// A lab with one complete backup and enough new data to keep the next one busy.
fn lab(label: &str, tool: &Tool) -> Lab {
    let options = LabOptions::new(Version::V15);
    let lab = Lab::start(label, tool, &options);
    lab.prepare(tool);
    lab.manager.run(tool, &["backup", "--wait", "main"]).success();
    lab.cluster
        .sql("CREATE TABLE filler AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 40000) g");
    lab
}

/// The values of a `backup.info`.
fn info(lab: &Lab, id: &str) -> BTreeMap<String, String> {
    let path = lab.manager.server("main").join(format!("meta/{id}-backup.info"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The ids of the catalog, oldest first.
fn ids(lab: &Lab) -> Vec<String> {
    let meta = std::fs::read_dir(lab.manager.server("main").join("meta")).unwrap();
    let mut ids: Vec<String> = meta
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(name.strip_suffix("-backup.info")?.to_owned())
        })
        .collect();
    ids.sort();
    ids
}

/// Starts a backup that takes long, and waits until it copies.
fn slow_backup(lab: &Lab, tool: &Tool) -> (Background, String) {
    let before = ids(lab);
    let mut command = lab.manager.command(tool, &["backup", "--bwlimit", "300", "main"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut backup = Background::start(command, Signal::SIGTERM);
    eventually(Duration::from_secs(30), "the copy to begin", || {
        assert!(
            backup.is_running(),
            "the backup ended early:\n{}",
            lab.manager.log()
        );
        let all = ids(lab);
        let id = all.iter().find(|id| !before.contains(id));
        id.is_some_and(|id| lab.base(id).join("data/base").is_dir() && info(lab, id)["status"] == "STARTED")
    });
    let id = ids(lab).into_iter().find(|id| !before.contains(id)).unwrap();
    (backup, id)
}

#[track_caller]
fn expect_nothing_left(lab: &Lab) {
    let locks = lab.manager.home().read_dir().unwrap();
    for path in locks.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "lock") {
            let free = File::open(&path).unwrap().try_lock().is_ok();
            assert!(free, "{} is still held", path.display());
        }
    }
    eventually(
        Duration::from_secs(10),
        "the end of everything on the server's host",
        || lab.sshd.session_processes().is_empty(),
    );
}

#[track_caller]
fn expect_no_session(lab: &Lab) {
    eventually(Duration::from_secs(10), "the end of the session", || {
        lab.cluster
            .sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'")
            == "0"
    });
}

/// Barman's words, and PostgreSQL is told, so that the label of the failed backup is known.
fn ctrl_c(tool: &Tool) {
    let lab = lab("ctrl-c", tool);
    let (backup, id) = slow_backup(&lab, tool);
    backup.signal(Signal::SIGINT);
    let finished = backup.finish(Duration::from_secs(20)).exits(1);
    assert_eq!(
        finished.stderr,
        "ERROR: The backup has failed copying files\nERROR: Backup failed copying files.\nDETAILS: KeyboardInterrupt\n"
    );
    assert!(
        finished
            .stdout
            .ends_with("Asking PostgreSQL server to finalize the backup.\n"),
        "{}",
        finished.stdout
    );
    let info = info(&lab, &id);
    assert_eq!(info["error"], "failure copying files (KeyboardInterrupt)");
    assert!(info["backup_label"].contains("START WAL LOCATION"));
    expect_nothing_left(&lab);
}

/// While a backup takes over the files of another one, neither tool deletes that.
fn reference_is_locked(tool: &Tool) {
    let lab = lab("reference", tool);
    let reference = ids(&lab)[0].clone();
    let (backup, _) = slow_backup(&lab, tool);
    let lock = lab.manager.home().join(format!(".main-{reference}.lock"));
    assert!(
        File::open(lock).unwrap().try_lock().is_err(),
        "the reference is not locked"
    );
    for tool in [tool, &Tool::barman()] {
        let deleted = lab.manager.run(tool, &["delete", "main", &reference]);
        assert_ne!(deleted.code, 0, "{}{}", deleted.stdout, deleted.stderr);
        assert!(lab.base(&reference).join("data/PG_VERSION").exists());
    }
    let second = lab.manager.run(tool, &["backup", "main"]).exits(1);
    assert_eq!(second.stderr, "ERROR: Another backup process is running\n");
    backup.signal(Signal::SIGTERM);
    backup.finish(Duration::from_secs(20)).exits(1);
    expect_nothing_left(&lab);
}

fn refused_by_a_hook(tool: &Tool) {
    let lab = lab("refused", tool);
    let before = ids(&lab);
    let environment = lab.manager.directory.join("environment");
    lab.configure(&format!(
        "pre_backup_retry_script = exit 63\npost_backup_script = env | grep ^BARMAN_ > {}\n",
        environment.display()
    ));
    let finished = lab.manager.run(tool, &["backup", "main"]).exits(1);
    let reason = "Abort 'pre_backup_retry_script' retry hook script (exit 63, exit code: 63)";
    assert_eq!(
        finished.stderr,
        format!("ERROR: Backup failed starting backup.\nDETAILS: {reason}\n")
    );
    let id = ids(&lab).into_iter().find(|id| !before.contains(id)).unwrap();
    assert_eq!(info(&lab, &id)["status"], "FAILED");
    let environment = std::fs::read_to_string(environment).unwrap();
    for line in [
        "BARMAN_STATUS=FAILED".to_owned(),
        "BARMAN_PHASE=post".to_owned(),
        format!("BARMAN_ERROR=failure starting backup ({reason})"),
        format!("BARMAN_BACKUP_ID={id}"),
        format!("BARMAN_PREVIOUS_ID={}", before[0]),
    ] {
        assert!(
            environment.lines().any(|known| known == line),
            "{line}\n{environment}"
        );
    }
}

/// The standby is copied, the primary switches its WAL and archives it.
fn from_a_standby(tool: &Tool) {
    let lab = lab("standby", tool);
    let standby = standby_of(&lab);
    let body = format!(
        "conninfo = {}\nprimary_conninfo = {}\nssh_command = {}\narchiver = on\nbackup_method = rsync\n\
         backup_options = concurrent_backup\npath_prefix = {}\nimmediate_checkpoint = true",
        standby.conninfo(),
        lab.cluster.conninfo(),
        lab.sshd.command_for("postgres"),
        lab.cluster.version.bin().display(),
    );
    lab.manager.configure("", &[("main", body)]);
    let arguments = ["backup", "--wait", "--wait-timeout", "60", "main"];
    lab.manager.run(tool, &arguments).success();
    let id = ids(&lab).pop().unwrap();
    let full = info(&lab, &id);
    assert_eq!(full["status"], "DONE");
    assert!(
        full["backup_label"].contains("BACKUP FROM: standby"),
        "{}",
        full["backup_label"]
    );
    // An incremental one on it, after a checkpoint that the standby has heard of.
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = abalance + 7 WHERE aid % 50 = 0");
    lab.cluster.sql("CHECKPOINT");
    let position = lab.cluster.sql("SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
    eventually(Duration::from_secs(60), "the standby to replay", || {
        standby.sql(&replayed) == "t"
    });
    let arguments = [
        "backup",
        "--incremental",
        &id,
        "--wait",
        "--wait-timeout",
        "60",
        "main",
    ];
    lab.manager.run(tool, &arguments).success();
    let child = ids(&lab).pop().unwrap();
    let record = info(&lab, &child);
    assert_eq!(record["status"], "DONE");
    assert_eq!(record["parent_backup_id"], id);
    let streamed = streamed_from(&lab, &standby, tool);
    let expected = digest(&lab.cluster);
    lab.archive_everything(tool);
    for (name, id) in [("restored", &child), ("streamed", &streamed)] {
        let options = ["--target-tli", "latest", "--target-action", "promote"];
        let mut restored = lab.restore(tool, name, id, &options);
        restored.launch();
        eventually(Duration::from_secs(60), "the end of recovery", || {
            restored.sql("SELECT pg_is_in_recovery()") == "f"
        });
        assert_eq!(digest(&restored), expected);
        restored.amcheck();
    }
}

/// The same standby by `pg_basebackup`, which waits for WAL that only the primary can have archived.
fn streamed_from(lab: &Lab, standby: &Cluster, tool: &Tool) -> String {
    let body = format!(
        "conninfo = {0}\nstreaming_conninfo = {0}\nprimary_conninfo = {1}\narchiver = on\nbackup_method = postgres\n\
         backup_compression = gzip\npath_prefix = {2}\nimmediate_checkpoint = true",
        standby.conninfo(),
        lab.cluster.conninfo(),
        lab.cluster.version.bin().display(),
    );
    lab.manager.configure("", &[("main", body)]);
    let id = lab.backup(tool, &[]);
    let record = info(lab, &id);
    assert_eq!(record["status"], "DONE");
    assert!(record["backup_label"].contains("BACKUP FROM: standby"));
    id
}

fn standby_of(lab: &Lab) -> Cluster {
    let directory = lab.scratch.directory("standby", &Account::postgres());
    let data = directory.join("data");
    let mut basebackup: Command = lab.cluster.client("pg_basebackup");
    basebackup
        .args(["-R", "-X", "stream", "-c", "fast", "-D"])
        .arg(&data);
    run(basebackup).success();
    let mut standby = Cluster::adopt(data, lab.cluster.version, Account::postgres());
    forget(&standby.data.join("postmaster.pid"));
    standby.launch();
    standby
}

fn forget(path: &Path) {
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
}
