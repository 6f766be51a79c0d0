//! Failed backups that a run goes on from.

use crate::base::lock::LockFile;
use crate::catalog::BackupInfo;

/// Failed backups that the one being taken goes on from, held against deletion.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The newest first.
    pub(super) backups: Vec<(BackupInfo, LockFile)>,
}
