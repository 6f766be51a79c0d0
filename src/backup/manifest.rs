//! `backup_manifest`: PostgreSQL's list of the files of a backup with their checksums, in the layout of Barman's
//! `generate-manifest` (catalog reference §6). Only `data/` is covered.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::base::error::{PathContext, PathError};
use crate::base::{durable, json};
use crate::copy::ManifestEntry;

/// Writes the manifest of a data directory, durably. The entries' checksums are SHA-256; `label` is the `backup_label`
/// that was written by barkeep itself.
pub(super) fn write(data: &Path, mut entries: Vec<ManifestEntry>, label: &str) -> Result<(), PathError> {
    let path = data.join("backup_label");
    entries.retain(|entry| entry.path != Path::new("backup_label"));
    entries.push(ManifestEntry {
        path: "backup_label".into(),
        size: label.len() as u64,
        modified: path
            .metadata()
            .and_then(|metadata| metadata.modified())
            .at("read", &path)?,
        checksum: Sha256::digest(label.as_bytes()).to_vec(),
    });
    let path = data.join("backup_manifest");
    let text = render(&entries)
        .map_err(std::io::Error::other)
        .at("write", &path)?;
    durable::write(&path, text.as_bytes())
}

fn render(entries: &[ManifestEntry]) -> Result<String, serde_json::Error> {
    let files = entries.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    let mut text = format!(
        "{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{}],\n",
        files.join(",\n")
    );
    let checksum = hexadecimal(&Sha256::digest(text.as_bytes()));
    text.push_str(&format!("\"Manifest-Checksum\": \"{checksum}\"}}\n"));
    Ok(text)
}

fn line(entry: &ManifestEntry) -> Result<String, serde_json::Error> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = entry.path.as_os_str().as_bytes();
    // A path that is not UTF-8 has a key of its own, in hexadecimal.
    let (key, path) = match std::str::from_utf8(bytes) {
        Ok(text) => ("Path", text.to_owned()),
        Err(_) => ("Encoded-Path", hexadecimal(bytes)),
    };
    json::line(&json!({
        "Checksum": hexadecimal(&entry.checksum),
        "Checksum-Algorithm": "SHA256",
        "Last-Modified": utc(entry.modified),
        key: path,
        "Size": entry.size,
    }))
}

fn utc(time: SystemTime) -> String {
    DateTime::<Utc>::from(time)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn layout_is_barmans() {
        let entry = |path: &str| ManifestEntry {
            path: path.into(),
            size: 3,
            modified: SystemTime::UNIX_EPOCH,
            checksum: vec![0xab, 0x01],
        };
        let text = render(&[entry("PG_VERSION"), entry("é")]).unwrap();
        let (covered, checksum) = text.split_at(text.find("\"Manifest-Checksum\"").unwrap());
        assert_eq!(
            covered,
            "{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n\
             {\"Checksum\": \"ab01\", \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"1970-01-01 00:00:00\", \
             \"Path\": \"PG_VERSION\", \"Size\": 3},\n\
             {\"Checksum\": \"ab01\", \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"1970-01-01 00:00:00\", \
             \"Path\": \"\\u00e9\", \"Size\": 3}],\n"
        );
        let expected = hexadecimal(&Sha256::digest(covered.as_bytes()));
        assert_eq!(checksum, format!("\"Manifest-Checksum\": \"{expected}\"}}\n"));
    }
}
