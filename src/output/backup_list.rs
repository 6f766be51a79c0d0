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
    let Some(copy) = &backup.copied else {
        return Value::Object(object);
    };
    if let Some(name) = &backup.name {
        object.insert("backup_name".to_owned(), json!(name));
    }
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
