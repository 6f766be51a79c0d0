//! Backups and restores of a cluster under load, proved by comparing data.
//!
//! Every restored cluster is started; its tables must hold what they held at the target; `pg_amcheck` and
//! `pg_checksums` must find nothing.

use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Moment, Shipping, digest, mark};
use crate::support::process::eventually;
use crate::support::proof::{open, prove};
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |version: Version, name: &str, test: fn(&Tool, Version)| {
        let tool = tool.clone();
        let name = format!("scenario::postgresql_{}::{name}", version.major());
        Trial::test(name, move || {
            test(&tool, version);
            Ok(())
        })
    };
    let mut trials = Vec::new();
    for version in Version::ALL {
        trials.push(with(version, "every_target", every_target));
        trials.push(with(version, "tablespaces_and_remote", tablespaces_and_remote));
        trials.push(with(version, "get_wal", get_wal));
        trials.push(with(version, "timelines", timelines));
        trials.push(with(version, "wal_by_rsync", wal_by_rsync));
        trials.push(with(version, "local_rsync", local_rsync));
    }
    trials.push(with(
        Version::V15,
        "backup_host_out_of_reach",
        backup_host_out_of_reach,
    ));
    for version in Version::OTHERS
        .into_iter()
        .filter(|version| version.is_installed())
    {
        trials.push(with(version, "tablespaces_and_remote", tablespaces_and_remote));
        trials.push(with(version, "local_rsync", local_rsync));
        trials.push(with(version, "recovery_settings", recovery_settings));
    }
    trials
}

/// A full and a linked backup under load; from the second, every kind of target.
fn every_target(tool: &Tool, version: Version) {
    let lab = Lab::start(
        "target",
        tool,
        &LabOptions::new(version).server("compression = gzip\nparallel_jobs = 2"),
    );
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(2, 200);
    let full = lab.backup(tool, &[]);
    let first = mark(&lab.cluster, "first");
    let linked = lab.backup(tool, &["--name", "linked"]);
    let second = mark(&lab.cluster, "second");
    let after = mark(&lab.cluster, "after");
    load.stop();
    lab.archive_everything(tool);
    let last = mark(&lab.cluster, "last");
    lab.archive_everything(tool);

    let promote = ["--target-action", "promote"];
    let targets: [(&str, &str, Vec<&str>, &Moment); 7] = [
        ("time", &linked, vec!["--target-time", &second.time], &second),
        ("xid", &linked, vec!["--target-xid", &second.xid], &second),
        (
            "lsn",
            "linked",
            vec!["--target-lsn", &after.lsn, "--target-tli", "1"],
            &after,
        ),
        ("name", "latest", vec!["--target-name", "second"], &second),
        ("older", &full, vec!["--target-name", "first"], &first),
        ("auto", "auto", vec!["--target-time", &first.time], &first),
        ("tli", &linked, vec!["--target-tli", "latest"], &last),
    ];
    for (name, backup, mut options, moment) in targets {
        options.extend(promote);
        let mut restored = lab.restore(tool, name, backup, &options);
        prove(&mut restored, moment);
        std::fs::remove_dir_all(&restored.socket).unwrap();
    }

    let mut immediate = lab.restore(
        tool,
        "immediate",
        &linked,
        &["--target-immediate", "--target-action", "promote"],
    );
    open(&mut immediate);
    assert_eq!(
        immediate.sql("SELECT string_agg(name, ',' ORDER BY name) FROM marks"),
        "first"
    );
    immediate.amcheck();
    immediate.verify_checksums();

    let mut everything = lab.restore(tool, "everything", &linked, &[]);
    prove(&mut everything, &last);

    // Paused at the target, as PostgreSQL does by default: the data can be looked at before promoting.
    let mut paused = lab.restore(tool, "paused", &linked, &["--target-name", "second"]);
    paused.launch();
    eventually(Duration::from_secs(60), "the pause", || {
        paused.sql("SELECT pg_get_wal_replay_pause_state()") == "paused"
    });
    assert_eq!(digest(&paused), second.digest);
}

