//! What the catalog knows of one backup: the 35 keys of `backup.info`, typed (catalog reference §3).

use crate::base::calendar::Timestamp;
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{DEFAULT_SEGMENT_SIZE, SegmentName, Timeline};

use super::python_literal::Literal;
use super::{BackupId, BackupStatus, BackupType};

/// One backup. The fields carry the names of the keys; `None` is Barman's `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupInfo {
    /// The name of the backup; not a key, but the name of the file.
    pub id: BackupId,
    /// The text of `backup_label`.
    pub backup_label: Option<String>,
    /// The name an operator gave.
    pub backup_name: Option<String>,
    /// Byte offset of `begin_xlog` in its segment.
    pub begin_offset: Option<u64>,
    /// When the backup began, by the server's clock.
    pub begin_time: Option<Timestamp>,
    /// The segment that recovery starts from.
    pub begin_wal: Option<SegmentName>,
    /// The position that recovery starts from.
    pub begin_xlog: Option<Lsn>,
    /// Incremental backups whose parent this is.
    pub children_backup_ids: Option<Vec<BackupId>>,
    /// Sum of the sizes of all tablespaces when the backup began, in bytes.
    pub cluster_size: Option<u64>,
    /// `gzip`, `lz4`, `zstd` or `none`, for backups in tar format.
    pub compression: Option<String>,
    /// Path of `postgresql.conf` on the server.
    pub config_file: Option<String>,
    /// How long the copy took.
    pub copy_stats: Option<CopyStats>,
    /// `on` or `off`.
    pub data_checksums: Option<String>,
    /// Bytes of the files that no other backup shares.
    pub deduplicated_size: Option<u64>,
    /// `gpg`, when the backup is encrypted.
    pub encryption: Option<String>,
    /// Byte offset of `end_xlog` in its segment.
    pub end_offset: Option<u64>,
    /// When the backup ended, by the server's clock.
    pub end_time: Option<Timestamp>,
    /// The last segment needed for consistency.
    pub end_wal: Option<SegmentName>,
    /// The position at which the backup is consistent.
    pub end_xlog: Option<Lsn>,
    /// Why the backup failed, on one line.
    pub error: Option<String>,
    /// Path of `pg_hba.conf` on the server.
    pub hba_file: Option<String>,
    /// Path of `pg_ident.conf` on the server.
    pub ident_file: Option<String>,
    /// Configuration files that others include.
    pub included_files: Option<Vec<String>>,
    /// How it was taken: `rsync-concurrent`, `postgres`, `snapshot-concurrent`, `passive`, …
    pub mode: Option<String>,
    /// The backup that this incremental one builds on.
    pub parent_backup_id: Option<BackupId>,
    /// The data directory on the server.
    pub pgdata: Option<String>,
    /// The name of the server.
    pub server_name: Option<String>,
    /// Bytes of all files.
    pub size: Option<u64>,
    /// The snapshots of a snapshot backup, as Barman's dict.
    pub snapshots_info: Option<Literal>,
    /// Where the backup stands.
    pub status: BackupStatus,
    /// `on` or `off`, for PostgreSQL 17 and newer.
    pub summarize_wal: Option<String>,
    /// PostgreSQL's system identifier.
    pub systemid: Option<String>,
    /// All tablespaces but `pg_default` and `pg_global`.
    pub tablespaces: Option<Vec<Tablespace>>,
    /// The timeline on which the backup began.
    pub timeline: Option<Timeline>,
    /// `server_version_num`: 150018.
    pub version: Option<u32>,
    /// Bytes of a WAL segment.
    pub xlog_segment_size: u64,
}

/// A tablespace of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// `pg_tablespace.spcname`
    pub name: String,
    /// `pg_tablespace.oid`
    pub oid: u32,
    /// The directory on the server.
    pub location: String,
}

impl BackupInfo {
    /// A backup of which nothing is known yet.
    #[must_use]
    pub fn empty(id: BackupId) -> BackupInfo {
        BackupInfo {
            id,
            backup_label: None,
            backup_name: None,
            begin_offset: None,
            begin_time: None,
            begin_wal: None,
            begin_xlog: None,
            children_backup_ids: None,
            cluster_size: None,
            compression: None,
            config_file: None,
            copy_stats: None,
            data_checksums: None,
            deduplicated_size: None,
            encryption: None,
            end_offset: None,
            end_time: None,
            end_wal: None,
            end_xlog: None,
            error: None,
            hba_file: None,
            ident_file: None,
            included_files: None,
            mode: None,
            parent_backup_id: None,
            pgdata: None,
            server_name: None,
            size: None,
            snapshots_info: None,
            status: BackupStatus::Empty,
            summarize_wal: None,
            systemid: None,
            tablespaces: None,
            timeline: None,
            version: None,
            xlog_segment_size: DEFAULT_SEGMENT_SIZE,
        }
    }

