//! Whether all WAL that a backup needs has arrived (behaviour reference; `check-backup`).

use std::collections::BTreeSet;

use crate::base::lock::LockError;
use crate::postgres::wal_name::{SegmentName, Timeline};

use super::{BackupId, BackupInfo, BackupStatus, Catalog, CatalogError};

/// Why a backup was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckBackupError {
    /// It has failed, which no WAL can mend. The words are Barman's.
    #[error("The validity of a failed backup cannot be checked")]
    Failed,
    /// It has not begun.
    #[error("Backup {0} has not begun: there is nothing to check")]
    Empty(BackupId),
    /// It is gone.
    #[error("Backup {0} does not exist")]
    Gone(BackupId),
    /// Somebody else works on it. The words are Barman's; not an error for the exit code.
    #[error("Another process is holding the lock for backup {id} of server {server}.")]
    Busy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<crate::base::error::PathError> for CheckBackupError {
    fn from(error: crate::base::error::PathError) -> Self {
        CheckBackupError::Catalog(error.into())
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBackup {
    /// The status before.
    pub before: BackupStatus,
    /// The status now.
    pub after: BackupStatus,
}

impl Catalog {
    /// Sets the status of a copied backup by the WAL in the archive: `DONE` when all it needs is there,
    /// `WAITING_FOR_WALS` as long as the last of it may still come, `FAILED` when one is missing and later ones are there.
    ///
    /// # Errors
    /// The backup cannot be checked, or is being used.
    pub fn check_backup(&self, id: &BackupId) -> Result<CheckedBackup, CheckBackupError> {
        let _lock = self.locks().backup_id(id).map_err(|error| match error {
            LockError::Busy { .. } => CheckBackupError::Busy {
                id: id.clone(),
                server: self.server().to_owned(),
            },
            other => CheckBackupError::Catalog(other.into()),
        })?;
        let mut info = self.load(id)?.ok_or_else(|| CheckBackupError::Gone(id.clone()))?;
        let before = info.status;
        match before {
            BackupStatus::Failed => return Err(CheckBackupError::Failed),
            BackupStatus::Empty => return Err(CheckBackupError::Empty(id.clone())),
            BackupStatus::Started | BackupStatus::Syncing => {}
            BackupStatus::WaitingForWals | BackupStatus::Done => self.judge(&mut info)?,
        }
        if info.status != before {
            self.save(&info)?;
        }
        log::debug!(
            "Check finished: the status of backup {id} of server {} {} {} to {}",
            self.server(),
            if info.status == before {
                "remains from"
            } else {
                "changed from"
            },
            before,
            info.status
        );
        Ok(CheckedBackup {
            before,
            after: info.status,
        })
    }

    fn judge(&self, info: &mut BackupInfo) -> Result<(), CatalogError> {
        let (begin, end) = info
            .begin_wal
            .zip(info.end_wal)
            .ok_or_else(|| CatalogError::Incomplete {
                id: info.id.clone(),
                key: "begin_wal or end_wal",
            })?;
        let newest = self
            .newest_segment(begin.timeline)?
            .filter(|newest| *newest >= begin);
        let Some(newest) = newest else {
            info.status = BackupStatus::WaitingForWals;
            return Ok(());
        };
        let missing = begin
            .through(end.min(newest), info.xlog_segment_size)
            .find(|segment| !self.has_segment(*segment));
        if let Some(missing) = missing {
            info.status = BackupStatus::Failed;
            info.error = Some(format!(
                "At least one WAL file is missing. The first missing WAL file is {missing}"
            ));
        } else if end <= newest {
            info.status = BackupStatus::Done;
        } else {
            info.status = BackupStatus::WaitingForWals;
        }
        Ok(())
    }

    fn has_segment(&self, segment: SegmentName) -> bool {
        self.layout()
            .wal_path(&segment.to_string())
            .is_some_and(|path| path.is_file())
    }

    /// The newest segment of a timeline in the archive.
    ///
    /// # Errors
    /// A directory of the archive cannot be read.
    pub fn newest_segment(&self, timeline: Timeline) -> Result<Option<SegmentName>, CatalogError> {
        let prefix = format!("{timeline:08X}");
        let directories: BTreeSet<String> = super::names_in(&self.layout().wals)?
            .into_iter()
            .filter(|name| name.len() == 16 && name.starts_with(&prefix))
            .collect();
        for directory in directories.iter().rev() {
            let newest = super::names_in(&self.layout().wals.join(directory))?
                .iter()
                .filter_map(|name| SegmentName::parse(name))
                .max();
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}
