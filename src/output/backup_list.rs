//! `list-backups`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::base::{calendar, size};
use crate::catalog::BackupStatus;
use crate::catalog::retention::RetentionStatus;
use crate::catalog::{ListedBackup, ListedCopy};

/// The backups of a server, newest first.
#[derive(Debug)]
pub struct BackupList<'a> {
    /// The server.
    pub server: &'a str,
    /// Its backups.
    pub backups: &'a [ListedBackup],
    /// Ids only.
    pub minimal: bool,
}

impl Render for BackupList<'_> {
    fn console(&self, page: &mut Page) {
        for backup in self.backups {
            if self.minimal {
                page.line(backup.id.as_str());
            } else {
                page.line(line(self.server, backup));
            }
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let list: Vec<Value> = self
            .backups
            .iter()
            .map(|backup| {
                if self.minimal {
                    json!(backup.id.as_str())
                } else {
                    object(backup)
                }
            })
            .collect();
        document.insert(self.server.to_owned(), Value::Array(list));
    }
}

/// What is said of the retention of a backup: nothing of one that is wanted.
fn noteworthy(retention: Option<RetentionStatus>) -> Option<&'static str> {
    match retention? {
        RetentionStatus::Valid | RetentionStatus::None => None,
        other => Some(other.as_str()),
    }
}

fn line(server: &str, backup: &ListedBackup) -> String {
    let name = backup
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!(" '{name}'"));
    let start = format!(
        "{server} {}{name} - {} - ",
        backup.id,
        backup.backup_type.letter()
    );
    let Some(copy) = &backup.copied else {
        return format!("{start}{}", backup.status);
    };
    let waiting = match backup.status {
        BackupStatus::WaitingForWals => " - WAITING_FOR_WALS",
        _ => "",
    };
    let retention = noteworthy(copy.retention).map_or_else(String::new, |word| format!(" - {word}"));
    format!(
        "{start}{} - Size: {} - WAL Size: {}{waiting}{retention}",
        end_time(copy),
        size::pretty_bytes(copy.size),
        size::pretty_bytes(copy.wal_size)
    )
}

fn end_time(copy: &ListedCopy) -> String {
    copy.end_time
        .as_ref()
        .map_or_else(|| "None".to_owned(), calendar::ctime)
}

fn object(backup: &ListedBackup) -> Value {
    let mut object = Map::new();
    object.insert("backup_id".to_owned(), json!(backup.id.as_str()));
    object.insert("backup_type".to_owned(), json!(backup.backup_type.as_str()));
    object.insert("status".to_owned(), json!(backup.status.to_string()));
    if let Some(name) = &backup.name {
        object.insert("backup_name".to_owned(), json!(name));
    }
    let Some(copy) = &backup.copied else {
        return Value::Object(object);
    };
    let timestamp = copy.end_time.as_ref().map(|time| time.timestamp().to_string());
    for (key, value) in [
        ("end_time", json!(end_time(copy))),
        ("end_time_timestamp", json!(timestamp)),
        (
            "retention_status",
            json!(noteworthy(copy.retention).unwrap_or("-")),
        ),
        ("size", json!(size::pretty_bytes(copy.size))),
        ("size_bytes", json!(copy.size)),
        ("wal_size", json!(size::pretty_bytes(copy.wal_size))),
        ("wal_size_bytes", json!(copy.wal_size)),
    ] {
        object.insert(key.to_owned(), value);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::{BackupId, BackupType};

    fn backups() -> Vec<ListedBackup> {
        let listed = |id: &str, name: Option<&str>, backup_type, status, copied| ListedBackup {
            id: BackupId::parse(id).unwrap(),
            name: name.map(str::to_owned),
            backup_type,
            status,
            copied,
        };
        let copy = |retention| {
            Some(ListedCopy {
                end_time: calendar::parse("2026-01-04 00:10:00+00:00"),
                size: 25_939_915,
                wal_size: 706,
                retention,
            })
        };
        vec![
            listed(
                "20260104T000000",
                Some("weekly"),
                BackupType::Rsync,
                BackupStatus::WaitingForWals,
                copy(Some(RetentionStatus::KeepFull)),
            ),
            listed(
                "20260103T000000",
                None,
                BackupType::Full,
                BackupStatus::Done,
                copy(Some(RetentionStatus::Valid)),
            ),
            listed(
                "20260102T000000",
                None,
                BackupType::Incremental,
                BackupStatus::Failed,
                None,
            ),
        ]
    }

    #[test]
    fn people_see_barmans_lines() {
        let mut page = Page::new(false);
        let backups = backups();
        let list = |minimal| BackupList {
            server: "main",
            backups: &backups,
            minimal,
        };
        list(false).console(&mut page);
        list(true).console(&mut page);
        assert_eq!(
            page.text(),
            "main 20260104T000000 'weekly' - R - Sun Jan  4 00:10:00 2026 - Size: 24.7 MiB - WAL Size: 706 B - \
             WAITING_FOR_WALS - KEEP:FULL\n\
             main 20260103T000000 - F - Sun Jan  4 00:10:00 2026 - Size: 24.7 MiB - WAL Size: 706 B\n\
             main 20260102T000000 - I - FAILED\n\
             20260104T000000\n20260103T000000\n20260102T000000\n"
        );
    }

    #[test]
    fn programs_see_barmans_keys() {
        let mut document = Map::new();
        BackupList {
            server: "main",
            backups: &backups(),
            minimal: false,
        }
        .json(&mut document);
        assert_eq!(
            document["main"],
            json!([
                {
                    "backup_id": "20260104T000000", "backup_name": "weekly", "backup_type": "rsync",
                    "end_time": "Sun Jan  4 00:10:00 2026", "end_time_timestamp": "1767485400",
                    "retention_status": "KEEP:FULL", "size": "24.7 MiB", "size_bytes": 25_939_915,
                    "status": "WAITING_FOR_WALS", "wal_size": "706 B", "wal_size_bytes": 706
                },
                {
                    "backup_id": "20260103T000000", "backup_type": "full",
                    "end_time": "Sun Jan  4 00:10:00 2026", "end_time_timestamp": "1767485400",
                    "retention_status": "-", "size": "24.7 MiB", "size_bytes": 25_939_915,
                    "status": "DONE", "wal_size": "706 B", "wal_size_bytes": 706
                },
                {"backup_id": "20260102T000000", "backup_type": "incremental", "status": "FAILED"}
            ])
        );
    }
}
