//! What barkeep knows of a backup and Barman's `backup.info` has no place for: `meta/{id}-barkeep.json`. Barman ignores
//! the file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::error::{PathContext, PathError};
use crate::base::{durable, json};
use crate::copy::{CopyReport, Method};

/// How the copy of a backup went.
pub(super) fn document(report: &CopyReport, checksums: bool) -> Value {
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
        "page_checksums": page_checksums,
        "corrupt_pages": corrupt,
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
