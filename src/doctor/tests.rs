//! The examination of a server: with a real PostgreSQL, and with none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::repair::repair;
use super::*;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog};
use crate::config::Config;
use crate::postgres::client::Session;
use crate::postgres::scratch_cluster::ScratchCluster;

/// A backup host with a server `m`, removed at the end.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("barkeep-doctor-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn server(&self, conninfo: &str, options: &str) -> ServerConfig {
        let text = format!(
            "[barman]\nbarman_home = {}\n[m]\nconninfo = {conninfo}\nssh_command = {} db\narchiver = on\n\
             backup_options = concurrent_backup\nretention_policy = REDUNDANCY 2\nminimum_redundancy = 1\n{options}\n",
            self.0.display(),
            self.ssh("for last; do :; done; exec sh -c \"$last\"")
        );
        Config::parse(&text).unwrap().servers.remove("m").unwrap()
    }

    /// A program in the place of ssh.
    fn ssh(&self, script: &str) -> String {
        let path = self.0.join("ssh");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn diagnose(server: &ServerConfig) -> Diagnosis {
    examine(server, Path::new("/etc/barman.conf")).unwrap()
}

fn names(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.about).collect()
}

#[test]
fn directories_are_made_only_when_that_is_asked_for() {
    let home = Home::new();
    let server = home.server("host=/nonexistent", "");
    let found = diagnose(&server);
    assert!(names(&found.not_yet).contains(&"directories"), "{found:?}");
    assert!(!home.0.join("m").exists());
    fs::write(home.0.join(".m-backup.lock"), "1\n").unwrap();
    let held = crate::base::lock::LockFile::try_acquire(&home.0.join(".m-cron.lock")).unwrap();
    let repairs = repair(&server);
    assert!(
        home.0.join("m/incoming").is_dir() && repairs.failed.is_empty(),
        "{repairs:?}"
    );
    assert!(!home.0.join(".m-backup.lock").exists() && held.path().exists());
    assert!(!names(&diagnose(&server).not_yet).contains(&"directories"));
}

#[test]
fn what_keeps_directories_from_being_made_is_told() {
    let home = Home::new();
    let server = home.server("host=/nonexistent", "");
    fs::write(home.0.join("m"), "in the way\n").unwrap();
    let repairs = repair(&server);
    assert_eq!(repairs.failed.len(), 1, "one reason, said once: {repairs:?}");
    let found = diagnose(&server);
    let finding = found.broken.iter().find(|finding| finding.about == "directories");
    let cause = &finding.unwrap_or_else(|| panic!("{found:?}")).advice.cause;
    assert!(cause.contains("m is not a directory"), "{cause}");
}

#[test]
fn a_backup_that_was_killed_is_named() {
    let home = Home::new();
    let server = home.server("host=/nonexistent", "");
    let catalog = Catalog::of(&server).unwrap();
    catalog.create_directories().unwrap();
    let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
    info.status = BackupStatus::Started;
    catalog.save(&info).unwrap();
    let running = catalog.locks().backup().unwrap();
    assert!(
        !names(&diagnose(&server).broken).contains(&"abandoned backups"),
        "it runs"
    );
    drop(running);
    let found = diagnose(&server);
    let finding = found
        .broken
        .iter()
        .find(|finding| finding.about == "abandoned backups");
    let action = &finding.unwrap_or_else(|| panic!("{found:?}")).advice.steps[0].action;
    assert_eq!(action, "barman delete m 20260101T000000");
}

#[test]
fn what_keeps_a_passive_node_from_copying_is_told() {
    let home = Home::new();
    let server = home.server("host=/nonexistent", "");
    let passive = ServerConfig {
        primary_ssh_command: server.ssh_command.clone(),
        ..home.server("host=/nonexistent", "compression = gzip")
    };
    let _ = repair(&passive);
    assert!(names(&diagnose(&passive).not_yet).contains(&"primary node"));
    let told = r#"{"last_position": 0, "last_name": "", "backups": {}, "wals": [], "config": {"compression": "zstd",
        "backup_directory": "/b/m", "basebackups_directory": "/b/m/base", "wals_directory": "/b/m/wals"}}"#;
    let path = home.0.join("m/primary.info");
    fs::write(&path, told).unwrap();
    let found = diagnose(&passive);
    assert!(!names(&found.not_yet).contains(&"primary node"), "{found:?}");
    let wal = found
        .broken
        .iter()
        .find(|finding| finding.about == "WAL of the primary node");
    let step = &wal.unwrap_or_else(|| panic!("{found:?}")).advice.steps[0].action;
    assert_eq!(step, "compression = zstd");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(old)
        .unwrap();
    assert!(names(&diagnose(&passive).broken).contains(&"primary node"));
}

