//! A backup as a JSON object with the keys of `backup.info`: for `diagnose` and for the JSON output of `backup`.

use serde_json::{Map, Value, json};

use crate::base::calendar::{self, Timestamp};
use crate::catalog::BackupInfo;
use crate::catalog::python_literal::{Literal, repr, string_repr};

/// How points in time are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// `2026-11-20T21:07:00.123456+00:00`, in the time of this machine
    Iso,
    /// `Fri Nov 20 21:07:00 2026`
    Ctime,
}

/// The object of a backup.
#[must_use]
pub fn backup_document(backup: &BackupInfo, dates: Dates) -> Map<String, Value> {
    let time = |time: &Option<Timestamp>| match (time, dates) {
        (None, _) => Value::Null,
        (Some(time), Dates::Iso) => json!(calendar::python_iso(&calendar::here(time))),
        (Some(time), Dates::Ctime) => json!(calendar::ctime(time)),
    };
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    put("backup_id", json!(backup.id.as_str()));
    put("backup_label", label(backup));
    put("begin_offset", json!(backup.begin_offset));
    put("begin_time", time(&backup.begin_time));
    put("begin_wal", text(backup.begin_wal.as_ref()));
    put("begin_xlog", text(backup.begin_xlog.as_ref()));
    let children = backup.children_backup_ids.as_ref().map(|ids| {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        ids.join(",")
    });
    put("children_backup_ids", json!(children));
    put("cluster_size", json!(backup.cluster_size));
    put("compression", json!(backup.compression));
    put("config_file", json!(backup.config_file));
    put(
        "copy_stats",
        backup
            .copy_stats
            .as_ref()
            .map_or(Value::Null, |stats| literal(stats.literal())),
    );
    put("data_checksums", json!(backup.data_checksums));
    put("deduplicated_size", json!(backup.deduplicated_size));
    put("encryption", json!(backup.encryption));
    put("end_offset", json!(backup.end_offset));
    put("end_time", time(&backup.end_time));
    put("end_wal", text(backup.end_wal.as_ref()));
    put("end_xlog", text(backup.end_xlog.as_ref()));
    put("error", json!(backup.error));
    put("hba_file", json!(backup.hba_file));
    put("ident_file", json!(backup.ident_file));
    put("included_files", json!(backup.included_files));
    put("mode", json!(backup.mode));
    put("parent_backup_id", text(backup.parent_backup_id.as_ref()));
    put("pgdata", json!(backup.pgdata));
    put("server_name", json!(backup.server_name));
    put("size", json!(backup.size));
    put("status", json!(backup.status.to_string()));
    put("summarize_wal", json!(backup.summarize_wal));
    put("systemid", json!(backup.systemid));
    let tablespaces: Option<Vec<Value>> = backup.tablespaces.as_ref().map(|tablespaces| {
        tablespaces
            .iter()
            .map(|tablespace| json!([tablespace.name, tablespace.oid, tablespace.location]))
            .collect()
    });
    put("tablespaces", json!(tablespaces));
    put("timeline", json!(backup.timeline));
    put("version", json!(backup.version));
    put("xlog_segment_size", json!(backup.xlog_segment_size));
    if let Some(name) = &backup.backup_name {
        put("backup_name", json!(name));
    }
    if let Some(snapshots) = &backup.snapshots_info {
        put("snapshots_info", literal(snapshots));
    }
    document
}

fn text<T: ToString>(value: Option<&T>) -> Value {
    value.map_or(Value::Null, |value| json!(value.to_string()))
}

/// The label, which Barman shows as the literal that the file holds.
fn label(backup: &BackupInfo) -> Value {
    backup
        .backup_label
        .as_ref()
        .map_or(Value::Null, |label| json!(string_repr(label)))
}

/// A Python value as Python's `json` writes it. Numbers beyond what JSON readers expect become texts.
fn literal(value: &Literal) -> Value {
    match value {
        Literal::None => Value::Null,
        Literal::Bool(flag) => json!(flag),
        Literal::Int(number) => {
            i64::try_from(*number).map_or_else(|_| json!(number.to_string()), |number| json!(number))
        }
        Literal::Float(number) => json!(number),
        Literal::Str(text) => json!(text),
        Literal::Tuple(items) | Literal::List(items) => items.iter().map(literal).collect(),
        Literal::Dict(members) => members
            .iter()
            .map(|(key, value)| {
                (
                    key.as_str().map_or_else(|| repr(key), str::to_owned),
                    literal(value),
                )
            })
            .collect::<Map<String, Value>>()
            .into(),
    }
}
