//! Removing WAL files from the archive: with a backup, or before the first backup.
//!
//! Files go first, durably, then their entries: after a crash in between the entries name files that are gone, and the
//! next removal drops them. The other way round files would stay that nothing knows of. A directory is removed when it is
//! empty, and only then: Barman removes a whole directory with whatever else is in it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::error::{PathError, python_text, strerror};
use crate::base::float::float_repr;
use crate::base::report::Reporter;
use crate::hooks::{HookError, HookEvent, HookRunner, HookSubject, WalVariables};
use crate::postgres::wal_name::{SegmentName, WalKind};

use super::wal_entry::WalEntry;
use super::{Catalog, CatalogError};

/// Why WAL files could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum WalRemovalError {
    /// A hook script forbade it. `removed` files had gone by then.
    #[error("{source}")]
    Hook {
        /// How many files had been removed.
        removed: usize,
        /// What the script said.
        source: HookError,
    },
    /// The archive or its database could not be changed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<PathError> for WalRemovalError {
    fn from(error: PathError) -> Self {
        WalRemovalError::Catalog(error.into())
    }
}

impl Catalog {
    /// Removes WAL files and their entries. `announce` is called for each file that is gone.
    ///
    /// # Errors
    /// A hook forbade a removal, or the archive cannot be changed. What is gone by then has no entry any more.
    pub fn remove_wal(
        &self,
        entries: &[WalEntry],
        hooks: &HookRunner,
        reporter: &dyn Reporter,
        announce: impl Fn(&WalEntry),
    ) -> Result<(), WalRemovalError> {
        let mut gone = HashSet::new();
        let mut directories = BTreeSet::new();
        let mut missing = Vec::new();
        let mut stopped = None;
        for entry in entries {
            let Some(path) = self.layout.wal_path(&entry.name) else {
                continue;
            };
            let subject = HookSubject::Wal(self.wal_variables(entry, &path));
            if let Err(source) = hooks.before(HookEvent::WalDelete, &subject) {
                stopped = Some(WalRemovalError::Hook {
                    removed: gone.len(),
                    source,
                });
                break;
            }
            let failure = match fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.push((path.clone(), error));
                    None
                }
                outcome => outcome.err().map(|error| self.ignored(&path, &error, reporter)),
            };
            hooks.after(HookEvent::WalDelete, &subject, failure.as_deref());
            if failure.is_none() {
                announce(entry);
                gone.insert(entry.name.as_str());
                directories.extend(path.parent().map(PathBuf::from));
            }
        }
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            durable::sync_dir(directory)?;
        }
        if !gone.is_empty() {
            self.xlogdb().remove_entries(|line| gone.contains(line.name))?;
        }
        self.remove_empty(&directories);
        // As Barman: nothing is said where the directory went as a whole.
        for (path, error) in missing {
            if path.parent().is_some_and(Path::is_dir) {
                self.ignored(&path, &error, reporter);
            }
        }
        stopped.map_or(Ok(()), Err)
    }

    /// The WAL files older than `begin`, all timelines, without histories: what the first backup of a server makes
    /// useless (behaviour reference §43).
    ///
    /// # Errors
    /// The WAL database cannot be read.
    pub fn wal_before(&self, begin: SegmentName) -> Result<Vec<WalEntry>, CatalogError> {
        let mut entries = Vec::new();
        self.xlogdb().scan(|line| {
            let old = match WalKind::of(line.name) {
                None | Some(WalKind::History(_)) => false,
                Some(WalKind::Segment(name) | WalKind::BackupLabel(name) | WalKind::Partial(name)) => {
                    name < begin
                }
            };
            if old {
                entries.extend(line.to_entry());
            }
            Ok::<_, CatalogError>(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    /// Tells that a file was not removed, as Python words it, and returns the reason. The entry stays, so that a later removal
    /// tries again, unless the file was gone already.
    fn ignored(&self, path: &Path, error: &std::io::Error, reporter: &dyn Reporter) -> String {
        reporter.warning(&format!(
            "Ignoring deletion of WAL file {} for server {}: {}",
            path.file_name().unwrap_or_default().display(),
            self.server(),
            python_text(error, path)
        ));
        strerror(error)
    }

    fn remove_empty(&self, directories: &BTreeSet<PathBuf>) {
        for directory in directories
            .iter()
            .filter(|directory| **directory != self.layout.wals)
        {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                // Not empty, or gone.
                Err(error) => log::debug!("keeping \"{}\": {}", directory.display(), strerror(&error)),
            }
        }
        if let Err(error) = durable::sync_dir(&self.layout.wals) {
            log::warn!("{error}");
        }
    }

    fn wal_variables(&self, entry: &WalEntry, path: &Path) -> WalVariables {
        WalVariables {
            segment: entry.name.clone(),
            file: path.to_path_buf(),
            size: entry.size,
            timestamp: float_repr(entry.time),
            compression: entry.compression.clone(),
        }
    }
}