#[test]
fn without_postgresql_and_ssh_the_causes_are_told_and_the_rest_follows() {
    let home = Home::new();
    let server = home.server(
        "host=127.0.0.1 port=1 user=barman dbname=postgres",
        "slot_name = s\nstreaming_archiver = on\nstreaming_conninfo = host=127.0.0.1 port=1",
    );
    let _ = repair(&server);
    home.ssh("echo 'ssh: connect to host db port 22: Connection refused' >&2; exit 255");
    let found = diagnose(&server);
    let broken = names(&found.broken);
    assert!(
        broken.starts_with(&["ssh", "PostgreSQL"]),
        "ssh and PostgreSQL first: {broken:?}"
    );
    let cause = |about: &str| {
        &found
            .broken
            .iter()
            .find(|finding| finding.about == about)
            .unwrap()
            .advice
            .cause
    };
    assert!(
        cause("ssh").contains("nothing listens on its port 22"),
        "{}",
        cause("ssh")
    );
    assert!(
        cause("PostgreSQL").contains("nothing listens on its port 1"),
        "{}",
        cause("PostgreSQL")
    );
    let consequences = names(&found.consequences);
    for about in ["replication slot", "WAL archive", "receive-wal running"] {
        assert!(consequences.contains(&about), "{about} follows: {consequences:?}");
    }
    assert!(!found.is_healthy() && found.unexamined.is_some());
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let home = Home::new();
    let server = home.server("host=/nonexistent", "");
    home.ssh("exec sleep 600");
    let answers = probe::ask(&server, Duration::from_millis(300)).unwrap();
    let ssh = answers.ssh.unwrap();
    assert_eq!(
        (ssh.answer.code, ssh.answer.stderr.as_str()),
        (255, "no answer: timed out")
    );
}

#[test]
fn a_cluster_whose_wal_goes_elsewhere() {
    let home = Home::new();
    let elsewhere = home.0.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o777)).unwrap();
    let settings = format!(
        "archive_mode = on\narchive_command = 'cp %p {}/%f'\nmax_wal_senders = 0\nwal_level = replica",
        elsewhere.display()
    );
    let Some(cluster) = ScratchCluster::start(&settings) else {
        return;
    };
    let mut session = Session::connect(&cluster.conninfo()).unwrap();
    session.query("CREATE ROLE helper LOGIN", &[]).unwrap();
    session.query("SELECT pg_switch_wal()", &[]).unwrap();
    let archived = "SELECT archived_count > 0 FROM pg_stat_archiver";
    while !session.truth(archived).unwrap() {
        session.query("SELECT pg_stat_clear_snapshot()", &[]).unwrap();
    }
    let conninfo = cluster.conninfo().replace("user=postgres", "user=helper");
    let server = home.server(
        &conninfo,
        "streaming_archiver = on\nstreaming_conninfo = host=/nonexistent",
    );
    let _ = repair(&server);
    let found = diagnose(&server);
    assert!(
        found
            .postgres
            .as_deref()
            .is_some_and(|version| version.starts_with("15")),
        "{found:?}"
    );
    let advice = |about: &str| {
        let finding = found.broken.iter().find(|finding| finding.about == about);
        finding
            .map(|finding| finding.advice.clone())
            .unwrap_or_else(|| panic!("{about}: {found:?}"))
    };
    let grants = advice("no access to backup functions");
    assert!(
        grants
            .steps
            .iter()
            .any(|step| step.action == "GRANT pg_monitor TO helper;"),
        "{grants:?}"
    );
    // The statements are right: with them the role may do what backups need.
    for step in &grants.steps {
        session.query(&step.action, &[]).unwrap();
    }
    let found = diagnose(&server);
    assert!(
        !names(&found.broken).contains(&"no access to backup functions"),
        "{found:?}"
    );
    let delivery = found
        .broken
        .iter()
        .find(|finding| finding.about == "WAL delivery")
        .unwrap();
    assert!(
        delivery
            .advice
            .cause
            .contains("and the incoming directory of this server is"),
        "{delivery:?}"
    );
    assert!(names(&found.broken).contains(&"max_wal_senders"), "{found:?}");
    // Where WAL is streamed, nobody else looks at archive_command.
    let streaming = home.server(
        &conninfo,
        "archiver = off\nstreaming_archiver = on\nstreaming_conninfo = host=/nonexistent",
    );
    assert!(!names(&diagnose(&streaming).broken).contains(&"continuous archiving"));
    session
        .query("ALTER SYSTEM SET archive_command = ''", &[])
        .unwrap();
    session.query("SELECT pg_reload_conf()", &[]).unwrap();
    while session.value("SHOW archive_command", &[]).unwrap().as_deref() != Some("") {}
    let found = diagnose(&streaming);
    let stuck = found
        .broken
        .iter()
        .find(|finding| finding.about == "continuous archiving");
    let cause = &stuck.unwrap_or_else(|| panic!("{found:?}")).advice.cause;
    assert!(cause.contains("archive_command is empty"), "{cause}");
    assert!(!names(&found.broken).contains(&"ssh"), "{found:?}");
    assert!(!names(&found.broken).contains(&"clocks"), "{found:?}");
}
