//! Copying one backup from the primary node: `sync-backup`.
//!
//! As long as the copy is not complete the catalog calls the backup `SYNCING`, or `FAILED`, which neither tool restores, counts
//! or links to; killed at any point it is copied again, and takes over what is right of the first attempt. What the catalog
//! says in the end is what the primary node's says, to the byte: Barman's passive nodes quote the label twice, take the ids of
//! children apart and forget how the backup was made (B12).

use std::path::Path;

use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::catalog::{
    self, BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog, Deletion, chains,
};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

use super::copying::Copying;
use super::decision::{Decision, decide};
use super::{SyncError, Told, primary};

/// Copies backups of one server.
#[derive(Clone, Copy)]
pub struct Synchroniser<'a> {
    /// The server.
    pub config: &'a ServerConfig,
    /// The main configuration file.
    pub configuration: &'a Path,
    /// Its catalog here.
    pub catalog: &'a Catalog,
    /// Its hook scripts, for the removal of what cannot be completed any more.
    pub hooks: &'a HookRunner,
    /// Where the lines go.
    pub reporter: &'a dyn Reporter,
}

impl Synchroniser<'_> {
    /// Copies a backup if that is necessary.
    ///
    /// # Errors
    /// It cannot be copied. Then it is in the catalog as failed, and the next attempt takes over what is right of it.
    pub fn run(&self, name: &str) -> Result<(), SyncError> {
        let (server, id) = (&self.config.name, BackupId::from_file_name(name));
        if self.config.is_passive() {
            self.step(name, "1/3: parse server information");
        }
        let told = self.told()?;
        let absent = || SyncError::Absent {
            id: name.to_owned(),
            server: server.clone(),
        };
        let id = id.ok_or_else(absent)?;
        // What needs no copying needs no lock.
        if let Decision::Nothing(why) = self.decide(&told, &id)? {
            self.reporter.info(&why);
            return Ok(());
        }
        let (_copying, changing) = self.lock(&id)?;
        match self.decide(&told, &id)? {
            Decision::Nothing(why) => self.reporter.info(&why),
            Decision::Purge(why) => {
                self.reporter.warning(&why);
                // The deletion takes it itself.
                drop(changing);
                Deletion::by_operator(self.catalog, self.config, self.hooks, self.reporter)
                    .run(&id)
                    .map_err(Box::new)?;
            }
            Decision::Copy(info) => self.copy(&told, *info)?,
        }
        Ok(())
    }

    /// Says what [`Synchroniser::run`] would do.
    ///
    /// # Errors
    /// As [`Synchroniser::run`], as far as can be known.
    pub fn explain(&self, name: &str) -> Result<(), SyncError> {
        let told = self.told()?;
        let absent = || SyncError::Absent {
            id: name.to_owned(),
            server: self.config.name.clone(),
        };
        let id = BackupId::from_file_name(name).ok_or_else(absent)?;
        match self.decide(&told, &id)? {
            Decision::Nothing(why) => self.reporter.info(&why),
            Decision::Purge(why) => self.reporter.info(&format!("{why}: it would be deleted")),
            Decision::Copy(info) => {
                let copying = self.copying(&told, &info)?;
                self.reporter.info(&copying.explanation());
                if let Some(gap) = missing_parent(&self.catalog.backups()?, &info) {
                    self.reporter.warning(&gap);
                }
            }
        }
        Ok(())
    }

    fn told(&self) -> Result<Told, SyncError> {
        if !self.config.is_passive() {
            return Err(SyncError::NotPassive(self.config.name.clone()));
        }
        primary::last_told(self.catalog.layout())
    }

    fn decide(&self, told: &Told, id: &BackupId) -> Result<Decision, SyncError> {
        decide(self.catalog, self.config, told, &self.catalog.backups()?, id)
    }

    /// Barman's lines, which go to the log alone.
    fn step(&self, id: &str, step: &str) {
        log::info!(
            target: "barman.server",
            "Synchronising with server {} backup {id}: step {step}",
            self.config.name
        );
    }

    /// The lock by which both tools know that a backup is being copied, and the one of whoever changes it.
    fn lock(&self, id: &BackupId) -> Result<(LockFile, LockFile), SyncError> {
        let busy = |error| match error {
            LockError::Busy { .. } => SyncError::BackupBusy {
                id: id.clone(),
                server: self.config.name.clone(),
            },
            error => error.into(),
        };
        let locks = self.catalog.locks();
        let copying = LockFile::try_acquire(&locks.sync_backup_path(id)).map_err(busy)?;
        Ok((copying, locks.backup_id(id).map_err(busy)?))
    }

    fn copying<'b>(&'b self, told: &'b Told, info: &'b BackupInfo) -> Result<Copying<'b>, SyncError> {
        Copying::prepare(self.config, self.catalog, told, info)
    }

    fn copy(&self, told: &Told, info: BackupInfo) -> Result<(), SyncError> {
        self.catalog.create_directories()?;
        let final_status = info.status;
        // Nobody deletes, merges or completes what this backup builds on while it arrives.
        let _ancestors = self.hold_ancestors(&info)?;
        let mut entry = info.clone();
        entry.status = BackupStatus::Syncing;
        entry.error = None;
        entry.children_backup_ids = self.children(&info.id)?;
        self.catalog.save(&entry)?;
        self.step(info.id.as_str(), "2/3: file copy");
        let done = self
            .copying(told, &info)
            .and_then(|copying| copying.run(self.configuration, self.reporter));
        if let Err(error) = done {
            entry.status = BackupStatus::Failed;
            entry.error = Some(error.to_string());
            self.catalog.save_failed(&entry)?;
            return Err(error);
        }
        self.step(info.id.as_str(), "3/3: finalise sync");
        if info.backup_type() == BackupType::Rsync {
            // Which files backups share is decided here.
            entry.deduplicated_size =
                Some(catalog::measure(&self.catalog.layout().base_dir(&info.id))?.unshared);
        }
        // What waits for its WAL on the primary node has not got it here either: cron completes it.
        entry.status = final_status;
        entry.children_backup_ids = self.children(&info.id)?;
        self.catalog.save(&entry)?;
        self.announce_to_parent(&info)?;
        Ok(())
    }

    /// The backups of the chain that are here, held against deletion.
    fn hold_ancestors(&self, info: &BackupInfo) -> Result<Vec<LockFile>, SyncError> {
        let Some(parent) = &info.parent_backup_id else {
            return Ok(Vec::new());
        };
        let backups = self.catalog.backups()?;
        let members = match missing_parent(&backups, info) {
            None => chains::ancestry(&backups, parent).collect(),
            Some(gap) => {
                self.reporter.warning(&gap);
                Vec::new()
            }
        };
        members
            .iter()
            .map(|member| Ok(self.catalog.locks().backup_reader(&member.id)?))
            .collect()
    }

    /// The incremental backups that build on a backup, as far as they are here.
    fn children(&self, id: &BackupId) -> Result<Option<Vec<BackupId>>, SyncError> {
        let backups = self.catalog.backups()?;
        let children: Vec<BackupId> = chains::children(&backups, id)
            .map(|info| info.id.clone())
            .collect();
        Ok(Some(children).filter(|children| !children.is_empty()))
    }

    /// The parent names its children; when it was copied, this one may not have existed.
    fn announce_to_parent(&self, info: &BackupInfo) -> Result<(), SyncError> {
        let Some(id) = &info.parent_backup_id else {
            return Ok(());
        };
        let Some(mut parent) = self.catalog.load(id)? else {
            return Ok(());
        };
        let children = self.children(id)?;
        if parent.children_backup_ids != children {
            parent.children_backup_ids = children;
            self.catalog.save(&parent)?;
        }
        Ok(())
    }
}

/// What a backup builds on, when that is not here.
fn missing_parent(backups: &Backups, info: &BackupInfo) -> Option<String> {
    let parent = info.parent_backup_id.as_ref()?;
    let here = backups
        .get(parent)
        .is_some_and(|parent| parent.status.copy_done());
    (!here).then(|| {
        format!(
            "Backup {} builds on backup {parent}, which is not here: as long as it is not, this one cannot be restored",
            info.id
        )
    })
}
