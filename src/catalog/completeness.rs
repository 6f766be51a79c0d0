//! Whether all WAL that a backup needs has arrived (behaviour reference; `check-backup`).

use std::collections::BTreeSet;

use crate::base::directory;
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
    /// Why it is `FAILED` now.
    pub error: Option<String>,
}

impl CheckedBackup {
    /// What to tell the operator about a backup that turned out to have failed. The words are Barman's.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let reason = self.error.as_deref()?;
        Some(format!(
            "This backup has been marked as FAILED due to the following reason: {reason}"
        ))
    }
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
            BackupStatus::WaitingForWals | BackupStatus::Done => {
                let mut judged = info.clone();
                self.judge(&mut judged)?;
                if judged.status == BackupStatus::Failed {
                    judged = self.judge_undisturbed(info)?;
                }
                info = judged;
            }
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
            error: info.error.filter(|_| info.status == BackupStatus::Failed),
        })
    }

    /// A segment can be missing for a moment only, while it is being archived together with later ones. Failure is for
    /// good, so that a second look is taken while nobody archives; what has not been archived yet is not missing.
    fn judge_undisturbed(&self, mut info: BackupInfo) -> Result<BackupInfo, CatalogError> {
        let waiting = BackupInfo {
            status: BackupStatus::WaitingForWals,
            ..info.clone()
        };
        let _lock = match self.locks().archive_wal() {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Ok(waiting),
            Err(error) => return Err(error.into()),
        };
        self.judge(&mut info)?;
        let arrived = |segment: SegmentName| {
            let name = segment.to_string();
            let layout = self.layout();
            [&layout.incoming, &layout.streaming]
                .iter()
                .any(|directory| directory.join(&name).is_file())
        };
        let on_its_way = info
            .required_segments()
            .find(|segment| !self.has_segment(*segment));
        if info.status == BackupStatus::Failed && on_its_way.is_some_and(arrived) {
            return Ok(waiting);
        }
        Ok(info)
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
        let directories: BTreeSet<String> = directory::names(&self.layout().wals)?
            .into_iter()
            // A history (`00000003.history`) is as long.
            .filter(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .filter(|name| name.starts_with(&prefix))
            .collect();
        for directory in directories.iter().rev() {
            let newest = directory::names(&self.layout().wals.join(directory))?
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;
    use crate::catalog::Layout;
    use crate::codec::{CustomMagic, Detector};

    struct Sandbox {
        home: PathBuf,
        catalog: Catalog,
    }

    impl Sandbox {
        fn new(name: &str) -> Sandbox {
            let home =
                std::env::temp_dir().join(format!("barkeep-completeness-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&home).unwrap();
            let catalog = Catalog::at(Layout::under(&home, "main"), Detector::new(CustomMagic::Unused));
            catalog.create_directories().unwrap();
            Sandbox { home, catalog }
        }

        fn archive(&self, segment: &str) {
            let path = self.catalog.layout().wal_path(segment).unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }

        /// A backup that needs segments 3 to 5 of timeline 1.
        fn backup(&self) -> BackupId {
            let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
            info.begin_wal = SegmentName::parse("000000010000000000000003");
            info.end_wal = SegmentName::parse("000000010000000000000005");
            info.status = BackupStatus::WaitingForWals;
            self.catalog.save(&info).unwrap();
            info.id
        }

        fn check(&self, id: &BackupId) -> BackupStatus {
            self.catalog.check_backup(id).unwrap().after
        }
    }

    impl Drop for Sandbox {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }

    #[test]
    fn what_is_being_archived_is_not_missing() {
        let sandbox = Sandbox::new("archiving");
        let id = sandbox.backup();
        sandbox.archive("000000010000000000000004");
        let archiving = sandbox.catalog.locks().archive_wal().unwrap();
        assert_eq!(sandbox.check(&id), BackupStatus::WaitingForWals);
        drop(archiving);
        let arrived = sandbox.catalog.layout().incoming.join("000000010000000000000003");
        std::fs::write(&arrived, b"").unwrap();
        assert_eq!(sandbox.check(&id), BackupStatus::WaitingForWals);
        std::fs::remove_file(arrived).unwrap();
        let checked = sandbox.catalog.check_backup(&id).unwrap();
        assert_eq!(checked.after, BackupStatus::Failed);
        assert!(
            checked
                .failure()
                .unwrap()
                .ends_with("The first missing WAL file is 000000010000000000000003")
        );
    }

    #[test]
    fn another_timeline_says_nothing() {
        let sandbox = Sandbox::new("timeline");
        let id = sandbox.backup();
        for segment in ["3", "4", "5"] {
            sandbox.archive(&format!("00000001000000000000000{segment}"));
        }
        assert_eq!(sandbox.check(&id), BackupStatus::Done);
        std::fs::remove_dir_all(sandbox.catalog.layout().wals.join("0000000100000000")).unwrap();
        sandbox.archive("000000020000000000000009");
        assert_eq!(sandbox.check(&id), BackupStatus::WaitingForWals);
    }

    #[test]
    fn a_history_is_no_directory_of_segments() {
        let sandbox = Sandbox::new("history");
        let id = sandbox.backup();
        sandbox.archive("00000001.history");
        assert_eq!(sandbox.check(&id), BackupStatus::WaitingForWals);
    }
}
