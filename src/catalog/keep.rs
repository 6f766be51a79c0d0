//! Keeping backups whatever the retention policy says (`barman keep`).

use super::{BackupId, BackupStatus, Catalog, CatalogError, KeepTarget};

/// Why a backup cannot be kept. The words are Barman's.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It is not complete.
    #[error(
        "Cannot add keep to backup {id} because it has status {status}. Only backups with status DONE can be kept."
    )]
    NotDone {
        /// The backup.
        id: BackupId,
        /// Its status.
        status: BackupStatus,
    },
    /// It is not a full backup.
    #[error(
        "Unable to execute the keep command on backup {0}: is an incremental backup.\nOnly full backups are eligible for \
         the use of the keep command."
    )]
    Incremental(BackupId),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Catalog {
    /// Keeps a backup until it is released.
    ///
    /// # Errors
    /// The backup is not a complete full backup.
    pub fn keep(&self, id: &BackupId, target: KeepTarget) -> Result<(), KeepError> {
        if let Some(status) = self.load(id)?.map(|info| info.status)
            && status != BackupStatus::Done
        {
            return Err(KeepError::NotDone {
                id: id.clone(),
                status,
            });
        }
        self.keepable(id)?;
        self.set_keep_target(id, target).map_err(CatalogError::from)?;
        Ok(())
    }

    /// Leaves a backup to the retention policy again. An incremental one is never kept; releasing it is no mistake.
    ///
    /// # Errors
    /// The annotation cannot be removed.
    pub fn release(&self, id: &BackupId) -> Result<(), KeepError> {
        self.release_keep(id).map_err(CatalogError::from)?;
        Ok(())
    }

    /// What a backup is kept for.
    ///
    /// # Errors
    /// The annotation cannot be read.
    pub fn keep_status(&self, id: &BackupId) -> Result<Option<KeepTarget>, KeepError> {
        Ok(self.keep_target(id)?)
    }

    fn keepable(&self, id: &BackupId) -> Result<(), KeepError> {
        match self.load(id)? {
            Some(info) if info.is_incremental() => Err(KeepError::Incremental(id.clone())),
            _ => Ok(()),
        }
    }
}
