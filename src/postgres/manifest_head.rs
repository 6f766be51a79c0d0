//! What a `backup_manifest` says besides its files: the cluster and the WAL that the backup needs.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::manifest::{ManifestError, WalRange};
use crate::base::error::PathContext;

/// A manifest without its files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManifestHead {
    /// The cluster (version 2).
    pub system_identifier: Option<u64>,
    /// The WAL that the backup needs.
    pub ranges: Vec<WalRange>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "System-Identifier")]
    system_identifier: Option<u64>,
    #[serde(rename = "WAL-Ranges", default)]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

/// Reads them; the list of files is passed over, whatever its length.
///
/// # Errors
/// The manifest cannot be read, or is none.
pub fn read(path: &Path) -> Result<ManifestHead, ManifestError> {
    let wrong = |reason: String| ManifestError::Content {
        path: path.to_path_buf(),
        reason,
    };
    let input = BufReader::new(File::open(path).at("open", path)?);
    let document: Document = serde_json::from_reader(input).map_err(|error| wrong(error.to_string()))?;
    let range = |range: Range| {
        Some(WalRange {
            timeline: range.timeline,
            start: range.start.parse().ok()?,
            end: range.end.parse().ok()?,
        })
    };
    let ranges: Option<Vec<WalRange>> = document.ranges.into_iter().map(range).collect();
    Ok(ManifestHead {
        system_identifier: document.system_identifier,
        ranges: ranges.ok_or_else(|| wrong("a WAL range is none".to_owned()))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_passed_over() {
        let path = std::env::temp_dir().join(format!(".barkeep-manifest-head-{}", std::process::id()));
        let text = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7439,\n\"Files\": [\n\
                    { \"Path\": \"PG_VERSION\", \"Size\": 3 }\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 2, \"Start-LSN\": \
                    \"1/28\", \"End-LSN\": \"1/100\" }\n],\n\"Manifest-Checksum\": \"00\"}\n";
        std::fs::write(&path, text).unwrap();
        let head = read(&path).unwrap();
        assert_eq!(head.system_identifier, Some(7439));
        assert_eq!(
            (head.ranges[0].timeline, head.ranges[0].start),
            (2, "1/28".parse().unwrap())
        );
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path).unwrap(), ManifestHead::default());
        std::fs::write(&path, text.replace("1/28", "x")).unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
