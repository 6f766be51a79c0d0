//! What barkeep knows of a backup and Barman's `backup.info` has no place for: `meta/{id}-barkeep.json`. Barman ignores
//! the file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::error::{PathContext, PathError};
use crate::base::{durable, json};
use crate::catalog::BackupId;
use crate::copy::{BlockReport, CopyReport, Method};

/// How the copy of a backup went; `incremental` as [`incremental`] has it.
pub(super) fn document(report: &CopyReport, checksums: bool, incremental: Option<Value>) -> Value {
    let (method, fallback_reason) = match &report.method {
        Method::Agent => ("agent", None),
        Method::Rsync { reason } => ("rsync", Some(reason)),
    };
    let page_checksums = match (checksums, &report.method) {
        (false, _) => "the cluster has none",
        (true, Method::Rsync { .. }) => "not verified: rsync cannot",
        (true, Method::Agent) => "verified",
    };
    let corrupt: Vec<Value> = report
        .corrupt
        .iter()
        .map(|page| {
            json!({
                "path": page.path.display().to_string(),
                "block": page.block,
                "computed": page.computed,
                "stored": page.stored,
            })
        })
        .collect();
    json!({
        "barkeep_version": crate::VERSION,
        "copy": {
            "method": method,
            "fallback_reason": fallback_reason,
            "files": report.files,
            "reused_files": report.reused_files,
            "bytes": report.total_bytes,
            "stored_bytes": report.stored_bytes,
            "wire_bytes": report.wire_bytes,
            "vanished": shown(&report.vanished),
            "skipped": shown(&report.skipped),
        },
        "incremental": incremental,
        "page_checksums": page_checksums,
        "corrupt_pages": corrupt,
    })
}

/// What an incremental backup made of relation files, and why.
pub(super) fn incremental(parent: &BackupId, blocks: &BlockReport, lsns_tell: Result<(), &str>) -> Value {
    let (rule, reason) = match lsns_tell {
        Ok(()) => ("lsn", None),
        Err(reason) => ("hash", Some(reason)),
    };
    json!({
        "parent": parent.to_string(),
        "rule": rule,
        "reason": reason,
        "unchanged_files": blocks.unchanged,
        "by_lsn": { "files": blocks.by_lsn, "pages": blocks.blocks_by_lsn },
        "by_hash": { "files": blocks.by_hash, "pages": blocks.blocks_by_hash },
        "mostly_changed_files": blocks.mostly_changed,
        "lsn_refuted_files": blocks.lsn_refuted,
        "parent_damaged_files": blocks.parent_damaged,
        "unlogged_files": blocks.unlogged,
    })
}

fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// Writes the sidecar of a backup, durably.
pub(super) fn write(path: &Path, document: &Value) -> Result<(), PathError> {
    let text = json::indented(document)
        .map_err(std::io::Error::other)
        .at("write", path)?;
    durable::write(path, format!("{text}\n").as_bytes())
}