/// Tablespaces are relocated; the other host is reached over ssh.
fn tablespaces_and_remote(tool: &Tool, version: Version) {
    let options = LabOptions::new(version)
        .tablespace()
        .server("compression = zstd\nautogenerate_manifest = true");
    let lab = Lab::start("space", tool, &options);
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(2, 200);
    lab.backup(tool, &[]);
    let linked = lab.backup(tool, &["--jobs", "2"]);
    let moment = mark(&lab.cluster, "here");
    load.stop();
    lab.archive_everything(tool);
    let target = ["--target-name", "here", "--target-action", "promote"];
    let mut local = lab.restore(tool, "local", &linked, &target);
    prove(&mut local, &moment);
    let mut remote = lab.restore_remote(tool, "remote", &linked, &target);
    prove(&mut remote, &moment);
    let moved = std::fs::read_link(
        std::fs::read_dir(remote.data.join("pg_tblspc"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path(),
    );
    assert_eq!(moved.unwrap(), remote.socket.join("space"));
    // A second restore onto what is there changes only what differs.
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = 0 WHERE aid < 100");
    let verified = lab.manager.run(tool, &["verify-backup", "main", &linked]);
    verified.success();
    let jobs = [
        "--target-name",
        "here",
        "--target-action",
        "promote",
        "--jobs",
        "3",
        "--network-compression",
    ];
    let mut parallel = lab.restore_remote(tool, "parallel", &linked, &jobs);
    prove(&mut parallel, &moment);
}

/// WAL is fetched during recovery, locally and from another host.
fn get_wal(tool: &Tool, version: Version) {
    let lab = Lab::start(
        "getwal",
        tool,
        &LabOptions::new(version).server("compression = lz4"),
    );
    lab.prepare(tool);
    let mut load = lab.cluster.pgbench_load(2, 100);
    let backup = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "here");
    load.stop();
    lab.archive_everything(tool);
    let target = ["--get-wal", "--target-name", "here", "--target-action", "promote"];
    let mut local = lab.restore(tool, "local", &backup, &target);
    prove(&mut local, &moment);
    let mut remote = lab.restore_remote(tool, "remote", &backup, &target);
    prove(&mut remote, &moment);
    // With more than one job, restore_command fetches ahead.
    let standby = ["--get-wal", "--standby-mode", "--jobs", "2"];
    let mut standby = lab.restore_remote(tool, "standby", &backup, &standby);
    standby.launch();
    eventually(Duration::from_secs(60), "the standby to replay", || {
        standby.sql("SELECT count(*) FROM marks WHERE name = 'here'") == "1"
    });
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
}

/// While the backup host cannot be reached, a recovery stops instead of ending, and a standby goes on asking.
fn backup_host_out_of_reach(tool: &Tool, version: Version) {
    let mut lab = Lab::start("reach", tool, &LabOptions::new(version));
    lab.prepare(tool);
    let backup = lab.backup(tool, &[]);
    lab.archive_everything(tool);
    let moment = mark(&lab.cluster, "here");
    lab.archive_everything(tool);
    let command = "barman-wal-restore --retry 2 -p 2 -U barman backup-host main %f %p";
    let options = ["--get-wal", "--restore-command", command];
    let target = ["--target-tli", "latest", "--target-action", "promote"];
    let mut ending = lab.restore_remote(tool, "ending", &backup, &[&options[..], &target].concat());
    let mut standby = lab.restore_remote(
        tool,
        "standby",
        &backup,
        &[&options[..], &["--standby-mode"]].concat(),
    );

    lab.sshd.stop_listening();
    ending.spawn(&[]);
    standby.spawn(&["wal_retrieve_retry_interval=100ms"]);
    eventually(Duration::from_secs(60), "the recovery to stop", || {
        !ending.is_running()
    });
    let log = ending.log_tail();
    assert!(
        log.contains("trying again") && log.contains("It is not known whether"),
        "{log}"
    );
    assert!(ending.data.join("recovery.signal").exists(), "{log}");
    assert!(standby.is_running(), "{}", standby.log_tail());

    lab.sshd.launch();
    ending.stop();
    prove(&mut ending, &moment);
    eventually(Duration::from_secs(60), "the standby to replay", || {
        standby
            .try_sql("postgres", "SELECT name FROM marks")
            .stdout
            .trim()
            == "here"
    });
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
}

/// A restored cluster goes on as a new timeline of the same server, and is restored again.
fn timelines(tool: &Tool, version: Version) {
    let mut lab = Lab::start("tli", tool, &LabOptions::new(version));
    lab.prepare(tool);
    let backup = lab.backup(tool, &[]);
    let first = mark(&lab.cluster, "first");
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = 7 WHERE aid <= 1000");
    let second = mark(&lab.cluster, "second");
    lab.archive_everything(tool);

    // The disaster, and the way back to before it: PostgreSQL goes on with timeline 2 and archives it.
    let options = ["--target-name", "first", "--target-action", "promote"];
    let mut restored = lab.restore_remote(tool, "again", &backup, &options);
    lab.cluster.stop();
    let command = format!(
        "archive_command=barman-wal-archive {} -U barman -c {} backup-host main %p",
        tool.leaving_nothing(),
        lab.manager.config_file().display()
    );
    restored.port = lab.cluster.port;
    restored.launch_with(&[&command]);
    eventually(Duration::from_secs(60), "timeline 2", || {
        restored.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "2"
            || restored.try_sql("postgres", "CHECKPOINT").code != 0
    });
    assert_eq!(digest(&restored), first.digest);
    lab.cluster = restored;
    lab.configure("");
    lab.cluster
        .sql("UPDATE pgbench_accounts SET abalance = 9 WHERE aid <= 1000");
    let third = mark(&lab.cluster, "third");
    lab.archive_everything(tool);

    for (tli, moment) in [("1", &second), ("2", &third), ("latest", &third)] {
        let name = format!("tli-{tli}");
        let mut other = lab.restore(
            tool,
            &name,
            &backup,
            &["--target-tli", tli, "--target-action", "promote"],
        );
        prove(&mut other, moment);
    }
    let onto_second = lab.backup(tool, &[]);
    let mut newest = lab.restore(tool, "newest", &onto_second, &[]);
    prove(&mut newest, &third);
}

/// The classic archive_command: rsync into incoming.
fn wal_by_rsync(tool: &Tool, version: Version) {
    let lab = Lab::start(
        "rsync",
        tool,
        &LabOptions::new(version)
            .shipping(Shipping::Rsync)
            .server("compression = bzip2"),
    );
    lab.prepare(tool);
    let backup = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "here");
    lab.archive_everything(tool);
    let mut restored = lab.restore(tool, "restored", &backup, &[]);
    prove(&mut restored, &moment);
}

