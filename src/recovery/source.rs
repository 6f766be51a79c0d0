//! What a restore needs to know about the backup it restores.

use std::path::PathBuf;

use crate::base::calendar::Timestamp;
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
    /// The text of its `backup.info`.
    pub info: Vec<u8>,
    /// Whether Barman has not yet seen all the WAL it needs.
    pub waiting_for_wals: bool,
    /// Whether it is kept as standalone: WAL after its end may be gone on purpose.
    pub standalone: bool,
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
            info: Vec::new(),
            waiting_for_wals: false,
            standalone: false,
        }
    }
}
