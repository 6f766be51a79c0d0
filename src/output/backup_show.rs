//! `show-backup`: the console's columns here, the JSON object in [`document`].

mod document;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::{Page, Render};
use crate::base::{calendar, duration, size};
use crate::catalog::python_literal::Literal;
use crate::catalog::{BackupId, BackupInfo, BackupType};
use crate::catalog::{BackupReport, CopyReport};

impl Render for BackupReport {
    fn console(&self, page: &mut Page) {
        general(page, &self.info, self.copied.is_some());
        server_information(page, &self.info);
        match &self.copied {
            Some(copied) => {
                snapshots(page, &self.info);
                tablespaces(page, &self.info);
                base_backup(page, self, copied);
                wal(page, &self.info, copied);
                catalog(page, self, copied);
            }
            None => {
                if let Some(error) = &self.info.error {
                    row(page, "Error", error);
                }
            }
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let server = self.info.server_name.clone().unwrap_or_default();
        document.insert(server, document::of(self));
    }
}

/// A row of the first column.
fn row(page: &mut Page, label: &str, value: impl std::fmt::Display) {
    page.line(format!("  {label:<23}: {value}"));
}

/// A row below a heading.
fn detail(page: &mut Page, label: &str, value: impl std::fmt::Display) {
    page.line(format!("    {label:<21}: {value}"));
}

/// A value that is not known is Python's `None`.
fn or_none<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "None".to_owned(), ToString::to_string)
}

fn general(page: &mut Page, info: &BackupInfo, copied: bool) {
    page.line(format!("Backup {}:", info.id));
    if let Some(name) = &info.backup_name {
        row(page, "Backup Name", name);
    }
    row(page, "Server Name", or_none(info.server_name.as_ref()));
    if let Some(systemid) = &info.systemid {
        row(page, "System Id", systemid);
    }
    row(page, "Status", info.status);
    if copied {
        row(page, "PostgreSQL Version", or_none(info.version.as_ref()));
        row(page, "PGDATA directory", or_none(info.pgdata.as_ref()));
        if let Some(bytes) = info.cluster_size.filter(|bytes| *bytes > 0) {
            row(page, "Estimated Cluster Size", size::pretty_bytes(bytes));
        }
    }
    page.blank();
}

fn server_information(page: &mut Page, info: &BackupInfo) {
    if info.data_checksums.is_none() && info.summarize_wal.is_none() {
        return;
    }
    page.line("  Server information:");
    if let Some(checksums) = &info.data_checksums {
        detail(page, "Checksums", checksums);
    }
    if let Some(summarizer) = &info.summarize_wal {
        detail(page, "WAL summarizer", summarizer);
    }
    page.blank();
}

/// The snapshots as the catalog holds them: what a provider says of them is its own.
fn snapshots(page: &mut Page, info: &BackupInfo) {
    let Some(snapshots) = &info.snapshots_info else {
        return;
    };
    page.line("  Snapshot information:");
    dictionary(page, snapshots.get("provider_info"));
    if let Some(list) = snapshots.get("snapshots").and_then(Literal::items) {
        for snapshot in list {
            page.blank();
            dictionary(page, snapshot.get("provider"));
            let mount = |key| {
                snapshot
                    .get("mount")
                    .and_then(|mount| mount.get(key))
                    .and_then(Literal::as_str)
            };
            detail(page, "Mount point", mount("mount_point").unwrap_or("None"));
            detail(page, "Mount options", mount("mount_options").unwrap_or("None"));
        }
    }
    page.blank();
}

/// The members of a dict, sorted by key.
fn dictionary(page: &mut Page, value: Option<&Literal>) {
    let Some(Literal::Dict(members)) = value else {
        return;
    };
    let mut rows: Vec<(&str, String)> = members
        .iter()
        .filter_map(|(key, value)| Some((key.as_str()?, value.as_str()?.to_owned())))
        .collect();
    rows.sort();
    for (key, value) in rows {
        detail(page, key, value);
    }
}

fn tablespaces(page: &mut Page, info: &BackupInfo) {
    let Some(tablespaces) = info.tablespaces.as_ref().filter(|list| !list.is_empty()) else {
        return;
    };
    page.line("  Tablespaces:");
    for tablespace in tablespaces {
        detail(
            page,
            &tablespace.name,
            format!("{} (oid: {})", tablespace.location, tablespace.oid),
        );
    }
    page.blank();
}

/// Taken by `pg_basebackup`.
fn is_streamed(info: &BackupInfo) -> bool {
    info.mode.as_deref() == Some("postgres")
}

