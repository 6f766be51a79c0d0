//! `backup_method = postgres`: backups by `pg_basebackup`, compressed, encrypted and incremental, taken by one tool and
//! restored by the other; proved by comparing data.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::support::cluster::Version;
use crate::support::keys::{Keys, PASSPHRASE_COMMAND, RECIPIENT};
use crate::support::lab::{Lab, LabOptions, TELLING_HELD, mark};
use crate::support::process::{Background, eventually};
use crate::support::proof::prove;
use crate::support::tool::Tool;

pub fn trials(tool: &Tool) -> Vec<Trial> {
    let with = |name: &str, test: fn(&Tool, &Tool)| {
        let (barman, barkeep) = (Tool::barman(), tool.clone());
        Trial::test(format!("base_backups::{name}"), move || {
            test(&barman, &barkeep);
            Ok(())
        })
    };
    vec![
        with("packed", packed),
        with("chain_17", |barman, barkeep| chain(barman, barkeep, Version::V17)),
        with("chain_18", |_, barkeep| {
            if Version::V18.is_installed() {
                chain(barkeep, barkeep, Version::V18);
            }
        }),
    ]
}

/// Writes the configuration with these lines.
fn configure(lab: &Lab, lines: &str) {
    let body = format!(
        "conninfo = {0}\nstreaming_conninfo = {0}\narchiver = on\nbackup_method = postgres\nimmediate_checkpoint = true\n\
         path_prefix = {1}\n{lines}",
        lab.cluster.conninfo(),
        lab.cluster.version.bin().display(),
    );
    lab.manager.configure("", &[("main", body)]);
}

fn info(lab: &Lab, id: &str, key: &str) -> String {
    let path = lab.manager.server("main").join(format!("meta/{id}-backup.info"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap().to_owned()
}

/// The tar file with the data directory.
fn tar_of(lab: &Lab, id: &str) -> PathBuf {
    let names = std::fs::read_dir(lab.base(id).join("data")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().path());
    names
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("base.tar")
        })
        .unwrap()
}

/// Full backups in tar files of every compression, one of them encrypted.
fn packed(barman: &Tool, barkeep: &Tool) {
    let mut lab = Lab::start("packed", barkeep, &LabOptions::new(Version::V15).tablespace());
    let keys = Keys::generate(&mut lab.manager);
    let encrypted = format!(
        "backup_compression = zstd\nbackup_compression_format = tar\nbackup_compression_location = server\nencryption = gpg\n\
         encryption_key_id = {RECIPIENT}\n"
    );
    let passphrase = format!("encryption_passphrase_command = {PASSPHRASE_COMMAND}\n");
    configure(&lab, "");
    lab.prepare(barkeep);
    let mut ids = Vec::new();
    for (tool, lines, compression) in [
        (
            barkeep,
            "backup_compression = gzip\nbackup_compression_level = 1\n",
            "gzip",
        ),
        (barman, "backup_compression = lz4\n", "lz4"),
        (barkeep, "backup_compression = none\n", "none"),
        (barkeep, &encrypted, "zstd"),
    ] {
        configure(&lab, &format!("{lines}{passphrase}"));
        let id = lab.backup(tool, &[]);
        assert_eq!(info(&lab, &id, "compression"), compression);
        assert_eq!(
            (info(&lab, &id, "mode"), info(&lab, &id, "status")),
            ("postgres".to_owned(), "DONE".to_owned())
        );
        lab.manager
            .run(barkeep, &["verify-backup", "main", &id])
            .success();
        lab.manager.run(barman, &["show-backup", "main", &id]).success();
        ids.push(id);
    }
    configure(&lab, &passphrase);
    assert_eq!(info(&lab, &ids[3], "encryption"), "gpg");
    assert!(tar_of(&lab, &ids[3]).ends_with("base.tar.zst.gpg"));
    let last = mark(&lab.cluster, "last");
    lab.archive_everything(barkeep);
    prove(
        &mut lab.restore_remote(barkeep, "gzip", &ids[0], &["--jobs", "2"]),
        &last,
    );
    prove(&mut lab.restore(barkeep, "lz4", &ids[1], &[]), &last);
    prove(&mut lab.restore(barkeep, "encrypted", &ids[3], &[]), &last);
    prove(&mut lab.restore(barman, "by-barman", &ids[3], &[]), &last);
    damaged(&lab, barkeep, &ids[2]);
    killed(&lab, barman, barkeep);
    drop(keys);
}

