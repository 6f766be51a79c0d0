//! What a restore needs to know about the backup it restores.

use std::path::PathBuf;

use crate::base::calendar::Timestamp;
use crate::base::error::{PathContext, PathError};
use crate::catalog::BackupId;
use crate::postgres::label;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{SegmentName, Timeline};

/// A backup that can be restored: `backup.info` with every needed field present.
#[derive(Debug, Clone)]
pub struct BackupSource {
    /// Its id.
    pub id: String,
    /// `server_version_num` of the cluster.
    pub version: u32,
    /// The timeline it was taken on.
    pub timeline: Timeline,
    /// The first segment it needs.
    pub begin_wal: SegmentName,
    /// The last segment it needs.
    pub end_wal: SegmentName,
    /// Where it began.
    pub begin_lsn: Lsn,
    /// Where it ended.
    pub end_lsn: Lsn,
    /// When it began, on the server's clock.
    pub begin_time: Option<Timestamp>,
    /// When it ended, on the server's clock.
    pub end_time: Option<Timestamp>,
    /// Bytes of a WAL segment.
    pub segment_size: u64,
    /// The cluster's system identifier.
    pub system_identifier: Option<u64>,
    /// Its tablespaces.
    pub tablespaces: Vec<SourceTablespace>,
    /// The directory of the backup's PGDATA.
    pub data_directory: PathBuf,
    /// The backups that it builds on, and their directories, the newest first. Empty unless it is incremental.
    pub older: Vec<Member>,
    /// The text of its `backup.info`.
    pub info: Vec<u8>,
    /// Whether some of them, or it, are in tar files.
    pub packed: bool,
    /// Those of them, and it, that are encrypted: their ids.
    pub encrypted: Vec<String>,
    /// Whether Barman has not yet seen all the WAL it needs.
    pub waiting_for_wals: bool,
    /// Whether it is kept as standalone: WAL after its end may be gone on purpose.
    pub standalone: bool,
}

/// A backup that an incremental one builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: BackupId,
    /// The directory of its PGDATA.
    pub data_directory: PathBuf,
    /// The directory that holds those of its tablespaces, by oid.
    pub base: PathBuf,
}

/// A tablespace of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTablespace {
    /// Its name.
    pub name: String,
    /// Its oid, the name of its directory in the backup.
    pub oid: u32,
    /// Where it was on the server.
    pub location: PathBuf,
    /// Where it is in the backup.
    pub directory: PathBuf,
}

impl BackupSource {
    /// Whether it builds on other backups.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        !self.older.is_empty()
    }

    /// The text of the label that the restored cluster starts with, where it has to differ from the file of the backup:
    /// PostgreSQL does not start with the label of an incremental backup.
    ///
    /// Of a backup in tar files it is only known when it has been unpacked.
    ///
    /// # Errors
    /// The backup has no label, or it cannot be read.
    pub fn own_label(&self) -> Result<Option<Vec<u8>>, PathError> {
        if self.packed || !self.is_incremental() {
            return Ok(None);
        }
        let path = self.data_directory.join("backup_label");
        let text = std::fs::read(&path).at("read", &path)?;
        Ok(Some(label::as_full(&text)))
    }

    /// The directory of the WAL within a data directory of this version.
    #[must_use]
    pub fn wal_directory_name(&self) -> &'static str {
        if self.version >= 100_000 {
            "pg_wal"
        } else {
            "pg_xlog"
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::calendar;

    /// The backup of a test.
    pub(in crate::recovery) fn backup() -> BackupSource {
        BackupSource {
            id: "20261121T015300".to_owned(),
            version: 150_018,
            timeline: 1,
            begin_wal: SegmentName::parse("00000001000000000000000F").unwrap(),
            end_wal: SegmentName::parse("00000001000000000000000F").unwrap(),
            begin_lsn: "0/F00028".parse().unwrap(),
            end_lsn: "0/F00138".parse().unwrap(),
            begin_time: calendar::parse("2026-11-21 01:53:00.864338+00:00"),
            end_time: calendar::parse("2026-11-21 01:53:01.511239+00:00"),
            segment_size: 1024 * 1024,
            system_identifier: None,
            tablespaces: vec![SourceTablespace {
                name: "ts1".to_owned(),
                oid: 16384,
                location: PathBuf::from("/srv/ts1"),
                directory: PathBuf::from("/b/16384"),
            }],
            data_directory: PathBuf::from("/b/data"),
            older: Vec::new(),
            info: Vec::new(),
            packed: false,
            encrypted: Vec::new(),
            waiting_for_wals: false,
            standalone: false,
        }
    }
}
