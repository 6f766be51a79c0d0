//! The catalog: what a server's backups and WAL archive consist of, in Barman's own files.
//!
//! Everything here is read and written by Barman 3.19 as well, in turn or at the same time; the formats are those of the
//! catalog reference. [`Catalog`] is the entry: it knows the paths, reads and saves [`BackupInfo`]s, and gives access to
//! the locks and to the WAL database.

pub mod chains;
pub mod figures;
pub mod locks;
pub mod processes;
pub mod python_literal;
pub mod retention;

mod annotations;

mod backup_id;
mod base_codec;
mod completeness;
mod deletion;
pub mod deletion_plan;
pub mod enforcement;
mod error;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod identity;
mod info;
mod info_text;
mod keep;
mod layout;
mod listing;
mod manifest_write;
mod resolve;
mod sizes;
mod status;
mod verification;
mod wal_archive_check;
mod wal_entry;
mod wal_rate;
mod wal_removal;
mod xlogdb;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::base::directory;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::codec::{CustomMagic, Detector};
use crate::config::{NotLocal, ServerConfig, WalCompression};
use crate::copy::records::RecordIndex;

pub use annotations::KeepTarget;
pub use backup_id::BackupId;
pub use base_codec::codec_of_base_backups;
pub use completeness::{CheckBackupError, CheckedBackup};
pub use deletion::{Deletion, DeletionError};
pub use error::{CatalogError, ResolveError};
pub use files::FileTarget;
pub use identity::Identity;
pub use info::{BackupInfo, CopyStats, ItemTimes, Tablespace};
pub use keep::KeepError;
pub use layout::Layout;
pub use listing::{BackupReport, Chain, CopyReport, ListedBackup, ListedCopy};
pub use locks::Locks;
pub use manifest_write::{GenerateManifestError, MANIFEST};
pub use resolve::resolve;
pub use sizes::{Sizes, measure};
pub use status::{BackupStatus, BackupType};
pub use verification::{Mismatch, Verification, VerifyError};
pub use wal_archive_check::WalArchiveCheckError;
pub use wal_entry::{WalEntry, WalLine, modification_time};
pub use wal_removal::WalRemovalError;
pub use xlogdb::{Entries, Rebuilt, XlogDb};

/// The backups of a server, oldest first.
pub type Backups = BTreeMap<BackupId, BackupInfo>;

/// The catalog of one server. Making one does no I/O.
#[derive(Debug, Clone)]
pub struct Catalog {
    layout: Layout,
    detector: Detector,
    /// Whether reading leaves no trace.
    looking: bool,
}

impl Catalog {
    /// The catalog that a configuration describes.
    ///
    /// # Errors
    /// Base backups or WAL are kept in an object store.
    pub fn of(config: &ServerConfig) -> Result<Catalog, NotLocal> {
        let custom = match config.compression {
            Some(WalCompression::Custom) => config
                .custom_compression_magic
                .as_deref()
                .and_then(CustomMagic::parse)
                .unwrap_or(CustomMagic::Everything),
            _ => CustomMagic::Unused,
        };
        Ok(Catalog::at(Layout::of(config)?, Detector::new(custom)))
    }

    /// The catalog at `layout`. `detector` recognises compressed WAL.
    #[must_use]
    pub fn at(layout: Layout, detector: Detector) -> Catalog {
        Catalog {
            layout,
            detector,
            looking: false,
        }
    }

    /// The same catalog for looking only (`--dry-run`): reading it creates and changes no lock file and mends nothing.
    #[must_use]
    pub fn looking_only(&self) -> Catalog {
        Catalog {
            looking: true,
            ..self.clone()
        }
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The name of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.layout.server
    }

    /// Recognises how WAL files are stored.
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The lock files.
    #[must_use]
    pub fn locks(&self) -> Locks {
        Locks::of(&self.layout)
    }

    /// The WAL database.
    #[must_use]
    pub fn xlogdb(&self) -> XlogDb {
        let db = XlogDb::at(self.layout.clone(), self.detector.clone());
        if self.looking { db.looking_only() } else { db }
    }

    /// Creates the directories that are missing, durably.
    ///
    /// # Errors
    /// A directory cannot be created.
    pub fn create_directories(&self) -> Result<(), PathError> {
        self.layout
            .directories()
            .into_iter()
            .try_for_each(durable::create_dir_all)
    }

