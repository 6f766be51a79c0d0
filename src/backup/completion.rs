//! `check-backup`: whether all WAL that a backup needs has arrived (catalog reference §4).

use std::path::Path;

use crate::base::error::{PathContext, PathError};
use crate::base::lock::LockError;
use crate::base::report::Reporter;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog, CatalogError};
use crate::postgres::wal_name::{SegmentName, Timeline};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// Everything has arrived: the backup is `DONE`.
    Complete,
    /// Something may still arrive: the backup is `WAITING_FOR_WALS`.
    Waiting,
    /// This segment is missing although later ones have arrived: the backup is `FAILED`. Reported as an error.
    Missing(SegmentName),
    /// The backup had failed before. Reported as an error.
    Failed,
    /// The copy of the backup has not ended, so that nobody can tell.
    NotCopied,
}

/// Why a backup could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CompletionError {
    /// There is no such backup.
    #[error("Unknown backup '{id}' for server '{server}'")]
    Unknown {
        /// The id.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Another process works on the backup.
    #[error("Another action is in progress for the backup {id} of server {server}.")]
    Busy {
        /// The id.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Checks a backup and saves what was found.
///
/// # Errors
/// The backup cannot be read, or somebody else works on it.
pub fn check_backup(
    catalog: &Catalog,
    id: &BackupId,
    reporter: &dyn Reporter,
) -> Result<Completion, CompletionError> {
    let server = catalog.server();
    let _lock = catalog.locks().backup_id(id).map_err(|error| match error {
        LockError::Busy { .. } => CompletionError::Busy {
            id: id.clone(),
            server: server.to_owned(),
        },
        other => CatalogError::from(other).into(),
    })?;
    let mut info = catalog.load(id)?.ok_or_else(|| CompletionError::Unknown {
        id: id.clone(),
        server: server.to_owned(),
    })?;
    let mut found = examine(catalog, &info)?;
    if let Completion::Missing(_) = found {
        found = examine_again(catalog, &info)?;
    }
    match &found {
        Completion::Failed => reporter.error("The validity of a failed backup cannot be checked"),
        Completion::NotCopied => {}
        Completion::Complete => set_status(catalog, &mut info, BackupStatus::Done)?,
        Completion::Waiting => set_status(catalog, &mut info, BackupStatus::WaitingForWals)?,
        Completion::Missing(segment) => {
            let reason = format!("At least one WAL file is missing. The first missing WAL file is {segment}");
            reporter.error(&format!(
                "This backup has been marked as FAILED due to the following reason: {reason}"
            ));
            info.error = Some(reason);
            set_status(catalog, &mut info, BackupStatus::Failed)?;
        }
    }
    Ok(found)
}

fn examine(catalog: &Catalog, info: &BackupInfo) -> Result<Completion, CatalogError> {
    if info.status == BackupStatus::Failed {
        return Ok(Completion::Failed);
    }
    let (Some(begin), Some(end), true) = (info.begin_wal, info.end_wal, info.status.copy_done()) else {
        return Ok(Completion::NotCopied);
    };
    let wals = &catalog.layout().wals;
    let newest = match newest_segment(wals, begin.timeline)? {
        Some(newest) if newest >= begin => newest,
        _ => return Ok(Completion::Waiting),
    };
    for segment in info.required_segments().take_while(|segment| *segment <= newest) {
        let path = catalog.layout().wal_path(&segment.to_string());
        if !path.is_some_and(|path| path.is_file()) {
            return Ok(Completion::Missing(segment));
        }
    }
    Ok(if end <= newest {
        Completion::Complete
    } else {
        Completion::Waiting
    })
}

/// A segment can be missing for the moment only, while it is being archived together with later ones. Failure is for
/// good, so that a second look is taken while nobody archives.
fn examine_again(catalog: &Catalog, info: &BackupInfo) -> Result<Completion, CatalogError> {
    let _lock = match catalog.locks().archive_wal() {
        Ok(lock) => lock,
        Err(LockError::Busy { .. }) => return Ok(Completion::Waiting),
        Err(error) => return Err(error.into()),
    };
    let found = examine(catalog, info)?;
    let layout = catalog.layout();
    match &found {
        Completion::Missing(segment)
            if [&layout.incoming, &layout.streaming]
                .iter()
                .any(|directory| directory.join(segment.to_string()).is_file()) =>
        {
            Ok(Completion::Waiting)
        }
        _ => Ok(found),
    }
}

fn set_status(catalog: &Catalog, info: &mut BackupInfo, status: BackupStatus) -> Result<(), CatalogError> {
    if info.status != status {
        info.status = status;
        catalog.save(info)?;
    }
    Ok(())
}

/// The newest segment of a timeline in the archive, found by the names of its directories: the WAL database may have a
/// million lines.
fn newest_segment(wals: &Path, timeline: Timeline) -> Result<Option<SegmentName>, PathError> {
    let prefix = format!("{timeline:08X}");
    let mut directories: Vec<String> = names(wals)?
        .into_iter()
        .filter(|name| name.len() == 16 && name.to_ascii_uppercase().starts_with(&prefix))
        .collect();
    directories.sort();
    for directory in directories.iter().rev() {
        let segments = names(&wals.join(directory))?;
        let newest = segments.iter().filter_map(|name| SegmentName::parse(name)).max();
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}

fn names(directory: &Path) -> Result<Vec<String>, PathError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new("read directory", directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.at("read directory", directory)?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::report::Quiet;
    use crate::catalog::Layout;
    use crate::codec::{CustomMagic, Detector};

    struct Sandbox {
        home: std::path::PathBuf,
        catalog: Catalog,
    }

    impl Sandbox {
        fn new(name: &str) -> Sandbox {
            let home = std::env::temp_dir().join(format!("barkeep-completion-{name}-{}", std::process::id()));
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
        fn backup(&self, status: BackupStatus) -> BackupId {
            let mut info = BackupInfo::empty(BackupId::parse("20260101T000000").unwrap());
            info.begin_wal = SegmentName::parse("000000010000000000000003");
            info.end_wal = SegmentName::parse("000000010000000000000005");
            info.status = status;
            self.catalog.save(&info).unwrap();
            info.id
        }

        fn check(&self, id: &BackupId) -> (Completion, BackupInfo) {
            let found = check_backup(&self.catalog, id, &Quiet).unwrap();
            (found, self.catalog.load(id).unwrap().unwrap())
        }
    }

    impl Drop for Sandbox {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }

    #[test]
    fn waits_until_the_last_segment_is_there() {
        let sandbox = Sandbox::new("waits");
        let id = sandbox.backup(BackupStatus::WaitingForWals);
        for segment in [
            "000000010000000000000002",
            "000000010000000000000003",
            "000000010000000000000004",
        ] {
            sandbox.archive(segment);
            assert_eq!(sandbox.check(&id).0, Completion::Waiting, "{segment}");
        }
        sandbox.archive("000000010000000000000005");
        let (found, info) = sandbox.check(&id);
        assert_eq!((found, info.status), (Completion::Complete, BackupStatus::Done));
        // Another timeline says nothing about this one.
        std::fs::remove_dir_all(sandbox.catalog.layout().wals.join("0000000100000000")).unwrap();
        sandbox.archive("000000020000000000000009");
        assert_eq!(sandbox.check(&id).1.status, BackupStatus::WaitingForWals);
    }

    #[test]
    fn a_hole_is_a_failure_for_good() {
        let sandbox = Sandbox::new("hole");
        let id = sandbox.backup(BackupStatus::Done);
        sandbox.archive("000000010000000000000003");
        sandbox.archive("000000010000000100000000");
        let (found, info) = sandbox.check(&id);
        assert!(matches!(found, Completion::Missing(segment) if segment.segment == 4));
        assert_eq!(info.status, BackupStatus::Failed);
        assert_eq!(
            info.error.as_deref(),
            Some("At least one WAL file is missing. The first missing WAL file is 000000010000000000000004")
        );
        assert_eq!(sandbox.check(&id).0, Completion::Failed);
    }

    #[test]
    fn what_is_being_archived_is_not_missing() {
        let sandbox = Sandbox::new("archiving");
        let id = sandbox.backup(BackupStatus::WaitingForWals);
        sandbox.archive("000000010000000000000004");
        let archiving = sandbox.catalog.locks().archive_wal().unwrap();
        assert_eq!(sandbox.check(&id).0, Completion::Waiting);
        drop(archiving);
        let arrived = sandbox.catalog.layout().incoming.join("000000010000000000000003");
        std::fs::write(&arrived, b"").unwrap();
        assert_eq!(sandbox.check(&id).0, Completion::Waiting);
        std::fs::remove_file(arrived).unwrap();
        assert!(matches!(sandbox.check(&id).0, Completion::Missing(_)));
    }

    #[test]
    fn a_running_backup_is_left_alone() {
        let sandbox = Sandbox::new("running");
        let id = sandbox.backup(BackupStatus::Started);
        sandbox.archive("000000010000000000000005");
        let (found, info) = sandbox.check(&id);
        assert_eq!(
            (found, info.status),
            (Completion::NotCopied, BackupStatus::Started)
        );
    }
}
