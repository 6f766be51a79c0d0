//! Making the WAL database anew from the files of the archive.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::codec::Detector;
use crate::postgres::wal_name::{self, WalKind};

use super::super::CatalogError;
use super::super::wal_entry::{WalEntry, modification_time};
use super::{XlogDb, scan};

/// What a rebuild found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Timeline histories.
    pub histories: u64,
    /// Backup labels.
    pub backup_labels: u64,
    /// Segments.
    pub segments: u64,
    /// Partial segments, which Barman leaves out.
    pub partials: u64,
}

impl XlogDb {
    /// [`XlogDb::rebuild`], with the lock held.
    pub(super) fn rebuild_locked(&self) -> Result<Rebuilt, CatalogError> {
        let path = self.path();
        durable::create_dir_all(&self.layout.xlogdb_directory)?;
        durable::create_dir_all(&self.layout.wals)?;
        let known = self.recorded_customs(&path)?;
        let mut rebuilt = Rebuilt::default();
        self.replace(&path, |writer, temporary| {
            self.each_file(|file, name, kind| {
                let mut entry = entry_of(file, name, &self.detector)?;
                if entry.compression.is_none() && entry.encryption.is_none() {
                    entry.compression = known.get(name).cloned();
                }
                rebuilt.count(kind);
                writer
                    .write_all(entry.to_line().as_bytes())
                    .at("write", temporary)?;
                Ok(())
            })
        })?;
        self.drop_legacy(&path)?;
        Ok(rebuilt)
    }

    /// Compressions that a file's first bytes may not tell, from the database to be replaced or, when there is none,
    /// from the one of an old Barman.
    fn recorded_customs(&self, path: &Path) -> Result<HashMap<String, String>, CatalogError> {
        let mut known = HashMap::new();
        let legacy = self.layout.legacy_xlogdb_path();
        let source = if path.exists() { path } else { legacy.as_path() };
        if !source.is_file() {
            return Ok(known);
        }
        let read = scan::lines(source, |line| {
            if line.compression() == Some("custom") {
                known.insert(line.name.to_owned(), "custom".to_owned());
            }
            Ok::<_, CatalogError>(ControlFlow::Continue(()))
        });
        match read {
            // The database is being rebuilt because it is damaged.
            Err(error @ CatalogError::InvalidWalEntry { .. }) => log::warn!("{error}"),
            other => other?,
        }
        Ok(known)
    }

    /// Removes the database of an old Barman, as Barman does, but only when the new one is durable. Everything it said
    /// of files that exist is in the new one.
    fn drop_legacy(&self, path: &Path) -> Result<(), CatalogError> {
        let legacy = self.layout.legacy_xlogdb_path();
        if legacy != path && legacy.is_file() {
            log::info!(
                "removing \"{}\": its place has been taken by \"{}\"",
                legacy.display(),
                path.display()
            );
            durable::remove(&legacy)?;
        }
        Ok(())
    }

    /// Calls `visit` for each WAL file of the archive in the order of names: directories and histories together, then
    /// the files of each directory. Whatever else is there is logged.
    fn each_file(
        &self,
        mut visit: impl FnMut(&Path, &str, WalKind) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let wals = &self.layout.wals;
        for name in sorted_names(wals)? {
            let path = wals.join(&name);
            if path.is_dir() {
                self.each_file_of_directory(&path, &name, &mut visit)?;
            } else {
                match WalKind::of(&name) {
                    Some(kind @ WalKind::History(_)) => visit(&path, &name, kind)?,
                    _ if self.is_database(&path) => {}
                    _ => log::warn!("unexpected file rebuilding the wal database: {}", path.display()),
                }
            }
        }
        Ok(())
    }

    fn each_file_of_directory(
        &self,
        directory: &Path,
        directory_name: &str,
        visit: &mut impl FnMut(&Path, &str, WalKind) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        for name in sorted_names(directory)? {
            let path = directory.join(&name);
            let kind = WalKind::of(&name);
            if path.is_dir() {
                log::warn!(
                    "unexpected directory rebuilding the wal database: {}",
                    path.display()
                );
            } else if let Some(kind) = kind
                // A file outside its directory would be recorded, but never found again.
                && wal_name::hash_directory(&name).as_deref() == Some(directory_name)
            {
                visit(&path, &name, kind)?;
            } else {
                log::warn!("unexpected file rebuilding the wal database: {}", path.display());
            }
        }
        Ok(())
    }

    fn is_database(&self, path: &Path) -> bool {
        let database = self.path();
        path == database
            || path == durable::sibling(&database, ".tmp")
            || path == self.layout.legacy_xlogdb_path()
    }
}

impl Rebuilt {
    fn count(&mut self, kind: WalKind) {
        match kind {
            WalKind::Segment(_) => self.segments += 1,
            WalKind::BackupLabel(_) => self.backup_labels += 1,
            WalKind::Partial(_) => self.partials += 1,
            WalKind::History(_) => self.histories += 1,
        }
    }
}

/// The entry of a file of the archive, from what the file shows.
pub(super) fn entry_of(path: &Path, name: &str, detector: &Detector) -> Result<WalEntry, PathError> {
    let metadata = fs::metadata(path).at("examine", path)?;
    let stored = detector.inspect(path)?;
    Ok(WalEntry {
        name: name.to_owned(),
        size: metadata.len(),
        time: modification_time(&metadata),
        compression: stored
            .compression
            .map(|compression| compression.name().to_owned()),
        encryption: stored.encrypted.then(|| "gpg".to_owned()),
    })
}

fn sorted_names(directory: &Path) -> Result<Vec<String>, PathError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).at("read directory", directory)? {
        let entry = entry.at("read directory", directory)?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
