#![allow(clippy::unwrap_used)]
//! Documents of both tools, decisions, and plans; on real files where there are any.

use std::path::{Path, PathBuf};

use super::decision::{Decision, decide};
use super::wals::{self, Plan};
use super::{Since, SyncError, Told, primary, report};
use crate::base::json;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog, WalEntry};
use crate::config::{Location, ServerConfig};

/// As real Barman 3.19.1 writes it, but for the configuration, of which only what is used is left.
const BARMANS: &str = r#"{
    "last_position": 489,
    "last_name": "000000010000000000000008",
    "backups": {
        "20240102T000000": {
            "backup_label": "'START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\\nLABEL: it\\'s\\n'",
            "backup_name": "we ekly",
            "begin_offset": 40,
            "begin_time": "Tue Jan  2 00:00:00 2024",
            "begin_wal": "000000010000000000000004",
            "begin_xlog": "0/4000028",
            "children_backup_ids": "20240103T000000,20240104T000000",
            "cluster_size": 41943040,
            "copy_stats": {"total_time": 14.796692, "number_of_workers": 2, "analysis_time": 0.613607},
            "end_time": "Tue Jan  2 00:00:07 2024",
            "end_wal": "000000010000000000000004",
            "included_files": ["/etc/pg/auto.conf"],
            "mode": "rsync-concurrent",
            "parent_backup_id": null,
            "server_name": "main",
            "snapshots_info": {"provider": "aws", "snapshots": [{"mount": null}]},
            "status": "WAITING_FOR_WALS",
            "systemid": "7310359345646599264",
            "tablespaces": [["space one", 16387, "/srv/one"]],
            "timeline": 1,
            "version": 150018,
            "xlog_segment_size": 16777216,
            "a_key_of_later_releases": 1,
            "backup_id": "20240102T000000",
            "begin_time_iso": "2024-01-02T00:00:00.123456+00:00",
            "end_time_iso": "2024-01-02T00:00:07+00:00"
        }
    },
    "wals": [{"compression": "gzip", "encryption": null, "name": "000000010000000000000004", "size": 16800, "time": 1704880240.5}],
    "version": "3.19.1",
    "config": {
        "backup_directory": "/srv/barman/main",
        "basebackups_directory": "/srv/barman/main/base",
        "compression": "gzip",
        "name": "main",
        "reuse_backup": null,
        "wals_directory": "/srv/barman/main/wals"
    }
}"#;

fn id(name: &str) -> BackupId {
    BackupId::from_file_name(name).unwrap()
}

