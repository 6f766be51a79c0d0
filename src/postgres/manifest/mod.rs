//! `backup_manifest`, versions 1 and 2: PostgreSQL's list of a backup's files with their checksums.
//!
//! Two layouts are written: PostgreSQL's own, and the one of Barman's `generate-manifest`, which differs in the order of
//! keys and in blanks. Both are JSON whose last line holds the SHA-256 of everything before it. Reading is by
//! streams: the manifest of a large cluster does not fit into memory.
//!
//! Sources: PostgreSQL documentation, "Backup Manifest Format"; `src/common/parse_manifest.c`.

mod checksum;
mod read;
mod write;

use std::fmt::{self, Write as _};

pub use checksum::{Checksum, Computation};
pub use read::{ManifestError, read};
pub use write::ManifestWriter;

use super::lsn::Lsn;

/// A file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Relative to the data directory, as bytes.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// Time of last change, seconds since the epoch (UTC).
    pub modified: i64,
    /// How the checksum was computed.
    pub algorithm: Checksum,
    /// The checksum; empty for [`Checksum::None`].
    pub checksum: Vec<u8>,
}

/// A range of WAL that a backup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// Its timeline.
    pub timeline: u32,
    /// Where it starts.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
}

impl fmt::Display for WalRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
            self.timeline, self.start, self.end
        )
    }
}

/// Which of the two layouts is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// PostgreSQL's.
    PostgreSql {
        /// The WAL that the backup needs.
        ranges: Vec<WalRange>,
        /// The cluster; with it the version is 2, that of PostgreSQL 17 and newer.
        system_identifier: Option<u64>,
    },
    /// Barman's `generate-manifest`.
    Barman,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files() -> Vec<ManifestFile> {
        vec![
            ManifestFile {
                path: b"PG_VERSION".to_vec(),
                size: 3,
                modified: 1_795_208_794,
                algorithm: Checksum::Sha256,
                checksum: vec![0xAB; 32],
            },
            ManifestFile {
                path: b"odd\xFFname".to_vec(),
                size: 0,
                modified: 0,
                algorithm: Checksum::Sha256,
                checksum: vec![1; 32],
            },
        ]
    }

    fn written(layout: Layout) -> Vec<u8> {
        let mut writer = ManifestWriter::new(Vec::new(), layout).unwrap();
        for file in files() {
            writer.file(&file).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read_back(bytes: &[u8], name: &str) -> Result<Vec<ManifestFile>, ManifestError> {
        let path = std::env::temp_dir().join(format!(".barkeep-manifest-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let result = read(&path, &mut |file| all.push(file));
        std::fs::remove_file(&path).unwrap();
        result.map(|()| all)
    }

    #[test]
    fn both_layouts_read_back() {
        let range = WalRange {
            timeline: 1,
            start: crate::postgres::lsn::Lsn(1),
            end: crate::postgres::lsn::Lsn(2),
        };
        for system_identifier in [None, Some(7)] {
            let layout = Layout::PostgreSql {
                ranges: vec![range],
                system_identifier,
            };
            assert_eq!(read_back(&written(layout), "pg").unwrap(), files());
        }
        assert_eq!(read_back(&written(Layout::Barman), "barman").unwrap(), files());
    }

    #[test]
    fn barmans_lines_are_exact() {
        let text = String::from_utf8_lossy(&written(Layout::Barman)).into_owned();
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap(),
            "{\"PostgreSQL-Backup-Manifest-Version\": 1,"
        );
        assert_eq!(lines.next().unwrap(), "\"Files\": [");
        let line = format!(
            "{{\"Checksum\": \"{}\", \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"2026-11-20 21:06:34\", \"Path\": \"PG_VERSION\", \"Size\": 3}},",
            "ab".repeat(32)
        );
        assert_eq!(lines.next().unwrap(), line);
        assert!(lines.next().unwrap().ends_with("}],"));
    }

    #[test]
    fn damage_is_noticed() {
        let mut bytes = written(Layout::Barman);
        bytes[80] ^= 1;
        assert!(matches!(
            read_back(&bytes, "damaged"),
            Err(ManifestError::Checksum { .. })
        ));
        assert!(matches!(
            read_back(b"{}\n", "none"),
            Err(ManifestError::Content { .. })
        ));
    }

    #[test]
    fn crc_is_written_in_memory_order() {
        let mut crc = Checksum::Crc32c.start();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.finish(), 0xE306_9283_u32.to_ne_bytes());
    }
}
