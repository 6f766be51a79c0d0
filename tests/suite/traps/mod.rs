//! What block-level incrementals go wrong with, done to running clusters.
//!
//! Each trial takes a full backup, does what breaks incremental backups elsewhere, takes incremental ones, restores the
//! chain, and looks at it twice: file by file, every page must be the server's; started, every table must hold what the
//! server's holds, and `pg_amcheck`, `pg_checksums` and `pg_visibility` must find nothing. All of it with data checksums,
//! where LSNs tell what changed, and without, where they do not.

mod actions;
mod lineage;
mod proof;

use std::time::Duration;

use libtest_mimic::Trial;
use walkdir::WalkDir;

use crate::support::cluster::Version;
use crate::support::lab::{Lab, LabOptions, Shipping, mark};
use crate::support::process::{Background, eventually};
use crate::support::tool::Tool;
use proof::{prove_equal, same_files};

/// One setting of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    version: Version,
    checksums: bool,
}

impl Setting {
    /// A cluster that writes nothing by itself, so that its files stay what they were when a backup began.
    fn options(self) -> LabOptions {
        LabOptions::new(self.version)
            .shipping(Shipping::Rsync)
            .checksums(self.checksums)
            .setting("autovacuum = off")
            .setting("bgwriter_lru_maxpages = 0")
            .setting("checkpoint_timeout = 1h")
            .setting("max_wal_size = 4GB")
    }
}

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in Version::ALL {
        for checksums in [true, false] {
            let setting = Setting { version, checksums };
            let with = |name: &str, test: fn(&Tool, Setting)| {
                let tool = tool.clone();
                let kind = if checksums { "checksums" } else { "plain" };
                let name = format!("traps::postgresql_{}::{kind}::{name}", version.major());
                Trial::test(name, move || {
                    test(&tool, setting);
                    Ok(())
                })
            };
            trials.push(with("everything_at_once", everything_at_once));
            trials.push(with("older_cluster", lineage::older_cluster));
            trials.push(with("failover", lineage::failover));
            trials.push(with("under_load", under_load));
        }
    }
    trials
}

/// An incremental backup on the newest one.
#[track_caller]
fn incremental(lab: &Lab, tool: &Tool) -> String {
    let id = lab.backup(tool, &["--incremental", "latest"]);
    let listed = lab.manager.run(tool, &["list-backups", "main"]).success().stdout;
    assert!(listed.contains(&format!("main {id} - I - ")), "{listed}");
    let stored = WalkDir::new(lab.base(&id)).into_iter().map(|entry| {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        name.strip_prefix("INCREMENTAL.").map(str::to_owned)
    });
    let blocks: Vec<String> = stored.flatten().collect();
    assert!(blocks.len() > 100, "{blocks:?}");
    let main = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    assert!(
        blocks.iter().all(main),
        "other forks than the main one: {blocks:?}"
    );
    id
}

/// A chain of three, with every action before each of the two incremental ones.
fn everything_at_once(tool: &Tool, setting: Setting) {
    let mut lab = Lab::start("traps", tool, &setting.options().tablespace());
    actions::prepare(&lab);
    lab.prepare(tool);
    std::thread::sleep(Duration::from_millis(2100));
    lab.backup(tool, &[]);

    actions::first(&mut lab);
    lab.cluster.sql("CHECKPOINT");
    let one = incremental(&lab, tool);
    let restored = lab.restore(tool, "one", &one, &[]);
    same_files(&lab.cluster, &restored);
    prove_equal(&lab, restored, setting);

    actions::second(&mut lab);
    lab.cluster.sql("CHECKPOINT");
    let two = incremental(&lab, tool);
    let restored = lab.restore(tool, "two", &two, &[]);
    same_files(&lab.cluster, &restored);
    prove_equal(&lab, restored, setting);
}

/// Files appear, vanish, shrink and grow while an incremental backup reads them.
fn under_load(tool: &Tool, setting: Setting) {
    let options = LabOptions::new(setting.version)
        .shipping(Shipping::Rsync)
        .checksums(setting.checksums)
        .setting("autovacuum_naptime = 1s")
        .setting("checkpoint_timeout = 30s");
    let lab = Lab::start("churn", tool, &options);
    lab.prepare(tool);
    lab.backup(tool, &[]);
    let mut load = lab.cluster.pgbench_load(2, 300);
    let mut churn = churn(&lab);
    for _ in 0..2 {
        eventually(Duration::from_secs(30), "something to have changed", || {
            lab.cluster.sql("SELECT count(*) > 200 FROM pgbench_history") == "t"
        });
        // Slowly, so that the files change below the copy.
        let id = lab.backup(tool, &["--incremental", "latest", "--bwlimit", "3000"]);
        assert!(lab.base(&id).join("data").is_dir());
    }
    let moment = mark(&lab.cluster, "moment");
    load.stop();
    churn.stop();
    lab.archive_everything(tool);
    let target = ["--target-name", "moment", "--target-action", "promote"];
    let mut restored = lab.restore(tool, "moment", "latest", &target);
    crate::support::proof::open(&mut restored);
    assert_eq!(crate::support::lab::digest(&restored), moment.digest);
    restored.amcheck();
    proof::visibility(&restored);
    if setting.checksums {
        restored.verify_checksums();
    }
}

/// A second load: tables that come, grow, shrink and go.
fn churn(lab: &Lab) -> Background {
    let script = lab.scratch.join("churn.sql");
    std::fs::write(
        &script,
        "DROP TABLE IF EXISTS churn_:client_id;\n\
         CREATE TABLE churn_:client_id AS SELECT g, repeat('x', 200) AS t FROM generate_series(1, 5000) g;\n\
         CREATE INDEX ON churn_:client_id (g);\n\
         DELETE FROM churn_:client_id WHERE g > 1000;\n\
         VACUUM churn_:client_id;\n\
         INSERT INTO churn_:client_id SELECT g, repeat('y', 200) FROM generate_series(1, 2000) g;\n\
         TRUNCATE churn_:client_id;\n\
         INSERT INTO churn_:client_id SELECT g, repeat('z', 200) FROM generate_series(1, 500) g;\n",
    )
    .unwrap();
    let mut pgbench = lab.cluster.client("pgbench");
    pgbench
        .args(["-n", "-T", "600", "-c", "1", "-R", "4", "-f"])
        .arg(&script)
        .arg("postgres")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    Background::start(pgbench, nix::sys::signal::Signal::SIGINT)
}
