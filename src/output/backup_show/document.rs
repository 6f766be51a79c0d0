//! The JSON object of `show-backup`.

use serde_json::{Map, Value, json};

use super::{LATEST, OLDEST, analysis_seconds, copy_seconds, is_streamed, neighbour, percent, retention};
use crate::base::calendar::{self, Timestamp};
use crate::base::{duration, size};
use crate::catalog::BackupInfo;
use crate::catalog::{BackupReport, CopyReport};
use crate::status::{Dates, backup_document};

/// What Barman says about timelines, with the blanks of its source.
const SEVERAL_TIMELINES: &str = "WAL information is inaccurate                     due to multiple timelines interacting \
                                 with                     this backup";

/// Members that are put in one after the other.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// A number of bytes, for people and as it is.
    fn bytes(&mut self, key: &str, bytes: u64) {
        self.put(key, size::pretty_bytes(bytes));
        self.put(&format!("{key}_bytes"), bytes);
    }

    /// A length of time, for people and in seconds.
    fn seconds(&mut self, key: &str, seconds: f64) {
        self.put(key, duration::human(seconds));
        self.put(&format!("{key}_seconds"), seconds);
    }

    /// A point in time, for people and in seconds since the epoch.
    fn time(&mut self, key: &str, time: Option<&Timestamp>) {
        self.put(key, json!(time.map(calendar::python_str)));
        self.put(
            &format!("{key}_timestamp"),
            json!(time.map(|time| time.timestamp().to_string())),
        );
    }
}

/// The object of a backup.
pub(super) fn of(report: &BackupReport) -> Value {
    let info = &report.info;
    let mut object = Object::default();
    object.put("backup_id", info.id.as_str());
    object.put("status", info.status.to_string());
    if let Some(systemid) = &info.systemid {
        object.put("system_id", systemid.as_str());
    }
    object.put(
        "server_information",
        json!({"data_checksums": info.data_checksums, "summarize_wal": info.summarize_wal}),
    );
    match &report.copied {
        Some(copied) => copied_members(&mut object, report, copied),
        None => {
            if let Some(error) = &info.error {
                object.put("error", error.as_str());
            }
        }
    }
    Value::Object(object.0)
}

fn copied_members(object: &mut Object, report: &BackupReport, copied: &CopyReport) {
    let info = &report.info;
    if let Some(name) = &info.backup_name {
        object.put("backup_name", name.as_str());
    }
    object.put("backup_type", info.backup_type().as_str());
    if let Some(bytes) = info.cluster_size.filter(|bytes| *bytes > 0) {
        object.bytes("cluster_size", bytes);
    }
    object.put("postgresql_version", json!(info.version));
    object.put("pgdata_directory", json!(info.pgdata));
    object.put("tablespaces", tablespaces(info));
    object.put("base_backup_information", base_backup(report, copied));
    object.put("wal_information", wal(info, copied));
    object.put("catalog_information", catalog(info, copied));
    if info.snapshots_info.is_some()
        && let Some(snapshots) = backup_document(info, Dates::Iso).remove("snapshots_info")
    {
        object.put("snapshots_info", snapshots);
    }
}

fn tablespaces(info: &BackupInfo) -> Value {
    info.tablespaces
        .iter()
        .flatten()
        .map(|tablespace| json!({"name": tablespace.name, "location": tablespace.location, "oid": tablespace.oid}))
        .collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rate, in whole bytes as Barman has it
fn base_backup(report: &BackupReport, copied: &CopyReport) -> Value {
    let info = &report.info;
    let required = copied.wal.required;
    let mut object = Object::default();
    object.put("backup_method", json!(info.mode));
    object.put("encryption", json!(info.encryption));
    object.put("compression", json!(info.compression));
    object.bytes("backup_size", report.size());
    object.bytes("backup_size_with_wals", report.size_with_wal());
    object.bytes("wal_size", required.size);
    object.put("timeline", json!(info.timeline));
    object.put("begin_wal", text(info.begin_wal.as_ref()));
    object.put("end_wal", text(info.end_wal.as_ref()));
    object.put("wal_num", required.count);
    object.time("begin_time", info.begin_time.as_ref());
    object.time("end_time", info.end_time.as_ref());
    object.put("begin_offset", json!(info.begin_offset));
    object.put("end_offset", json!(info.end_offset));
    object.put("begin_lsn", text(info.begin_xlog.as_ref()));
    object.put("end_lsn", text(info.end_xlog.as_ref()));
    if let Some((bytes, share)) = report.resources_saved() {
        object.bytes("resources_saved", bytes);
        object.put("resources_saved_percentage", percent(share));
    }
    let ratio = copied.wal.required_compression_ratio(info.xlog_segment_size);
    if ratio > 0.0 {
        object.put("wal_compression_ratio", percent(ratio));
    }
    if let Some(seconds) = copy_seconds(info) {
        object.seconds("copy_time", seconds);
        if let Some(seconds) = analysis_seconds(info) {
            object.seconds("analysis_time", seconds);
        }
        if let Some(rate) = report.throughput() {
            object.put("throughput", format!("{}/s", size::pretty(rate)));
            object.put("throughput_bytes", rate as u64);
        }
        let workers = info
            .copy_stats
            .as_ref()
            .map_or(1, |stats| stats.number_of_workers());
        object.put("number_of_workers", workers);
    }
    Value::Object(object.0)
}

fn wal(info: &BackupInfo, copied: &CopyReport) -> Value {
    let later = copied.wal.until_next;
    let mut object = Object::default();
    object.put("no_of_files", later.count);
    object.bytes("disk_usage", later.size);
    let rate = copied.wal.segments_per_second();
    // Barman's zeros are whole numbers, everything else is text or a fraction.
    if rate > 0.0 {
        object.put("wal_rate", format!("{:.2}/hour", rate * 3600.0));
        object.put("wal_rate_per_second", rate);
    } else {
        object.put("wal_rate", 0);
        object.put("wal_rate_per_second", 0);
    }
    let ratio = copied.wal.later_compression_ratio(info.xlog_segment_size);
    object.put(
        "compression_ratio",
        if ratio > 0.0 {
            json!(percent(ratio))
        } else {
            json!(0)
        },
    );
    object.put("last_available", json!(copied.wal.last));
    let timelines: Vec<String> = copied.timelines.iter().map(ToString::to_string).collect();
    object.put("timelines", json!(timelines));
    if !timelines.is_empty() {
        object.put("_WARNING", SEVERAL_TIMELINES);
    }
    Value::Object(object.0)
}

fn catalog(info: &BackupInfo, copied: &CopyReport) -> Value {
    let mut object = Object::default();
    object.put("retention_policy", retention(copied));
    object.put("previous_backup", neighbour(copied.previous.as_ref(), OLDEST));
    object.put("next_backup", neighbour(copied.next.as_ref(), LATEST));
    if let Some(chain) = &copied.chain {
        object.put("root_backup_id", text(chain.root.as_ref()));
        object.put("parent_backup_id", text(info.parent_backup_id.as_ref()));
        object.put("chain_size", json!(chain.size));
    }
    if is_streamed(info) {
        let children: Option<Vec<String>> = info
            .children_backup_ids
            .as_ref()
            .map(|ids| ids.iter().map(ToString::to_string).collect());
        object.put("children_backup_ids", json!(children));
    }
    Value::Object(object.0)
}

fn text<T: ToString>(value: Option<&T>) -> Value {
    value.map_or(Value::Null, |value| json!(value.to_string()))
}
