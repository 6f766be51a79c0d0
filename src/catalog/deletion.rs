//! Deleting backups (behaviour reference §19).
//!
//! The order makes every crash harmless. Before anything is removed the backup is marked as failed, durably, with
//! Barman's `delete_this` annotation beside it: from then on neither tool restores it, counts it as a good backup, or
//! links new backups to its files. Then go the WAL, the data, the entry in its parent, and at last the metadata. Killed at
//! any point, `delete` with the same id finishes the work, in either tool; `cron` finishes it too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::base::calendar;
use crate::base::durable;
use crate::base::duration;
use crate::base::error::{PathContext, PathError};
use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::config::ServerConfig;
use crate::hooks::{BackupVariables, HookError, HookEvent, HookRunner, HookSubject};

use super::deletion_plan::{self, DeletionPlan, DeletionRules, DeletionStep, Refusal, Requester};
use super::wal_removal::WalRemovalError;
use super::{BackupId, BackupInfo, BackupStatus, BackupType, Backups, Catalog, CatalogError};

/// What the metadata of a backup say as long as its deletion is not complete.
const UNFINISHED: &str = "deletion not finished: delete this backup again";

/// Why a backup was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A backup or another deletion is at work. The words are Barman's.
    #[error("Another process in running on server {server}. Impossible to delete the backup.")]
    ServerBusy {
        /// The server.
        server: String,
    },
    /// The backup is being used: restored, verified, checked. The words are Barman's.
    #[error("Another process is holding the lock for backup {id} of server {server}.")]
    BackupBusy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// One of the incremental backups that build on it could not be deleted. The words are Barman's; what happened to
    /// that one has been reported already.
    #[error(
        "Failed to delete one of its incremental backups. Make sure all its dependent backups are deletable and try \
         again."
    )]
    Child {
        /// What happened to the incremental backup.
        source: Box<DeletionError>,
    },
    /// A hook script forbade it.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The files of the backup could not be removed. The words are Barman's.
    #[error(
        "Failure deleting backup {id} for server {server}.\n{source}\nPlease manually remove the '{}' directory",
        directory.display()
    )]
    Data {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// What is left of it.
        directory: PathBuf,
        /// Why.
        source: PathError,
    },
    /// Anything else that went wrong with the catalog.
    #[error("Failure deleting backup {id} for server {server}.\n{source}")]
    Failed {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Why.
        source: CatalogError,
    },
    /// The catalog cannot be read; nothing was touched.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<PathError> for DeletionError {
    fn from(error: PathError) -> Self {
        DeletionError::Catalog(error.into())
    }
}

/// Deletes backups of one server.
#[derive(Clone, Copy)]
pub struct Deletion<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The hook scripts of the server.
    pub hooks: &'a HookRunner,
    /// Where the lines go.
    pub reporter: &'a dyn Reporter,
    /// What is allowed.
    pub rules: DeletionRules,
}