/// What is not what the manifest says is found, by a verification and by a restore.
fn damaged(lab: &Lab, barkeep: &Tool, id: &str) {
    let path = tar_of(lab, id);
    let mut content = std::fs::read(&path).unwrap();
    let middle = content.len() / 2;
    // A page of a table or an index, in whichever file it is.
    content[middle - 100] ^= 1;
    std::fs::write(&path, &content).unwrap();
    let verified = lab.manager.run(barkeep, &["verify-backup", "main", id]).exits(1);
    assert!(
        verified.stderr.contains("checksum mismatch for file"),
        "{}",
        verified.stderr
    );
    let destination = lab.scratch.directory("damaged", &lab.manager.account);
    let data = destination.join("data").display().to_string();
    let space = format!("space:{}", destination.join("space").display());
    let restored = lab
        .manager
        .run(barkeep, &["restore", "--tablespace", &space, "main", id, &data])
        .exits(1);
    assert!(
        restored.stderr.contains("the backup is damaged"),
        "{}",
        restored.stderr
    );
    // A file that is cut short is never taken for a whole one.
    std::fs::write(&path, &content[..middle]).unwrap();
    lab.manager.run(barkeep, &["verify-backup", "main", id]).exits(1);
    let data = destination.join("cut").display().to_string();
    let space = format!("space:{}", destination.join("cut-space").display());
    lab.manager
        .run(barkeep, &["restore", "--tablespace", &space, "main", id, &data])
        .exits(1);
    assert!(!destination.join("cut/global/pg_control").exists());
}

/// Killed while `pg_basebackup` runs: that ends, both tools read the catalog, and the next backup is taken.
fn killed(lab: &Lab, barman: &Tool, barkeep: &Tool) {
    let before = lab.manager.backup_ids("main").len();
    let mut command = lab
        .manager
        .command(barkeep, &["backup", "--bwlimit", "300", "main"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let backup = Background::start(command, Signal::SIGTERM);
    let streaming =
        "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files'";
    eventually(Duration::from_secs(30), "the copy to begin", || {
        lab.cluster.sql(streaming) == "1"
    });
    backup.signal(Signal::SIGKILL);
    eventually(Duration::from_secs(30), "the end of pg_basebackup", || {
        lab.cluster
            .sql("SELECT count(*) FROM pg_stat_progress_basebackup")
            == "0"
    });
    let newest = lab.manager.backup_ids("main")[0].clone();
    assert_eq!(info(lab, &newest, "status"), "STARTED");
    for tool in [barman, barkeep] {
        let listed = lab.manager.run(tool, &["list-backups", "main"]).success();
        assert_eq!(listed.stdout.lines().count(), before + 1, "{}", listed.stdout);
        lab.manager.run(tool, &["show-backup", "main", &newest]).success();
    }
    let next = lab.backup(barkeep, &[]);
    assert_eq!(info(lab, &next, "status"), "DONE");
    lab.manager.run(barman, &["delete", "main", &newest]).success();
}

/// PostgreSQL's own incremental backups, plain ones and tar files in one chain.
fn chain(other: &Tool, barkeep: &Tool, version: Version) {
    let label = format!("base-{}", version.major());
    let lab = Lab::start(&label, barkeep, &LabOptions::new(version).tablespace());
    lab.cluster.sql("ALTER SYSTEM SET summarize_wal = on");
    lab.cluster.sql("SELECT pg_reload_conf()");
    configure(&lab, "");
    lab.prepare(barkeep);
    let mut ids: Vec<String> = Vec::new();
    let mut moments = Vec::new();
    let formats = [
        (barkeep, "backup_compression = gzip"),
        (other, ""),
        (barkeep, "backup_compression = none"),
        (barkeep, TELLING_HELD),
    ];
    for (number, (tool, lines)) in formats.into_iter().enumerate() {
        configure(&lab, lines);
        let parent = ids.last().cloned();
        let options: Vec<&str> = parent
            .iter()
            .flat_map(|id| ["--incremental", id.as_str()])
            .collect();
        let id = lab.backup(tool, &options);
        assert_eq!(
            info(&lab, &id, "parent_backup_id"),
            parent.as_deref().unwrap_or("None")
        );
        lab.manager
            .run(barkeep, &["verify-backup", "main", &id])
            .success();
        ids.push(id);
        lab.cluster.sql(&changes(number));
        moments.push(mark(&lab.cluster, &format!("m{number}")));
    }
    assert_eq!(info(&lab, &ids[0], "children_backup_ids"), ids[1]);
    lab.expect_held(&ids[3], &ids[..3]);
    lab.archive_everything(barkeep);
    let target = |name: &'static str| ["--target-name", name, "--target-action", "promote"];
    prove(
        &mut lab.restore_remote(barkeep, "newest", &ids[3], &["--jobs", "2"]),
        &moments[3],
    );
    prove(
        &mut lab.restore(barkeep, "third", &ids[2], &target("m2")),
        &moments[2],
    );
    prove(
        &mut lab.restore(barkeep, "second", &ids[1], &target("m1")),
        &moments[1],
    );
    if other.name != barkeep.name {
        prove(
            &mut lab.restore(other, "other", &ids[2], &target("m2")),
            &moments[2],
        );
    }
}

/// Tables that grow, shrink, come and go.
fn changes(number: usize) -> String {
    format!(
        "UPDATE pgbench_accounts SET abalance = {number} WHERE aid % 997 = {number};
         INSERT INTO pgbench_history SELECT 1, 1, g, 0, now() FROM generate_series(1, 3000) g;
         CREATE TABLE new_{number} TABLESPACE space AS SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g;
         CREATE TABLE IF NOT EXISTS trimmed AS SELECT g FROM generate_series(1, 30000) g;
         DELETE FROM trimmed WHERE g > {};
         DROP TABLE IF EXISTS new_{};",
        30_000 - 5_000 * number,
        number.wrapping_sub(2),
    )
}