/// PostgreSQL and the manager on one host, under one account.
fn local_rsync(tool: &Tool, version: Version) {
    let mut lab = Lab::start("local", tool, &LabOptions::new(version).shipping(Shipping::Copy));
    lab.manager.account = lab.cluster.owner.clone();
    let home = lab.manager.directory.clone();
    crate::support::catalog::give_to(&home, &lab.cluster.owner);
    let configure = |backup_options: &str| {
        let body = format!(
            "conninfo = {}\narchiver = on\nbackup_method = local-rsync\nbackup_options = {backup_options}\n\
             reuse_backup = link\nimmediate_checkpoint = true",
            lab.cluster.conninfo()
        );
        lab.manager.configure("", &[("main", body)]);
    };
    configure("concurrent_backup");
    lab.prepare(tool);
    lab.backup(tool, &[]);
    if version.major() < 15 {
        // differences.md: "exclusive backups".
        configure("exclusive_backup");
    }
    let linked = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "here");
    lab.archive_everything(tool);
    let mut restored = lab.restore(tool, "restored", &linked, &[]);
    prove(&mut restored, &moment);
}

/// What a restore writes for recovery is what this version reads: paused at the target by default, a standby that fetches
/// its WAL.
fn recovery_settings(tool: &Tool, version: Version) {
    let lab = Lab::start("settings", tool, &LabOptions::new(version));
    lab.prepare(tool);
    let backup = lab.backup(tool, &[]);
    let moment = mark(&lab.cluster, "here");
    let behind = mark(&lab.cluster, "behind");
    lab.archive_everything(tool);

    let mut paused = lab.restore(tool, "paused", &backup, &["--target-lsn", &moment.lsn]);
    paused.launch();
    eventually(Duration::from_secs(60), "the pause", || {
        paused.sql("SELECT pg_is_wal_replay_paused()") == "t"
    });
    assert_eq!(digest(&paused), moment.digest);
    assert_eq!(paused.sql("SELECT string_agg(name, ',') FROM marks"), "here");
    paused.sql("SELECT pg_wal_replay_resume()");
    eventually(Duration::from_secs(60), "the end of recovery", || {
        paused.sql("SELECT pg_is_in_recovery()") == "f"
    });

    let options = ["--target-time", &moment.time, "--target-action", "promote"];
    let mut at_time = lab.restore(tool, "time", &backup, &options);
    prove(&mut at_time, &moment);

    let mut standby = lab.restore_remote(tool, "standby", &backup, &["--get-wal", "--standby-mode"]);
    standby.launch();
    eventually(Duration::from_secs(60), "the standby to replay", || {
        standby.sql("SELECT count(*) FROM marks WHERE name = 'behind'") == "1"
    });
    assert_eq!(digest(&standby), behind.digest);
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
}
