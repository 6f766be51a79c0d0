#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

/// A file written by Barman 3.19.1 (catalog reference §16).
const WRITTEN_BY_BARMAN: &str = r"backup_label='START WAL LOCATION: 0/96000028 (file 000000010000000000000096)\nCHECKPOINT LOCATION: 0/96000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-20 21:04:12 UTC\nLABEL: Barman backup main 20261120T210412\nSTART TIMELINE: 1\n'
begin_offset=40
begin_time=2026-11-20 21:04:12.499033+00:00
begin_wal=000000010000000000000096
begin_xlog=0/96000028
children_backup_ids=None
cluster_size=2380220973
compression=None
config_file=/var/lib/postgresql/15/main/postgresql.conf
copy_stats={'total_time': 14.796692, 'number_of_workers': 2, 'analysis_time_per_item': {'pgdata': 0.613607}, 'copy_time_per_item': {'pgdata': 13.880306, 'pg_control': 0.269558}, 'serialized_copy_time_per_item': {'pgdata': 24.484106, 'pg_control': 0.269558}, 'analysis_time': 0.613607, 'copy_time': 14.154031, 'serialized_copy_time': 24.753664}
data_checksums=on
deduplicated_size=2379900119
encryption=None
end_offset=312
end_time=2026-11-20 21:04:27.387039+00:00
end_wal=000000010000000000000096
end_xlog=0/96000138
error=None
hba_file=/var/lib/postgresql/15/main/pg_hba.conf
ident_file=/var/lib/postgresql/15/main/pg_ident.conf
included_files=['/var/lib/postgresql/15/main/postgresql.auto.conf']
mode=rsync-concurrent
parent_backup_id=None
pgdata=/var/lib/postgresql/15/main
server_name=main
size=2379900119
status=DONE
summarize_wal=None
systemid=7710359345646599264
tablespaces=None
timeline=1
version=150018
xlog_segment_size=16777216
";

fn read(text: &str) -> Result<BackupInfo, CatalogError> {
    let id = BackupId::parse("20261120T210412").unwrap();
    BackupInfo::from_text(id, text, Path::new("/catalog/backup.info"))
}

#[test]
fn what_barman_wrote_is_written_again_byte_for_byte() {
    let info = read(WRITTEN_BY_BARMAN).unwrap();
    assert_eq!(info.to_text(), WRITTEN_BY_BARMAN);
    let stats = info.copy_stats.unwrap();
    assert_eq!(stats.number_of_workers(), 2);
    assert!((stats.copy_time().unwrap() - 14.154_031).abs() < 1e-9);
}

#[test]
fn optional_lines_tablespaces_and_snapshots_survive() {
    let text = WRITTEN_BY_BARMAN
        .replace(
            "tablespaces=None",
            r#"tablespaces=[('it''s', 16387, "/srv/o'ne"), ('two', 16388, '/srv/tw\\o')]"#,
        )
        .replace("('it''s'", "(\"it's\"")
        .replace("begin_offset", "backup_name=weekly = one\nbegin_offset")
        .replace(
            "status=DONE",
            "snapshots_info={'provider': 'aws', 'snapshots': []}\nstatus=DONE",
        )
        .replace(
            "children_backup_ids=None",
            "children_backup_ids=20261121T000000,20261122T000000",
        );
    let info = read(&text).unwrap();
    assert_eq!(info.to_text(), text);
    assert_eq!(info.backup_name.as_deref(), Some("weekly = one"));
    let tablespaces = info.tablespaces.unwrap();
    assert_eq!(tablespaces.first().unwrap().location, "/srv/o'ne");
    assert_eq!(tablespaces.last().unwrap().oid, 16388);
    assert_eq!(info.children_backup_ids.unwrap().len(), 2);
}

#[test]
fn a_new_backup_is_written_as_barman_does() {
    let mut info = BackupInfo::empty(BackupId::parse("20261120T210412").unwrap());
    info.mode = Some("rsync-concurrent".to_owned());
    let text = info.to_text();
    assert_eq!(text.lines().count(), 33);
    assert!(text.contains("\nstatus=EMPTY\n"));
    assert_eq!(read(&text).unwrap(), info);
}

#[test]
fn what_passive_nodes_spoil_is_read_all_the_same() {
    let text = WRITTEN_BY_BARMAN
        .replace(
            "backup_label='START WAL LOCATION: 0/96000028",
            "backup_label=\"'START WAL LOCATION: 0/96000028",
        )
        .replace("TIMELINE: 1\\n'", "TIMELINE: 1\\\\n'\"")
        .replace(
            "children_backup_ids=None",
            "children_backup_ids=2,0,2,6,1,1,2,1,T,0,0,0,0,0,0,,,2,0,2,6,1,1,2,2,T,0,0,0,0,0,0",
        );
    let info = read(&text).unwrap();
    let label = info.backup_label.unwrap();
    assert!(
        label.starts_with("START WAL") && label.ends_with("TIMELINE: 1\n"),
        "{label:?}"
    );
    let children: Vec<String> = info
        .children_backup_ids
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(children, ["20261121T000000", "20261122T000000"]);
}

#[test]
fn blanks_comments_and_missing_lines_are_fine() {
    let info = read("# comment\n\n  status =  DONE  \nmode=None\n").unwrap();
    assert_eq!((info.status, info.mode.clone()), (BackupStatus::Done, None));
    assert_eq!(info.backup_type().letter(), 'F');
}

#[test]
fn mistakes_say_where_they_are() {
    let message = |text: &str| read(text).unwrap_err().to_string();
    assert!(
        message("status=DONE\nfuture=1\n")
            .starts_with("Unsupported field 'future' found in backup metadata.")
    );
    assert_eq!(
        message("nonsense\n"),
        "invalid line nonsense in file /catalog/backup.info"
    );
    for (line, key) in [
        ("size=12x", "size"),
        ("begin_wal=00000001", "begin_wal"),
        ("begin_xlog=1", "begin_xlog"),
        ("begin_time=yesterday", "begin_time"),
        ("tablespaces=[1]", "tablespaces"),
        ("copy_stats=[", "copy_stats"),
        ("status=FINE", "status"),
        ("parent_backup_id=../x", "parent_backup_id"),
    ] {
        let message = message(line);
        assert!(
            message.contains(key) && message.contains("/catalog/backup.info"),
            "{message}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "((status|size|tablespaces|backup_label|begin_time)=.*\n|.*\n)*") {
        let _ = read(&text);
    }

    #[test]
    fn free_texts_survive(name in "[^\n\r=]{1,40}", label in ".*") {
        let mut info = read(WRITTEN_BY_BARMAN).unwrap();
        // What Barman would take for null or strip.
        prop_assume!(name.trim() == name && name != "None" && !name.contains(['\u{b}', '\u{c}', '\u{85}', '\u{2028}']));
        info.backup_name = Some(name);
        // A label that is a literal itself counts as quoted twice.
        prop_assume!(python_literal::parse(&label).is_err());
        info.backup_label = Some(label);
        prop_assert_eq!(read(&info.to_text()).unwrap(), info);
    }
}
