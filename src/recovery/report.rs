//! What a restore did, for the output layer to render (commands reference §6.28).

use std::path::PathBuf;

use crate::base::calendar::Timestamp;

use super::settings::{Change, Warning};

/// A completed restore.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The server.
    pub server: String,
    /// The backup that was restored.
    pub backup: String,
    /// The destination directory, absolute.
    pub destination: PathBuf,
    /// Settings that were switched off.
    pub changes: Vec<Change>,
    /// Settings to review.
    pub warnings: Vec<Warning>,
    /// Configuration files that the backup does not have.
    pub missing_files: Vec<String>,
    /// The name of the file with the recovery configuration when the restored server fetches its WAL itself
    /// (`get-wal`): the operator is asked to review it.
    pub get_wal_file: Option<String>,
    /// When it began.
    pub start: Timestamp,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// Whether the restored cluster has, or can fetch, all the WAL it needs to become consistent. Without it nothing
    /// may be called prepared.
    pub complete: bool,
    /// WAL files that were delivered.
    pub wal_files: u64,
    /// Bytes of the base backup.
    pub copied_bytes: u64,
    /// Restored files that are not what they were when the backup was taken: the backup is damaged.
    pub damaged_files: Vec<PathBuf>,
}