fn base_backup(page: &mut Page, report: &BackupReport, copied: &CopyReport) {
    let info = &report.info;
    let required = copied.wal.required;
    page.line("  Base backup information:");
    if let Some(mode) = &info.mode {
        detail(page, "Backup Method", mode);
    }
    if let Some(encryption) = &info.encryption {
        detail(page, "Encryption", encryption);
    }
    if is_streamed(info) {
        detail(page, "Backup Type", info.backup_type().as_str());
    }
    if info.backup_type() != BackupType::Snapshot {
        let own = size::pretty_bytes(report.size());
        let whole = size::pretty_bytes(report.size_with_wal());
        let with_wal = if required.size > 0 {
            format!(" ({whole} with WALs)")
        } else {
            String::new()
        };
        detail(page, "Backup Size", format!("{own}{with_wal}"));
    }
    if let Some(compression) = info.compression.as_ref().filter(|name| *name != "none") {
        detail(page, "Backup Compression", compression);
    }
    if required.size > 0 {
        detail(page, "WAL Size", size::pretty_bytes(required.size));
    }
    if let Some((bytes, share)) = report.resources_saved() {
        detail(
            page,
            "Resources saved",
            format!("{} ({})", size::pretty_bytes(bytes), percent(share)),
        );
    }
    detail(page, "Timeline", or_none(info.timeline.as_ref()));
    detail(page, "Begin WAL", or_none(info.begin_wal.as_ref()));
    detail(page, "End WAL", or_none(info.end_wal.as_ref()));
    if required.count > 0 {
        detail(page, "Number of WALs", required.count);
    }
    let ratio = copied.wal.required_compression_ratio(info.xlog_segment_size);
    if ratio > 0.0 {
        detail(page, "WAL compression ratio", percent(ratio));
    }
    times(page, report);
    detail(page, "Begin Offset", or_none(info.begin_offset.as_ref()));
    detail(page, "End Offset", or_none(info.end_offset.as_ref()));
    detail(page, "Begin LSN", or_none(info.begin_xlog.as_ref()));
    detail(page, "End LSN", or_none(info.end_xlog.as_ref()));
    page.blank();
}

fn times(page: &mut Page, report: &BackupReport) {
    let info = &report.info;
    let shown =
        |time: Option<&calendar::Timestamp>| time.map_or_else(|| "None".to_owned(), calendar::python_str);
    detail(page, "Begin time", shown(info.begin_time.as_ref()));
    detail(page, "End time", shown(info.end_time.as_ref()));
    let (Some(seconds), Some(stats)) = (copy_seconds(info), &info.copy_stats) else {
        return;
    };
    let startup = analysis_seconds(info).map_or_else(String::new, |seconds| {
        format!(" + {} startup", duration::human(seconds))
    });
    detail(
        page,
        "Copy time",
        format!("{}{startup}", duration::human(seconds)),
    );
    if let Some(rate) = report.throughput() {
        let workers = stats.number_of_workers();
        let jobs = if workers > 1 {
            format!(" ({workers} jobs)")
        } else {
            String::new()
        };
        detail(
            page,
            "Estimated throughput",
            format!("{}/s{jobs}", size::pretty(rate)),
        );
    }
}

/// How long the copy took, if it took any time.
fn copy_seconds(info: &BackupInfo) -> Option<f64> {
    info.copy_stats
        .as_ref()?
        .copy_time()
        .filter(|seconds| *seconds > 0.0)
}

/// How long the comparison before it took, if that is worth mentioning.
fn analysis_seconds(info: &BackupInfo) -> Option<f64> {
    info.copy_stats
        .as_ref()?
        .analysis_time()
        .filter(|seconds| *seconds >= 1.0)
}

fn wal(page: &mut Page, info: &BackupInfo, copied: &CopyReport) {
    let later = copied.wal.until_next;
    page.line("  WAL information:");
    detail(page, "Number of files", later.count);
    detail(page, "Disk usage", size::pretty_bytes(later.size));
    let rate = copied.wal.segments_per_second();
    if rate > 0.0 {
        detail(page, "WAL rate", format!("{:.2}/hour", rate * 3600.0));
    }
    let ratio = copied.wal.later_compression_ratio(info.xlog_segment_size);
    if ratio > 0.0 {
        detail(page, "Compression ratio", percent(ratio));
    }
    detail(page, "Last available", or_none(copied.wal.last.as_ref()));
    if !copied.timelines.is_empty() {
        detail(page, "Reachable timelines", join(&copied.timelines, ", "));
    }
    page.blank();
}

fn catalog(page: &mut Page, report: &BackupReport, copied: &CopyReport) {
    let info = &report.info;
    page.line("  Catalog information:");
    detail(page, "Retention Policy", retention(copied));
    detail(
        page,
        "Previous Backup",
        neighbour(copied.previous.as_ref(), OLDEST),
    );
    detail(page, "Next Backup", neighbour(copied.next.as_ref(), LATEST));
    if !copied.timelines.is_empty() {
        page.blank();
        page.line(
            "WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup",
        );
    }
    if let Some(chain) = &copied.chain {
        detail(page, "Root Backup", or_none(chain.root.as_ref()));
        detail(page, "Parent Backup", or_none(info.parent_backup_id.as_ref()));
        detail(page, "Backup chain size", chain.size);
    }
    if let Some(children) = &info.children_backup_ids
        && is_streamed(info)
        && !children.is_empty()
    {
        detail(page, "Children Backup(s)", join(children, ","));
    }
}

const OLDEST: &str = "- (this is the oldest base backup)";
const LATEST: &str = "- (this is the latest base backup)";

fn neighbour(id: Option<&BackupId>, none: &str) -> String {
    id.map_or_else(|| none.to_owned(), ToString::to_string)
}

fn retention(copied: &CopyReport) -> &'static str {
    copied.retention.map_or("not enforced", |status| status.as_str())
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn join<T: ToString>(items: &[T], separator: &str) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(separator)
}