#[test]
fn metadata_arrive_as_they_are_on_the_primary_node() {
    let told = Told::parse(BARMANS).unwrap();
    assert_eq!(told.last_position, 489);
    assert_eq!(told.meta, Path::new("/srv/barman/main/meta"));
    assert_eq!(told.compression.as_deref(), Some("gzip"));
    assert_eq!(told.wals[0].compression.as_deref(), Some("gzip"));
    let text = told.backups[&id("20240102T000000")].to_text();
    for line in [
        r#"backup_label="START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\nLABEL: it's\n""#,
        "backup_name=we ekly",
        "begin_time=2024-01-02 00:00:00.123456+00:00",
        "children_backup_ids=20240103T000000,20240104T000000",
        "copy_stats={'total_time': 14.796692, 'number_of_workers': 2, 'analysis_time': 0.613607}",
        "included_files=['/etc/pg/auto.conf']",
        "mode=rsync-concurrent",
        "server_name=main",
        "snapshots_info={'provider': 'aws', 'snapshots': [{'mount': None}]}",
        "tablespaces=[('space one', 16387, '/srv/one')]",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}

#[test]
fn nothing_in_a_document_leads_out_of_the_catalog() {
    for (from, to) in [
        (r#""20240102T000000": {"#, r#""../../etc": {"#),
        (r#""name": "000000010000000000000004""#, r#""name": "../../../x""#),
        (
            r#""basebackups_directory": "/srv"#,
            r#""basebackups_directory": "srv"#,
        ),
        (r#""size": 16800"#, r#""size": -1"#),
        (r#""tablespaces": [["space one""#, r#""tablespaces": [[16"#),
        (r#""config": {"#, r#""no_config": {"#),
    ] {
        assert!(BARMANS.contains(from), "{from}");
        let text = BARMANS.replacen(from, to, 1);
        assert!(matches!(Told::parse(&text), Err(SyncError::Answer(_))), "{to}");
    }
    // A line break would be another key of the file.
    let text = BARMANS.replacen("we ekly", r"x\nstatus=DONE", 1);
    let told = Told::parse(&text).unwrap();
    let info = &told.backups[&id("20240102T000000")];
    assert_eq!(
        (info.backup_name.as_deref(), info.status),
        (None, BackupStatus::WaitingForWals)
    );
}

/// A node with a server `main` in a directory of its own.
struct Node {
    config: ServerConfig,
    catalog: Catalog,
    home: PathBuf,
}

impl Node {
    fn new(name: &str, passive: bool) -> Node {
        let home = std::env::temp_dir().join(format!("barkeep-sync-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        let server = home.join("main");
        let config = ServerConfig {
            name: "main".to_owned(),
            active: true,
            backup_directory: server.clone(),
            barman_lock_directory: home.clone(),
            xlogdb_directory: server.join("wals"),
            incoming_wals_directory: server.join("incoming"),
            streaming_wals_directory: server.join("streaming"),
            errors_directory: server.join("errors"),
            basebackups_directory: Location::Local(server.join("base")),
            wals_directory: Location::Local(server.join("wals")),
            primary_ssh_command: passive.then(|| "ssh primary".to_owned()),
            ..ServerConfig::default()
        };
        let catalog = Catalog::of(&config).unwrap();
        catalog.create_directories().unwrap();
        Node {
            config,
            catalog,
            home,
        }
    }

    fn backup(&self, name: &str, segment: u32, status: BackupStatus) -> BackupInfo {
        let info = backup(name, segment, status);
        self.catalog.save(&info).unwrap();
        info
    }

    fn archive(&self, names: &[&str]) {
        let entries: Vec<WalEntry> = names.iter().map(|name| entry(name)).collect();
        self.catalog.xlogdb().append(&entries).unwrap();
    }

    fn told(&self, since: Option<(&str, u64)>) -> Result<Told, SyncError> {
        let since = since.map(|(wal, position)| Since {
            wal: wal.to_owned(),
            position: Some(position),
        });
        let document = report(&self.config, since.as_ref())?;
        Told::parse(&json::indented(&document).unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn backup(name: &str, segment: u32, status: BackupStatus) -> BackupInfo {
    let mut info = BackupInfo::empty(id(name));
    info.status = status;
    info.begin_wal = crate::postgres::wal_name::SegmentName::parse(&wal(segment));
    info.end_wal = info.begin_wal;
    info.end_time = crate::base::calendar::parse("2024-01-02 00:00:00+00:00");
    info
}

fn wal(segment: u32) -> String {
    format!("0000000100000000{segment:08X}")
}

fn entry(name: &str) -> WalEntry {
    WalEntry {
        name: name.to_owned(),
        size: 16800,
        time: 1_704_880_240.5,
        compression: None,
        encryption: None,
    }
}

fn names(told: &Told) -> Vec<&str> {
    told.wals.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn a_node_tells_what_follows_the_last_file() {
    let node = Node::new("tells", false);
    let wals: Vec<String> = (1..5).map(wal).collect();
    let names_of = |told: &Told| names(told).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(node.told(Some((&wals[0], 1))).unwrap().last_name, "");
    node.archive(&wals.iter().map(String::as_str).collect::<Vec<_>>());
    node.backup("20240101T000000", 1, BackupStatus::Failed);
    node.backup("20240102T000000", 2, BackupStatus::Done);
    // From the first complete backup on.
    let told = node.told(None).unwrap();
    assert_eq!(names_of(&told), wals[1..]);
    assert_eq!(told.backups.len(), 1);
    assert_eq!(told.last_name, wals[3]);
    // By name when the position is not that of the file.
    assert_eq!(names_of(&node.told(Some((&wals[2], 7))).unwrap()), wals[3..]);
    let older = node.told(Some((&wal(0), 1))).unwrap_err().to_string();
    assert_eq!(
        older,
        format!(
            "last_wal '{}' is older than the first available wal '{}'",
            wal(0),
            wals[0]
        )
    );
    let newer = node.told(Some((&wal(9), 1))).unwrap_err().to_string();
    assert_eq!(
        newer,
        format!(
            "last_wal '{}' is newer than the last available wal  '{}'",
            wal(9),
            wals[3]
        )
    );
    // Files of the old timeline that came after the history of the new one.
    node.archive(&["00000002.history"]);
    let reached = node.told(None).unwrap();
    node.archive(&[&wal(5)]);
    let told = node
        .told(Some((&reached.last_name, reached.last_position)))
        .unwrap();
    assert_eq!(names_of(&told), [wal(5)]);
}

#[test]
fn a_backup_is_copied_once_unless_the_policy_would_remove_it() {
    let (primary, passive) = (Node::new("has", false), Node::new("wants", true));
    for (name, status) in [
        ("20240101T000000", BackupStatus::Done),
        ("20240102T000000", BackupStatus::WaitingForWals),
        ("20240103T000000", BackupStatus::Done),
        ("20240104T000000", BackupStatus::Syncing),
    ] {
        primary.backup(name, 1, status);
    }
    passive.backup("20240102T000000", 1, BackupStatus::WaitingForWals);
    passive.backup("20240103T000000", 1, BackupStatus::Syncing);
    passive.backup("20240105T000000", 1, BackupStatus::Done);
    passive.backup("20240106T000000", 1, BackupStatus::Failed);
    let told = primary.told(None).unwrap();
    let decided = |config: &ServerConfig, name: &str| {
        let local = passive.catalog.backups().unwrap();
        match decide(&passive.catalog, config, &told, &local, &id(name)) {
            Ok(Decision::Copy(info)) => format!("copy {}", info.id),
            Ok(Decision::Purge(why)) => format!("purge: {why}"),
            Ok(Decision::Nothing(why)) => why,
            Err(error) => format!("error: {error}"),
        }
    };
    for (name, expected) in [
        ("20240101T000000", "copy 20240101T000000"),
        (
            "20240102T000000",
            "Backup 20240102T000000 is already synced with main server",
        ),
        ("20240103T000000", "copy 20240103T000000"),
        (
            "20240104T000000",
            "error: Backup 20240104T000000 is absent on main server",
        ),
        (
            "20240105T000000",
            "Backup 20240105T000000 is absent on main server, but present locally (local copy only)",
        ),
        (
            "20240106T000000",
            "purge: Backup 20240106T000000 is absent on main server and is incomplete locally, purging local backup",
        ),
    ] {
        assert_eq!(decided(&passive.config, name), expected);
    }
    let one = ServerConfig {
        retention_policy: Some("REDUNDANCY 1".to_owned()),
        ..passive.config.clone()
    };
    assert_eq!(
        decided(&one, "20240101T000000"),
        "Remote backup main/20240101T000000 is obsolete for local retention policies."
    );
}

#[test]
fn wal_is_copied_from_the_oldest_backup_that_is_wanted() {
    let (primary, passive) = (Node::new("holds", false), Node::new("lacks", true));
    let wals: Vec<String> = (1..6).map(wal).collect();
    primary.archive(&wals.iter().map(String::as_str).collect::<Vec<_>>());
    primary.archive(&["00000002.history"]);
    primary.backup("20240101T000000", 1, BackupStatus::Done);
    primary.backup("20240102T000000", 3, BackupStatus::Done);
    let told = primary.told(None).unwrap();
    let planned = |config: &ServerConfig| wals::plan(config, &passive.catalog, &told);
    let wait = |line: &str| Plan::Wait(line.to_owned());
    assert_eq!(
        planned(&passive.config).unwrap(),
        wait("No base backup for server main")
    );
    passive.backup("20240102T000000", 3, BackupStatus::Done);
    // The older backup is still to come, and its WAL must not be passed over.
    let line = "Skipping WAL synchronisation for server main: no available local backup for 000000010000000000000001";
    assert_eq!(planned(&passive.config).unwrap(), wait(line));
    // It will never come.
    let one = ServerConfig {
        retention_policy: Some("REDUNDANCY 1".to_owned()),
        ..passive.config.clone()
    };
    passive.archive(&[&wals[3]]);
    let expected: Vec<WalEntry> = [&wals[2], &wals[4], "00000002.history"].map(entry).into();
    assert_eq!(planned(&one).unwrap(), Plan::Copy(expected));
    let other = ServerConfig {
        compression: Some(crate::config::WalCompression::Gzip),
        ..one
    };
    assert_eq!(
        planned(&other).unwrap_err().to_string(),
        "Compression method on server main (None) does not match local compression method (gzip)"
    );
}

#[test]
fn only_a_segment_is_a_place_to_go_on_from() {
    let node = Node::new("reached", true);
    let layout = node.catalog.layout();
    let path = layout.sync_wals_info_path();
    assert_eq!(primary::reached(layout).unwrap(), None);
    for (text, expected) in [
        ("000000010000000000000008\t489", Some(489)),
        ("000000010000000000000008\t0\n", Some(1)),
        ("00000002.history\t489", None),
        ("garbage", None),
        ("", None),
    ] {
        std::fs::write(&path, text).unwrap();
        let reached = primary::reached(layout).unwrap();
        assert_eq!(reached.and_then(|since| since.position), expected, "{text:?}");
    }
}