    /// The type. A backup that says nothing about its mode is a full one (Barman crashes on it).
    #[must_use]
    pub fn backup_type(&self) -> BackupType {
        let mode = self.mode.as_deref().unwrap_or_default();
        if mode.starts_with("snapshot") {
            BackupType::Snapshot
        } else if mode.starts_with("rsync") {
            BackupType::Rsync
        } else if self.parent_backup_id.is_some() {
            BackupType::Incremental
        } else {
            BackupType::Full
        }
    }

    /// Whether the backup builds on another one.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        self.parent_backup_id.is_some()
    }

    /// Whether PostgreSQL's `backup_stop` gave it a label (every mode but the exclusive ones).
    #[must_use]
    pub fn is_concurrent(&self) -> bool {
        !self.mode.as_deref().unwrap_or_default().ends_with("exclusive")
    }

    /// The segments needed for consistency, both ends included. Empty when they are not known.
    pub fn required_segments(&self) -> impl Iterator<Item = SegmentName> + use<> {
        let size = self.xlog_segment_size;
        let range = self.begin_wal.zip(self.end_wal);
        range
            .into_iter()
            .flat_map(move |(first, last)| first.through(last, size))
    }
}

/// How long a copy took, as Barman's dict: keys in the order they were written, values in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyStats(Literal);

/// The times of a copy over ssh, by item (`pgdata`, `pg_control`, names of tablespaces, `config_file`, …).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemTimes {
    /// From the first action to the last.
    pub total: f64,
    /// Workers that copied at the same time.
    pub workers: u64,
    /// Seconds spent in comparing, by item.
    pub analysis: Vec<(String, f64)>,
    /// Seconds from the first to the last byte of each item.
    pub copy: Vec<(String, f64)>,
    /// The sum of the seconds of all workers, by item.
    pub serialized_copy: Vec<(String, f64)>,
    /// Seconds during which any item was compared.
    pub analysis_time: f64,
    /// Seconds during which any item was copied.
    pub copy_time: f64,
    /// The sum of the seconds of all workers.
    pub serialized_copy_time: f64,
}

impl CopyStats {
    /// The statistics of a copy over ssh.
    #[must_use]
    pub fn of_items(times: &ItemTimes) -> CopyStats {
        let by_item = |items: &[(String, f64)]| {
            Literal::Dict(
                items
                    .iter()
                    .map(|(name, seconds)| (Literal::str(name), seconds_of(*seconds)))
                    .collect(),
            )
        };
        CopyStats(Literal::Dict(vec![
            (Literal::str("total_time"), seconds_of(times.total)),
            (
                Literal::str("number_of_workers"),
                Literal::Int(times.workers.into()),
            ),
            (Literal::str("analysis_time_per_item"), by_item(&times.analysis)),
            (Literal::str("copy_time_per_item"), by_item(&times.copy)),
            (
                Literal::str("serialized_copy_time_per_item"),
                by_item(&times.serialized_copy),
            ),
            (Literal::str("analysis_time"), seconds_of(times.analysis_time)),
            (Literal::str("copy_time"), seconds_of(times.copy_time)),
            (
                Literal::str("serialized_copy_time"),
                seconds_of(times.serialized_copy_time),
            ),
        ]))
    }

    /// The statistics of `pg_basebackup` or of snapshots.
    #[must_use]
    pub fn of_whole(copy_time: f64, total_time: f64) -> CopyStats {
        CopyStats(Literal::Dict(vec![
            (Literal::str("copy_time"), seconds_of(copy_time)),
            (Literal::str("total_time"), seconds_of(total_time)),
        ]))
    }

    pub(super) fn from_literal(literal: Literal) -> Option<CopyStats> {
        matches!(literal, Literal::Dict(_)).then_some(CopyStats(literal))
    }

    /// Barman's dict.
    #[must_use]
    pub fn literal(&self) -> &Literal {
        &self.0
    }

    /// Seconds of copying.
    #[must_use]
    pub fn copy_time(&self) -> Option<f64> {
        self.number("copy_time")
    }

    /// Seconds of comparing.
    #[must_use]
    pub fn analysis_time(&self) -> Option<f64> {
        self.number("analysis_time")
    }

    /// Seconds from the first action to the last.
    #[must_use]
    pub fn total_time(&self) -> Option<f64> {
        self.number("total_time")
    }

    /// Workers that copied at the same time; 1 when it is not said.
    #[must_use]
    pub fn number_of_workers(&self) -> u64 {
        match self.0.get("number_of_workers") {
            Some(Literal::Int(number)) => u64::try_from(*number).unwrap_or(1),
            _ => 1,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key).and_then(Literal::as_f64)
    }
}

/// Python's timedeltas count microseconds.
fn seconds_of(seconds: f64) -> Literal {
    Literal::Float((seconds * 1e6).round() / 1e6)
}
