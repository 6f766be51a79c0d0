//! Chains of incremental backups: restored, verified and merged; proved by comparing data.
//!
//! These are taken by real Barman with PostgreSQL 17's own `pg_basebackup --incremental`, so that the format is not ours to
//! misread.

mod killed;
mod own;

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Moment, mark};
use crate::support::process::run;
use crate::support::proof::prove;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool, &Tool)| {
        let (barman, barkeep) = (Tool::barman(), tool.clone());
        Trial::test(format!("chains::{name}"), move || {
            test(&barman, &barkeep);
            Ok(())
        })
    };
    vec![
        with("native_restore", native_restore),
        with("native_merge", native_merge),
        with("merge_killed", |_, barkeep| killed::every_step_of_merge(barkeep)),
        with("own_week_15", |_, barkeep| own::week(barkeep, Version::V15, true)),
        with("own_week_17_without_checksums", |_, barkeep| {
            own::week(barkeep, Version::V17, false);
        }),
    ]
}

/// A chain that Barman took, and the moments between its members.
struct Native {
    lab: Lab,
    ids: Vec<String>,
    moments: Vec<Moment>,
    /// After everything.
    last: Moment,
}

impl Native {
    /// Takes a full backup and `count` incremental ones, each on the one before.
    fn take(label: &str, barman: &Tool, count: usize) -> Native {
        let lab = Lab::start(label, barman, &LabOptions::new(Version::V17).tablespace());
        lab.cluster.sql("ALTER SYSTEM SET summarize_wal = on");
        lab.cluster.sql("SELECT pg_reload_conf()");
        let body = format!(
            "conninfo = {0}\nstreaming_conninfo = {0}\narchiver = on\nbackup_method = postgres\n\
             immediate_checkpoint = true\npath_prefix = {1}",
            lab.cluster.conninfo(),
            lab.cluster.version.bin().display(),
        );
        lab.manager.configure("", &[("main", body)]);
        lab.prepare(barman);
        let mut ids = vec![lab.backup(barman, &[])];
        let mut moments = Vec::new();
        for number in 0..count {
            let mut load = lab.cluster.pgbench_load(1, 100);
            lab.cluster.sql(&churn(number));
            moments.push(mark(&lab.cluster, &format!("m{number}")));
            load.stop();
            ids.push(lab.backup(barman, &["--incremental", "latest"]));
        }
        lab.cluster
            .sql("UPDATE pgbench_accounts SET abalance = 5 WHERE aid < 100");
        let last = mark(&lab.cluster, "last");
        lab.archive_everything(barman);
        Native {
            lab,
            ids,
            moments,
            last,
        }
    }

    fn newest(&self) -> &str {
        self.ids.last().unwrap()
    }

    fn data(&self, id: &str) -> PathBuf {
        self.lab.base(id).join("data")
    }
}

/// Changes of every kind that a chain has to follow: rows, lengths, files that come and go, tablespaces.
fn churn(number: usize) -> String {
    format!(
        "UPDATE pgbench_accounts SET abalance = {number} WHERE aid % 997 = {number};
         CREATE TABLE grown_{number} TABLESPACE space AS SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g;
         CREATE TABLE IF NOT EXISTS trimmed AS SELECT g FROM generate_series(1, 50000) g;
         DELETE FROM trimmed WHERE g > {};
         DROP TABLE IF EXISTS grown_{};
         CREATE UNLOGGED TABLE unlogged_{number} AS SELECT g FROM generate_series(1, 1000) g;",
        50_000 - 4_000 * (number + 1),
        number.wrapping_sub(2),
    )
}

/// Every member of a chain, to several targets, here and on another host; and file by file as `pg_combinebackup` has it.
fn native_restore(barman: &Tool, barkeep: &Tool) {
    let chain = Native::take("native", barman, 3);
    let lab = &chain.lab;
    verified(&chain, barkeep);
    as_combined(&chain, barkeep);
    let mut everything = lab.restore(barkeep, "everything", chain.newest(), &["--jobs", "2"]);
    prove(&mut everything, &chain.last);
    let promote = ["--target-action", "promote"];
    let target = [&["--target-name", "m2"][..], &promote].concat();
    let mut remote = lab.restore_remote(barkeep, "remote", &chain.ids[2], &target);
    prove(&mut remote, &chain.moments[2]);
    let mut first = lab.restore(
        barkeep,
        "first",
        &chain.ids[1],
        &[&["--target-name", "m1"][..], &promote].concat(),
    );
    prove(&mut first, &chain.moments[1]);
    // The same directory becomes an older member: only what differs is written.
    first.stop();
    let directory = first.data.display().to_string();
    let space = format!("space:{}", first.socket.join("space").display());
    let delta = [
        "restore",
        "--delta-restore",
        "--tablespace",
        &space,
        "main",
        chain.newest(),
        &directory,
    ];
    lab.manager.run(barkeep, &delta).success();
    prove(&mut first, &chain.last);
}

