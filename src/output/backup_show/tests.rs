//! `show-backup` as Barman 3.19.1 showed the same backups.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Map, json};

use crate::catalog::figures::{WalFigures, WalSum};
use crate::catalog::retention::RetentionStatus;
use crate::catalog::{BackupId, BackupInfo, BackupReport, Chain, CopyReport};
use crate::output::{Page, Render};

/// A backup of the method postgres, with everything that a backup can have but snapshots.
const STREAMED: &str = "backup_label=None
backup_name=weekly
begin_offset=40
begin_time=2026-01-04 00:00:00.500000+00:00
begin_wal=000000010000000000000004
begin_xlog=0/4000028
children_backup_ids=20260105T000000,20260106T000000
cluster_size=5000000
compression=gzip
copy_stats={'copy_time': 3725.25, 'total_time': 3800.0, 'analysis_time': 75.2, 'number_of_workers': 3}
data_checksums=on
deduplicated_size=200000
encryption=gpg
end_offset=368
end_time=2026-01-04 00:10:00+00:00
end_wal=000000010000000000000004
end_xlog=0/4000170
mode=postgres
parent_backup_id=20260102T000000
pgdata=/srv/pg
server_name=main
size=200000
status=DONE
summarize_wal=on
systemid=7710446950037691083
tablespaces=[('ts1', 16385, '/srv/ts 1')]
timeline=1
version=170002
xlog_segment_size=16777216
";

fn backup(text: &str) -> BackupInfo {
    let id = BackupId::parse("20260104T000000").unwrap();
    BackupInfo::from_text(id, text, Path::new("20260104T000000-backup.info")).unwrap()
}

fn id(text: &str) -> Option<BackupId> {
    BackupId::parse(text)
}

fn full_report() -> BackupReport {
    let mut wal = WalFigures::default();
    wal.has_first = true;
    wal.required = WalSum { count: 1, size: 4000 };
    wal.until_next = WalSum {
        count: 2,
        size: 11000,
    };
    wal.last = Some("000000010000000000000006".to_owned());
    BackupReport {
        info: backup(STREAMED),
        copied: Some(CopyReport {
            wal,
            retention: Some(RetentionStatus::PotentiallyObsolete),
            previous: id("20260102T000000"),
            next: None,
            timelines: vec![2, 3],
            chain: Some(Chain {
                root: id("20260101T000000"),
                size: 3,
            }),
        }),
    }
}

fn console(report: &BackupReport) -> String {
    let mut page = Page::new(false);
    report.console(&mut page);
    page.text().to_owned()
}

#[test]
fn people_see_barmans_columns() {
    assert_eq!(
        console(&full_report()),
        "\
Backup 20260104T000000:
  Backup Name            : weekly
  Server Name            : main
  System Id              : 7710446950037691083
  Status                 : DONE
  PostgreSQL Version     : 170002
  PGDATA directory       : /srv/pg
  Estimated Cluster Size : 4.8 MiB

  Server information:
    Checksums            : on
    WAL summarizer       : on

  Tablespaces:
    ts1                  : /srv/ts 1 (oid: 16385)

  Base backup information:
    Backup Method        : postgres
    Encryption           : gpg
    Backup Type          : incremental
    Backup Size          : 195.3 KiB (199.2 KiB with WALs)
    Backup Compression   : gzip
    WAL Size             : 3.9 KiB
    Resources saved      : 4.6 MiB (96.00%)
    Timeline             : 1
    Begin WAL            : 000000010000000000000004
    End WAL              : 000000010000000000000004
    Number of WALs       : 1
    WAL compression ratio: 99.98%
    Begin time           : 2026-01-04 00:00:00.500000+00:00
    End time             : 2026-01-04 00:10:00+00:00
    Copy time            : 1 hour, 2 minutes, 5 seconds + 1 minute, 15 seconds startup
    Estimated throughput : 53 B/s (3 jobs)
    Begin Offset         : 40
    End Offset           : 368
    Begin LSN            : 0/4000028
    End LSN              : 0/4000170

  WAL information:
    Number of files      : 2
    Disk usage           : 10.7 KiB
    Compression ratio    : 99.97%
    Last available       : 000000010000000000000006
    Reachable timelines  : 2, 3

  Catalog information:
    Retention Policy     : OBSOLETE*
    Previous Backup      : 20260102T000000
    Next Backup          : - (this is the latest base backup)

WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup
    Root Backup          : 20260101T000000
    Parent Backup        : 20260102T000000
    Backup chain size    : 3
    Children Backup(s)   : 20260105T000000,20260106T000000
"
    );
}

#[test]
fn programs_see_barmans_keys() {
    let mut document = Map::new();
    full_report().json(&mut document);
    let shown = document.remove("main").unwrap();
    assert_eq!(shown["base_backup_information"]["throughput_bytes"], json!(53));
    assert_eq!(
        shown["base_backup_information"]["begin_time_timestamp"],
        json!("1767484800")
    );
    assert_eq!(
        shown["base_backup_information"]["resources_saved_percentage"],
        json!("96.00%")
    );
    assert_eq!(shown["wal_information"]["timelines"], json!(["2", "3"]));
    assert_eq!(shown["wal_information"]["wal_rate"], json!(0));
    assert_eq!(
        shown["catalog_information"]["children_backup_ids"],
        json!(["20260105T000000", "20260106T000000"])
    );
    assert_eq!(shown["catalog_information"]["chain_size"], json!(3));
    assert_eq!(
        shown["tablespaces"],
        json!([{"name": "ts1", "location": "/srv/ts 1", "oid": 16385}])
    );
    assert_eq!(shown["postgresql_version"], json!(170_002));
}

#[test]
fn a_failed_backup_shows_why() {
    let text =
        "data_checksums=on\nerror=failure x (y)\nmode=rsync-concurrent\nserver_name=main\nstatus=FAILED\n";
    let report = BackupReport {
        info: backup(text),
        copied: None,
    };
    assert_eq!(
        console(&report),
        "Backup 20260104T000000:\n  Server Name            : main\n  Status                 : FAILED\n\n  \
         Server information:\n    Checksums            : on\n\n  Error                  : failure x (y)\n"
    );
    let mut document = Map::new();
    report.json(&mut document);
    assert_eq!(
        document["main"],
        json!({
            "backup_id": "20260104T000000",
            "error": "failure x (y)",
            "server_information": {"data_checksums": "on", "summarize_wal": null},
            "status": "FAILED"
        })
    );
}

#[test]
fn a_backup_of_which_nothing_is_known_is_three_lines() {
    let report = BackupReport {
        info: backup("server_name=main\nstatus=EMPTY\n"),
        copied: None,
    };
    assert_eq!(
        console(&report),
        "Backup 20260104T000000:\n  Server Name            : main\n  Status                 : EMPTY\n\n"
    );
}