impl<'a> Deletion<'a> {
    /// A deletion that an operator asks for (`barman delete`).
    #[must_use]
    pub fn by_operator(
        catalog: &'a Catalog,
        config: &ServerConfig,
        hooks: &'a HookRunner,
        reporter: &'a dyn Reporter,
    ) -> Deletion<'a> {
        Deletion::new(catalog, config, hooks, reporter, Requester::Operator)
    }

    pub(super) fn new(
        catalog: &'a Catalog,
        config: &ServerConfig,
        hooks: &'a HookRunner,
        reporter: &'a dyn Reporter,
        requester: Requester,
    ) -> Deletion<'a> {
        let rules = DeletionRules {
            requester,
            minimum_redundancy: config.minimum_redundancy,
        };
        Deletion {
            catalog,
            hooks,
            reporter,
            rules,
        }
    }

    /// What [`Deletion::run`] would remove.
    ///
    /// # Errors
    /// The backup must not be deleted, or the catalog cannot be read.
    pub fn plan(&self, id: &BackupId) -> Result<DeletionPlan, DeletionError> {
        self.plan_after(id, &Backups::new())
    }

    /// As [`Deletion::plan`], in a run that has deleted `gone` already.
    pub(super) fn plan_after(&self, id: &BackupId, gone: &Backups) -> Result<DeletionPlan, DeletionError> {
        self.plan_in(self.catalog.backups()?, id, gone)
    }

    /// As [`Deletion::plan_after`], for a catalog that holds `backups`.
    pub(super) fn plan_in(
        &self,
        backups: Backups,
        id: &BackupId,
        gone: &Backups,
    ) -> Result<DeletionPlan, DeletionError> {
        self.check_in(&backups, id)?;
        Ok(self.catalog.plan_deletion_in(backups, id, &self.rules, gone)?)
    }

    /// Whether the backup may be deleted.
    pub(super) fn check(&self, id: &BackupId) -> Result<(), DeletionError> {
        self.check_in(&self.catalog.backups()?, id)
    }

    fn check_in(&self, backups: &Backups, id: &BackupId) -> Result<(), DeletionError> {
        let keeps = self.catalog.keeps(backups)?;
        match backups.get(id) {
            Some(info) => Ok(deletion_plan::allowed(
                backups,
                &keeps,
                info,
                &self.rules,
                self.server(),
            )?),
            None => Ok(()),
        }
    }

    /// Deletes a backup and everything that builds on it.
    ///
    /// # Errors
    /// The backup must not be deleted, is in use, or could not be removed completely. In the last case it stays in the
    /// catalog as failed, and deleting it again finishes the work.
    pub fn run(&self, id: &BackupId) -> Result<(), DeletionError> {
        // Refusals come before the lock, as in Barman; what counts is decided again while nothing can change.
        self.check(id)?;
        let _lock = self
            .catalog
            .locks()
            .backup()
            .map_err(|error| self.busy_server(error))?;
        let plan = self.plan(id)?;
        self.apply(&plan)
    }

    /// Carries out a plan. The lock of [`super::Locks::backup`] must be held.
    ///
    /// # Errors
    /// As [`Deletion::run`].
    pub fn apply(&self, plan: &DeletionPlan) -> Result<(), DeletionError> {
        if plan.steps.len() > 1 {
            self.reporter.warning(&format!(
                "Backup {} has incremental backups which depend on it. Deleting all backups in the tree",
                plan.id
            ));
        }
        let in_tree = |step: &DeletionStep, error| match error {
            error if step.info.id == plan.id => error,
            // A script that stops everything stops everything.
            error @ DeletionError::Hook(_) => error,
            error => {
                self.reporter.error(&error.to_string());
                DeletionError::Child {
                    source: Box::new(error),
                }
            }
        };
        // Nothing goes while any of it is in use: neither a backup of the tree, nor the WAL.
        let mut locks = Vec::new();
        for step in &plan.steps {
            let lock = self.lock(&step.info.id).map_err(|error| in_tree(step, error))?;
            locks.push(lock);
        }
        let _idle = self.lock_users_of_wal(plan)?;
        for (step, lock) in plan.steps.iter().zip(locks) {
            self.delete(step, lock).map_err(|error| in_tree(step, error))?;
        }
        Ok(())
    }

    fn lock(&self, id: &BackupId) -> Result<LockFile, DeletionError> {
        let lock = self.catalog.locks().backup_id(id);
        lock.map_err(|error| self.busy_backup(id, error))
    }

    /// Holds the older backups from which somebody may be recovering through the WAL that goes: those kept for themselves.
    fn lock_users_of_wal(&self, plan: &DeletionPlan) -> Result<Vec<LockFile>, DeletionError> {
        let takes_wal = |step: &&DeletionStep| step.wal.as_ref().is_some_and(|wal| !wal.is_empty());
        let Some(oldest) = plan
            .steps
            .iter()
            .filter(takes_wal)
            .map(|step| &step.info.id)
            .min()
        else {
            return Ok(Vec::new());
        };
        let backups = self.catalog.backups()?;
        backups
            .range(..oldest)
            .filter(|(id, info)| {
                info.status.copy_done() && plan.steps.iter().all(|step| step.info.id != **id)
            })
            .map(|(id, _)| self.lock(id))
            .collect()
    }

    fn delete(&self, step: &DeletionStep, lock: LockFile) -> Result<(), DeletionError> {
        let id = &step.info.id;
        let (begin, clock) = (calendar::now(), Instant::now());
        let subject = HookSubject::Backup(self.variables(step));
        self.hooks.before(HookEvent::Delete, &subject)?;
        self.reporter
            .info(&format!("Deleting backup {id} for server {}", self.server()));
        self.mark(&step.info)?;
        self.remove_wal(step)?;
        self.remove_data(id)?;
        self.forget(step).map_err(|source| self.failed(id, source))?;
        self.remove_lock(lock);
        self.hooks.after(HookEvent::Delete, &subject, None);
        self.reporter.info(&format!(
            "Deleted backup {id} (start time: {}, elapsed time: {})",
            calendar::ctime(&begin),
            duration::human(clock.elapsed().as_secs_f64())
        ));
        Ok(())
    }

    /// The point of no return: the backup is no longer a good one, for either tool.
    fn mark(&self, info: &BackupInfo) -> Result<(), DeletionError> {
        match self.catalog.begin_deletion(&info.id) {
            // For cron, should this process be killed. The status says enough.
            Err(error) if error.is_lack_of_room() => log::warn!("{error}: deleting without it"),
            begun => begun?,
        }
        let mut marked = self.current(info)?;
        marked.status = BackupStatus::Failed;
        marked.error = Some(UNFINISHED.to_owned());
        self.catalog.save_failed(&marked)?;
        Ok(())
    }

    /// The metadata as they are now: the plan is older than the deletion of the children, which their parent names.
    fn current(&self, info: &BackupInfo) -> Result<BackupInfo, CatalogError> {
        Ok(self.catalog.load(&info.id)?.unwrap_or_else(|| info.clone()))
    }

    /// Takes [`Deletion::mark`] back: nothing has been removed.
    fn unmark(&self, info: &BackupInfo) -> Result<(), DeletionError> {
        let mut restored = self.current(info)?;
        restored.status = info.status;
        restored.error.clone_from(&info.error);
        self.catalog.save(&restored)?;
        self.catalog.end_deletion(&info.id)?;
        Ok(())
    }

    fn remove_wal(&self, step: &DeletionStep) -> Result<(), DeletionError> {
        let Some(entries) = &step.wal else { return Ok(()) };
        // As Barman: a deletion by the policy says nothing of WAL that stays for an older backup.
        if !entries.is_empty() || self.rules.requester == Requester::Operator {
            self.reporter.info("Delete associated WAL segments:");
        }
        let announce = |entry: &super::WalEntry| self.reporter.info(&format!("\t{}", entry.name));
        match self
            .catalog
            .remove_wal(entries, self.hooks, self.reporter, announce)
        {
            Ok(()) => Ok(()),
            Err(WalRemovalError::Hook { removed, source }) => {
                // An aborted deletion leaves no trace, or cron would carry it out later (B2).
                if removed == 0 {
                    self.unmark(&step.info)?;
                }
                Err(source.into())
            }
            Err(WalRemovalError::Catalog(source)) => Err(self.failed(&step.info.id, source)),
        }
    }

    /// Renames the directory out of the catalog, then removes it: half a backup never looks like a whole one.
    fn remove_data(&self, id: &BackupId) -> Result<(), DeletionError> {
        let directory = self.catalog.layout().base_dir(id);
        let aside = self.catalog.layout().base.join(format!(".deleting-{id}"));
        let data = |directory: &Path, source: PathError| DeletionError::Data {
            id: id.clone(),
            server: self.server().to_owned(),
            directory: directory.to_path_buf(),
            source,
        };
        // What an earlier attempt left.
        remove_tree(&aside).map_err(|error| data(&aside, error))?;
        if directory.symlink_metadata().is_err() {
            return Ok(());
        }
        match durable::rename(&directory, &aside) {
            Ok(()) => remove_tree(&aside).map_err(|error| data(&aside, error)),
            // A mount point cannot be renamed; the marked metadata have to do.
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                remove_tree(&directory).map_err(|error| data(&directory, error))
            }
            Err(error) => Err(data(&directory, error)),
        }
    }

    /// Removes what the catalog says of the backup, the metadata last but for the annotation: a `backup.info` that is gone
    /// takes the backup out of both tools' sight.
    fn forget(&self, step: &DeletionStep) -> Result<(), CatalogError> {
        let id = &step.info.id;
        if let Some(parent) = &step.info.parent_backup_id {
            self.forget_child(parent, id)?;
        }
        if let Some(next) = &step.next {
            self.measure_again(next)?;
        }
        self.catalog.remove_sidecars(id)?;
        self.catalog.remove_info(id)?;
        self.catalog.end_deletion(id)?;
        Ok(())
    }

    fn forget_child(&self, parent: &BackupId, child: &BackupId) -> Result<(), CatalogError> {
        let Some(mut info) = self.catalog.load(parent)? else {
            return Ok(());
        };
        let Some(children) = &mut info.children_backup_ids else {
            return Ok(());
        };
        children.retain(|other| other != child);
        if children.is_empty() {
            info.children_backup_ids = None;
        }
        Ok(self.catalog.save(&info)?)
    }

    /// The next backup may have shared files with the one that is gone; they are its own now.
    fn measure_again(&self, id: &BackupId) -> Result<(), CatalogError> {
        let Some(mut info) = self.catalog.load(id)? else {
            return Ok(());
        };
        let directory = self.catalog.layout().base_dir(id);
        if info.backup_type() != BackupType::Rsync || !directory.is_dir() {
            return Ok(());
        }
        let sizes = super::sizes::measure(&directory)?;
        info.size = Some(sizes.total);
        info.deduplicated_size = Some(sizes.unshared);
        Ok(self.catalog.save(&info)?)
    }

    /// Removed while held, so that nobody takes it in between.
    fn remove_lock(&self, lock: LockFile) {
        if let Err(error) = fs::remove_file(lock.path()).at("remove", lock.path()) {
            log::warn!("{error}");
        }
        drop(lock);
    }

    fn variables(&self, step: &DeletionStep) -> BackupVariables {
        let layout = self.catalog.layout();
        BackupVariables {
            backup_dir: layout.base_dir(&step.info.id),
            backup_info_path: layout.info_path(&step.info.id),
            backup_id: step.info.id.to_string(),
            previous_id: step.previous.as_ref().map(ToString::to_string),
            next_id: step.next.as_ref().map(ToString::to_string),
            status: step.info.status.to_string(),
        }
    }

    pub(super) fn server(&self) -> &str {
        self.catalog.server()
    }

    fn busy_server(&self, error: LockError) -> DeletionError {
        match error {
            LockError::Busy { .. } => DeletionError::ServerBusy {
                server: self.server().to_owned(),
            },
            other => CatalogError::from(other).into(),
        }
    }

    fn busy_backup(&self, id: &BackupId, error: LockError) -> DeletionError {
        match error {
            LockError::Busy { .. } => DeletionError::BackupBusy {
                id: id.clone(),
                server: self.server().to_owned(),
            },
            other => CatalogError::from(other).into(),
        }
    }

    fn failed(&self, id: &BackupId, source: CatalogError) -> DeletionError {
        DeletionError::Failed {
            id: id.clone(),
            server: self.server().to_owned(),
            source,
        }
    }
}

impl Catalog {
    /// Removes the files beside the metadata that belong to one backup: barkeep's sidecar and the copy of a manifest.
    fn remove_sidecars(&self, id: &BackupId) -> Result<(), PathError> {
        for path in self.layout().sidecars(id) {
            durable::remove(&path)?;
        }
        durable::remove(&self.layout().annotation_path(id, "backup_manifest"))
    }
}

/// Removes a directory and everything in it, durably. Does not follow symbolic links.
pub(super) fn remove_tree(directory: &Path) -> Result<(), PathError> {
    match fs::remove_dir_all(directory) {
        Ok(()) => durable::sync_parent(directory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PathError::new("remove", directory, error)),
    }
}

#[cfg(test)]
mod tests;