/// A chain is merged up to a member in its middle, restored by both tools, and goes on.
fn native_merge(barman: &Tool, barkeep: &Tool) {
    let chain = Native::take("merged", barman, 3);
    let lab = &chain.lab;
    let (merged, manager) = (chain.ids[2].as_str(), &lab.manager);
    let dry = manager
        .run(barkeep, &["merge", "--dry-run", "main", merged])
        .success();
    assert!(dry.stdout.contains(&chain.ids[0]), "{}", dry.stdout);
    manager
        .run(barkeep, &["merge", "--jobs", "2", "main", merged])
        .success();
    assert_eq!(
        manager.backup_ids("main"),
        [&chain.ids[3], &chain.ids[2]].map(String::clone)
    );
    manager.run(barkeep, &["merge", "main", merged]).exits(1);
    for id in &chain.ids[2..] {
        manager.run(barkeep, &["verify-backup", "main", id]).success();
        manager.run(barman, &["show-backup", "main", id]).success();
    }
    let mut verify = manager
        .account
        .applied_to(Command::new(lab.cluster.version.bin().join("pg_verifybackup")));
    verify.arg("-n").arg(chain.data(merged));
    run(verify).success();
    let promote = ["--target-action", "promote"];
    let target = [&["--target-name", "m2"][..], &promote].concat();
    let mut by_barman = lab.restore(barman, "barman", merged, &target);
    prove(&mut by_barman, &chain.moments[2]);
    let mut by_barkeep = lab.restore(barkeep, "barkeep", merged, &target);
    prove(&mut by_barkeep, &chain.moments[2]);
    let mut child = lab.restore(barkeep, "child", &chain.ids[3], &[]);
    prove(&mut child, &chain.last);
    // The chain goes on, and is merged to its end.
    lab.cluster.sql(&churn(7));
    let next = lab.backup(barman, &["--incremental", "latest"]);
    let end = mark(&lab.cluster, "end");
    lab.archive_everything(barman);
    manager.run(barkeep, &["merge", "main", &next]).success();
    assert_eq!(manager.backup_ids("main"), std::slice::from_ref(&next));
    manager.run(barkeep, &["verify-backup", "main", &next]).success();
    let mut newest = lab.restore(barman, "newest", &next, &[]);
    prove(&mut newest, &end);
}

/// Every member is good; a page that is damaged in the oldest is damage of the oldest and of all that builds on it.
fn verified(chain: &Native, barkeep: &Tool) {
    let lab = &chain.lab;
    let verify = |id: &str| {
        lab.manager
            .run(barkeep, &["verify-backup", "--jobs", "2", "main", id])
    };
    for id in &chain.ids {
        verify(id).success();
    }
    let relation = lab.cluster.sql("SELECT pg_relation_filepath('pg_proc')");
    let path = chain.data(&chain.ids[0]).join(&relation);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[3 * 8192 + 4000] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let page = format!("pg_checksums: error: checksum verification failed in file \"{relation}\", block 3: ");
    let root = verify(&chain.ids[0]).exits(1).stderr;
    assert!(root.contains(&page), "{root}");
    assert!(
        root.contains(&format!(
            "pg_verifybackup: error: checksum mismatch for file \"{relation}\""
        )),
        "{root}"
    );
    let newest = verify(chain.newest()).exits(1).stderr;
    assert!(
        newest.contains(&page) && !newest.contains("checksum mismatch"),
        "{newest}"
    );
    std::fs::write(&path, good).unwrap();
    verify(chain.newest()).success();
}

/// Nothing of the restored files differs from what PostgreSQL's own program makes of the chain.
fn as_combined(chain: &Native, barkeep: &Tool) {
    let lab = &chain.lab;
    let restored = lab.restore(barkeep, "compared", chain.newest(), &[]);
    let expected = lab.scratch.directory("expected", &lab.manager.account);
    let mut combine = lab
        .manager
        .account
        .applied_to(Command::new(lab.cluster.version.bin().join("pg_combinebackup")));
    combine.args(chain.ids.iter().map(|id| chain.data(id)));
    let oids = std::fs::read_dir(chain.data(chain.newest()).join("pg_tblspc")).unwrap();
    for oid in oids {
        let oid = oid.unwrap().file_name().into_string().unwrap();
        let theirs = std::fs::read_link(chain.data(chain.newest()).join("pg_tblspc").join(&oid)).unwrap();
        combine.arg(format!("-T{}={}/{oid}", theirs.display(), expected.display()));
    }
    combine.arg("-o").arg(expected.join("data"));
    run(combine).success();
    same(&expected.join("data/base"), &restored.data.join("base"));
    same(&expected.join("data/global"), &restored.data.join("global"));
    same(&expected.join("data/pg_xact"), &restored.data.join("pg_xact"));
    same(
        &expected.join("data/backup_label"),
        &restored.data.join("backup_label"),
    );
    same(&expected.join("data/pg_tblspc"), &restored.data.join("pg_tblspc"));
}

fn same(one: &Path, other: &Path) {
    let mut diff = Command::new("diff");
    diff.arg("-r").arg(one).arg(other);
    run(diff).success();
}
