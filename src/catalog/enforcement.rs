//! Enforcing the retention policy (behaviour reference §20): the part of `cron` that deletes.
//!
//! Unlike Barman's, it takes the lock of `backup` and `delete`: a running backup may link to the files of any older one.

use std::fs;
use std::path::PathBuf;

use chrono::Utc;

use crate::base::directory;
use crate::base::lock::LockError;
use crate::base::report::Reporter;
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

use super::deletion::remove_tree;
use super::deletion_plan::Requester;
use super::retention::{RetentionPolicy, RetentionStatus};
use super::{BackupId, Backups, Catalog, CatalogError, Deletion, DeletionError};

/// Deletes what the retention policy of a server does not want any more, and finishes deletions that were cut short.
/// Problems with one backup are reported and do not keep the others.
///
/// # Errors
/// The catalog cannot be read.
pub fn enforce(
    catalog: &Catalog,
    config: &ServerConfig,
    hooks: &HookRunner,
    reporter: &dyn Reporter,
) -> Result<(), CatalogError> {
    let Some(policy) = policy(config) else {
        return Ok(());
    };
    let deletion = Deletion::new(catalog, config, hooks, reporter, Requester::Retention);
    let enforcement = Enforcement {
        catalog,
        deletion,
        reporter,
    };
    let doomed = enforcement.doomed(policy)?;
    if doomed.is_empty() {
        return Ok(());
    }
    let _lock = match catalog.locks().backup() {
        Ok(lock) => lock,
        Err(LockError::Busy { .. }) => {
            log::info!(
                "a backup or deletion is running on server {}: the retention policy is enforced later",
                catalog.server()
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let mut gone = Backups::new();
    for id in doomed {
        enforcement.remove(&id, &mut gone)?;
    }
    Ok(())
}

/// The policy of a server. One that does not parse is logged and not enforced.
#[must_use]
pub fn policy(config: &ServerConfig) -> Option<RetentionPolicy> {
    let text = config.retention_policy.as_deref()?;
    match text.parse() {
        Ok(policy) => Some(policy),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}

struct Enforcement<'a> {
    catalog: &'a Catalog,
    deletion: Deletion<'a>,
    reporter: &'a dyn Reporter,
}

impl Enforcement<'_> {
    /// The backups to delete, oldest first.
    fn doomed(&self, policy: RetentionPolicy) -> Result<Vec<BackupId>, CatalogError> {
        let mut backups = self.catalog.backups()?;
        let mut doomed = self.begun(&backups)?;
        self.leave_orphans(&mut backups, &doomed);
        let statuses = policy.statuses(
            &backups,
            &self.catalog.keeps(&backups)?,
            self.deletion.rules.minimum_redundancy,
            Utc::now(),
        );
        doomed.extend(
            statuses
                .into_iter()
                .filter(|(_, status)| *status == RetentionStatus::Obsolete)
                .map(|(id, _)| id),
        );
        doomed.sort();
        doomed.dedup();
        Ok(doomed)
    }

    /// Deletions that were begun and not finished, by either tool. Whether they may go on is decided anew: Barman leaves
    /// the annotation when a script forbids a deletion, and the backup may be kept by now (B2).
    fn begun(&self, backups: &Backups) -> Result<Vec<BackupId>, CatalogError> {
        let mut begun = Vec::new();
        for id in backups.keys() {
            if !self.catalog.is_being_deleted(id)? {
                continue;
            }
            match self.deletion.check(id) {
                Ok(()) => begun.push(id.clone()),
                Err(DeletionError::Refused(refusal)) => {
                    self.reporter
                        .warning(&format!("{refusal} The deletion begun earlier is given up."));
                    self.catalog.end_deletion(id)?;
                }
                Err(error) => self.reporter.error(&error.to_string()),
            }
        }
        Ok(begun)
    }

    /// Takes backups without data out of the count. They must not stand in for backups that can be restored.
    fn leave_orphans(&self, backups: &mut Backups, doomed: &[BackupId]) {
        let orphans: Vec<BackupId> = backups.keys().filter(|id| self.is_orphan(id)).cloned().collect();
        for id in orphans {
            backups.remove(&id);
            if doomed.contains(&id) {
                continue;
            }
            let layout = self.catalog.layout();
            self.reporter.warning(&format!(
                "Backup '{id}' is an orphan backup, this is possibly the result of an incomplete delete operation. Please \
                 manually delete the following files or directories if present:\n* {} \n* {} \n",
                layout.base_dir(&id).display(),
                layout.info_path(&id).display()
            ));
        }
    }

    /// Whether the directory of a backup is gone, or holds nothing but metadata in their old place.
    fn is_orphan(&self, id: &BackupId) -> bool {
        match fs::read_dir(self.catalog.layout().base_dir(id)) {
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            Ok(entries) => {
                let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
                names.len() == 1 && names.iter().all(|name| name == "backup.info")
            }
        }
    }

    /// Deletes one backup with what builds on it, and adds them to `gone`.
    fn remove(&self, id: &BackupId, gone: &mut Backups) -> Result<(), CatalogError> {
        // An incremental goes with its root.
        if self.catalog.load(id)?.is_none() {
            return Ok(());
        }
        let server = self.catalog.server();
        if let Err(LockError::Busy { .. }) = self.catalog.locks().backup_id(id) {
            self.reporter.warning(&format!(
                "Another action is in progress for the backup {id} of server {server}, skipping retention policy \
                 application"
            ));
            return Ok(());
        }
        self.reporter.info(&format!(
            "Enforcing retention policy: removing backup {id} for server {server}"
        ));
        let done = self.deletion.plan_after(id, gone).and_then(|plan| {
            self.deletion.apply(&plan)?;
            Ok(plan)
        });
        match done {
            Ok(plan) => gone.extend(
                plan.steps
                    .into_iter()
                    .map(|step| (step.info.id.clone(), step.info)),
            ),
            Err(DeletionError::Refused(refusal)) => self.reporter.warning(&refusal.to_string()),
            Err(error) => self.reporter.error(&error.to_string()),
        }
        Ok(())
    }
}

impl Catalog {
    /// Removes what is left of the data of backups whose metadata are gone already: the other tool finished their
    /// deletion. While a backup or a deletion is running, nothing is removed.
    ///
    /// # Errors
    /// A directory cannot be read or removed.
    pub fn remove_leftovers(&self) -> Result<(), CatalogError> {
        let leftovers = self.leftovers()?;
        if leftovers.is_empty() {
            return Ok(());
        }
        let _lock = match self.locks().backup() {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for (id, path) in leftovers {
            // Under the lock: a deletion that was at work when the directory was listed is over now.
            if self.load(&id)?.is_none() {
                log::info!("removing {}, which is left of a deleted backup", path.display());
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    fn leftovers(&self) -> Result<Vec<(BackupId, PathBuf)>, CatalogError> {
        let base = &self.layout().base;
        let names = directory::names(base)?;
        let of = |name: &String| {
            let id = name.strip_prefix(".deleting-").and_then(BackupId::parse)?;
            Some((id, base.join(name)))
        };
        Ok(names.iter().filter_map(of).collect())
    }
}