    /// An id for a backup that begins now. The lock of [`Locks::backup`] must be held.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn new_id(&self) -> Result<BackupId, CatalogError> {
        let paths = self.info_paths()?;
        let newest = paths.keys().next_back();
        Ok(BackupId::unused(BackupId::now(), newest, |id| {
            paths.contains_key(id) || self.layout.base_dir(id).symlink_metadata().is_ok()
        }))
    }

    /// Every backup of the catalog, whatever its status.
    ///
    /// # Errors
    /// A directory or a `backup.info` cannot be read.
    pub fn backups(&self) -> Result<Backups, CatalogError> {
        self.info_paths()?
            .into_iter()
            .map(|(id, path)| Ok((id.clone(), read_info(id, &path)?)))
            .collect()
    }

    /// Every backup whose `backup.info` can be read, and why the others cannot: for whoever shows backups, or needs one that
    /// is named by its id. Whoever judges what may go, or which one is the latest, needs them all.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn readable_backups(&self) -> Result<(Backups, Vec<CatalogError>), CatalogError> {
        let mut backups = Backups::new();
        let mut unreadable = Vec::new();
        for (id, path) in self.info_paths()? {
            match read_info(id.clone(), &path) {
                Ok(info) => {
                    backups.insert(id, info);
                }
                Err(error) => unreadable.push(error),
            }
        }
        Ok((backups, unreadable))
    }

    /// The backups among which the one that `token` names is to be found: those that can be read, if it is an id, or else all.
    ///
    /// # Errors
    /// A directory cannot be read, or a `backup.info` that might matter.
    pub fn backups_for(&self, token: &str) -> Result<Backups, CatalogError> {
        let id = BackupId::parse(token);
        let (backups, unreadable) = self.readable_backups()?;
        match unreadable.into_iter().next() {
            Some(error) if id.is_none_or(|id| !backups.contains_key(&id)) => Err(error),
            _ => Ok(backups),
        }
    }

    /// One backup; `None` when the catalog has no such backup.
    ///
    /// # Errors
    /// Its `backup.info` cannot be read.
    pub fn load(&self, id: &BackupId) -> Result<Option<BackupInfo>, CatalogError> {
        for path in [self.layout.info_path(id), self.layout.legacy_info_path(id)] {
            if path.is_file() {
                return read_info(id.clone(), &path).map(Some);
            }
        }
        Ok(None)
    }

    /// Saves what is known of a backup, atomically and durably.
    ///
    /// # Errors
    /// The file cannot be written; the previous one is then still in place.
    pub fn save(&self, info: &BackupInfo) -> Result<(), PathError> {
        durable::create_dir_all(&self.layout.meta)?;
        durable::write(&self.layout.info_path(&info.id), info.to_text().as_bytes())
    }

    /// Saves that a backup is no good one any more, on a full disk too: there it is what makes room.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_failed(&self, info: &BackupInfo) -> Result<(), PathError> {
        durable::create_dir_all(&self.layout.meta)?;
        durable::write_without_room(&self.layout.info_path(&info.id), info.to_text().as_bytes())
    }

    /// Removes the metadata of a backup from both its places, durably.
    ///
    /// # Errors
    /// A file exists and cannot be removed.
    pub fn remove_info(&self, id: &BackupId) -> Result<(), PathError> {
        let legacy = self.layout.legacy_info_path(id);
        if legacy.exists() {
            durable::remove(&legacy)?;
        }
        durable::remove(&self.layout.info_path(id))
    }

    /// The copy of PGDATA: `base/{id}/data`, or `base/{id}/pgdata` of a very old backup.
    #[must_use]
    pub fn data_dir(&self, id: &BackupId) -> PathBuf {
        match self.old_layout(id) {
            Some(pgdata) => pgdata,
            None => self.layout.data_dir(id),
        }
    }

    /// The copy of a tablespace: `base/{id}/{oid}`, or `pgdata/pg_tblspc/{oid}` of a very old backup.
    #[must_use]
    pub fn tablespace_dir(&self, id: &BackupId, oid: u32) -> PathBuf {
        match self.old_layout(id) {
            Some(pgdata) => pgdata.join("pg_tblspc").join(oid.to_string()),
            None => self.layout.tablespace_dir(id, oid),
        }
    }

    /// What the files of a backup were when it was taken; `None` when that was not recorded, or the records are damaged.
    #[must_use]
    pub fn records(&self, id: &BackupId) -> Option<RecordIndex> {
        let path = self.layout.records_path(id);
        if !path.exists() {
            return None;
        }
        // They are a proof more, not a condition.
        RecordIndex::load(&path)
            .inspect_err(|error| log::warn!("{error}: the files of backup {id} are not compared with them"))
            .ok()
    }

    fn old_layout(&self, id: &BackupId) -> Option<PathBuf> {
        Some(self.layout.base_dir(id).join("pgdata")).filter(|pgdata| pgdata.is_dir())
    }

    /// The files with metadata: `base/*/backup.info`, overridden by `meta/*-backup.info`.
    fn info_paths(&self) -> Result<BTreeMap<BackupId, PathBuf>, CatalogError> {
        let mut paths = BTreeMap::new();
        for name in directory::names(&self.layout.base)? {
            let Some(id) = BackupId::from_file_name(&name) else {
                continue;
            };
            let path = self.layout.legacy_info_path(&id);
            if path.is_file() {
                paths.insert(id, path);
            }
        }
        for name in directory::names(&self.layout.meta)? {
            let Some(id) = name
                .strip_suffix("-backup.info")
                .and_then(BackupId::from_file_name)
            else {
                continue;
            };
            paths.insert(id, self.layout.meta.join(&name));
        }
        Ok(paths)
    }
}

/// The nearest older backup whose copy is complete.
#[must_use]
pub fn previous<'a>(backups: &'a Backups, id: &BackupId) -> Option<&'a BackupInfo> {
    backups
        .range(..id)
        .rev()
        .map(|(_, info)| info)
        .find(|info| info.status.copy_done())
}

/// The nearest newer backup whose copy is complete.
#[must_use]
pub fn next<'a>(backups: &'a Backups, id: &BackupId) -> Option<&'a BackupInfo> {
    use std::ops::Bound::{Excluded, Unbounded};
    backups
        .range((Excluded(id), Unbounded))
        .map(|(_, info)| info)
        .find(|info| info.status.copy_done())
}

fn read_info(id: BackupId, path: &std::path::Path) -> Result<BackupInfo, CatalogError> {
    let text = fs::read_to_string(path).at("read", path)?;
    BackupInfo::from_text(id, &text, path)
}

#[cfg(test)]
mod tests;
