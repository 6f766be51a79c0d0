//! Annotations of backups: small files beside the metadata (catalog reference §10).

use std::fmt;
use std::fs;

use crate::base::durable;
use crate::base::error::{PathContext, PathError};

use super::{BackupId, Catalog, CatalogError};

/// What a kept backup is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeepTarget {
    /// To be restored to any later time: the WAL after it is kept too.
    Full,
    /// To be restored to its own end: the WAL after it is not needed.
    Standalone,
}

impl KeepTarget {
    /// The word of the command line and of the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeepTarget::Full => "full",
            KeepTarget::Standalone => "standalone",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<KeepTarget> {
        [KeepTarget::Full, KeepTarget::Standalone]
            .into_iter()
            .find(|target| target.as_str() == text)
    }
}

impl fmt::Display for KeepTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

const KEEP: &str = "keep";
pub(super) const DELETE_THIS: &str = "delete_this";

impl Catalog {
    /// What a backup is kept for; `None` when retention may remove it.
    ///
    /// # Errors
    /// The annotation cannot be read, or says something unknown: then nobody can say that the backup may go.
    pub fn keep_target(&self, id: &BackupId) -> Result<Option<KeepTarget>, CatalogError> {
        let Some(text) = self.annotation(id, KEEP)? else {
            return Ok(None);
        };
        match KeepTarget::parse(text.trim()) {
            Some(target) => Ok(Some(target)),
            None => Err(CatalogError::InvalidKeep {
                path: self.layout.annotation_path(id, KEEP),
                text,
            }),
        }
    }

    /// Keeps a backup. See [`super::keep`] for the rules about which backups can be kept.
    ///
    /// # Errors
    /// The annotation cannot be written.
    pub fn set_keep_target(&self, id: &BackupId, target: KeepTarget) -> Result<(), PathError> {
        self.annotate(id, KEEP, target.as_str())
    }

    /// Stops keeping a backup.
    ///
    /// # Errors
    /// The annotation cannot be removed.
    pub fn release_keep(&self, id: &BackupId) -> Result<(), PathError> {
        self.remove_annotation(id, KEEP)
    }

    /// Whether a deletion of the backup has begun, by either tool.
    ///
    /// # Errors
    /// The annotation cannot be read.
    pub fn is_being_deleted(&self, id: &BackupId) -> Result<bool, PathError> {
        Ok(self.annotation(id, DELETE_THIS)?.is_some())
    }

    pub(super) fn begin_deletion(&self, id: &BackupId) -> Result<(), PathError> {
        self.annotate(id, DELETE_THIS, "delete")
    }

    pub(crate) fn end_deletion(&self, id: &BackupId) -> Result<(), PathError> {
        self.remove_annotation(id, DELETE_THIS)
    }

    fn annotate(&self, id: &BackupId, key: &str, value: &str) -> Result<(), PathError> {
        durable::create_dir_all(&self.layout.meta)?;
        durable::write(&self.layout.annotation_path(id, key), value.as_bytes())
    }

    fn annotation(&self, id: &BackupId, key: &str) -> Result<Option<String>, PathError> {
        for path in [
            self.layout.annotation_path(id, key),
            self.layout.legacy_annotation_path(id, key),
        ] {
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", &path),
            }
        }
        Ok(None)
    }

    fn remove_annotation(&self, id: &BackupId, key: &str) -> Result<(), PathError> {
        let legacy = self.layout.legacy_annotation_path(id, key);
        if legacy.exists() {
            durable::remove(&legacy)?;
        }
        durable::remove(&self.layout.annotation_path(id, key))
    }
}
