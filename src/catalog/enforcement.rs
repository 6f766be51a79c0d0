//! Enforcing the retention policy (behaviour reference §20): the part of `cron` that deletes.
//!
//! Unlike Barman's, it takes the lock of `backup` and `delete`: a running backup may link to the files of any older one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use chrono::Utc;

use crate::base::lock::LockError;
use crate::base::report::Reporter;
use crate::base::{directory, durable};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

use super::annotations::DELETE_THIS;
use super::deletion::remove_tree;
use super::deletion_plan::{DeletionPlan, Refusal, Requester};
use super::retention::{Judgement, RetentionPolicy, RetentionStatus};
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
    let plan = enforcement.plan(policy)?;
    enforcement.announce(&plan)?;
    if plan.doomed.is_empty() {
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
    // Another deletion may have ended in between: what it took must not be counted as there.
    let plan = enforcement.plan(policy)?;
    let mut gone = Backups::new();
    for id in plan.doomed {
        enforcement.remove(&id, &mut gone)?;
    }
    Ok(())
}

/// The policy of a server. One that does not parse is not enforced; the command line tells.
#[must_use]
pub fn policy(config: &ServerConfig) -> Option<RetentionPolicy> {
    let text = config.retention_policy.as_deref()?;
    text.parse().ok()
}

/// What the retention policy wants, decided before anything is touched.
#[derive(Debug)]
pub struct RetentionPlan {
    /// The policy.
    pub policy: RetentionPolicy,
    /// What it says of each backup that has data, and why.
    pub judgements: BTreeMap<BackupId, Judgement>,
    /// Deletions that were begun and not finished, and go on.
    pub begun: Vec<BackupId>,
    /// Deletions that were begun and are given up, and why.
    pub given_up: Vec<(BackupId, Refusal)>,
    /// Backups without data.
    pub orphans: Vec<BackupId>,
    /// What could not be looked at.
    pub problems: Vec<String>,
    /// The backups to delete, oldest first.
    pub doomed: Vec<BackupId>,
}

/// What becomes of one of the backups that the policy does not want.
#[derive(Debug)]
pub struct Foreseen {
    /// The backup.
    pub id: BackupId,
    /// What goes with it, or why it stays.
    pub outcome: Result<DeletionPlan, DeletionError>,
}

/// What [`enforce`] would do now. Changes nothing. `None` when there is no policy.
///
/// # Errors
/// The catalog cannot be read.
pub fn foresee(
    catalog: &Catalog,
    config: &ServerConfig,
    hooks: &HookRunner,
    reporter: &dyn Reporter,
) -> Result<Option<(RetentionPlan, Vec<Foreseen>)>, CatalogError> {
    let Some(policy) = policy(config) else {
        return Ok(None);
    };
    let catalog = catalog.looking_only();
    let enforcement = Enforcement {
        catalog: &catalog,
        deletion: Deletion::new(&catalog, config, hooks, reporter, Requester::Retention),
        reporter,
    };
    let plan = enforcement.plan(policy)?;
    let foreseen = enforcement.foresee(&plan.doomed)?;
    Ok(Some((plan, foreseen)))
}

struct Enforcement<'a> {
    catalog: &'a Catalog,
    deletion: Deletion<'a>,
    reporter: &'a dyn Reporter,
}

impl Enforcement<'_> {
    /// Decides. Changes nothing.
    fn plan(&self, policy: RetentionPolicy) -> Result<RetentionPlan, CatalogError> {
        let mut backups = self.catalog.backups()?;
        let mut plan = RetentionPlan {
            policy,
            judgements: BTreeMap::new(),
            begun: Vec::new(),
            given_up: Vec::new(),
            orphans: Vec::new(),
            problems: Vec::new(),
            doomed: Vec::new(),
        };
        self.find_begun(&backups, &mut plan)?;
        // Backups without data must not stand in for backups that can be restored.
        plan.orphans = backups.keys().filter(|id| self.is_orphan(id)).cloned().collect();
        for id in &plan.orphans {
            backups.remove(id);
        }
        plan.judgements = policy.judge(
            &backups,
            &self.catalog.keeps(&backups)?,
            self.deletion.rules.minimum_redundancy,
            Utc::now(),
        );
        let obsolete = plan
            .judgements
            .iter()
            .filter(|(_, judgement)| judgement.status == RetentionStatus::Obsolete)
            .map(|(id, _)| id.clone());
        plan.doomed = plan.begun.iter().cloned().chain(obsolete).collect();
        plan.doomed.sort();
        plan.doomed.dedup();
        Ok(plan)
    }

    /// Deletions that were begun and not finished, by either tool. Whether they may go on is decided anew: Barman leaves
    /// the annotation when a script forbids a deletion, and the backup may be kept by now (B2).
    fn find_begun(&self, backups: &Backups, plan: &mut RetentionPlan) -> Result<(), CatalogError> {
        for id in backups.keys() {
            if !self.catalog.is_being_deleted(id)? {
                continue;
            }
            match self.deletion.check(id) {
                Ok(()) => plan.begun.push(id.clone()),
                Err(DeletionError::Refused(refusal)) => plan.given_up.push((id.clone(), refusal)),
                Err(error) => plan.problems.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Says what there is to say about a plan, and gives up what is given up.
    fn announce(&self, plan: &RetentionPlan) -> Result<(), CatalogError> {
        for (id, refusal) in &plan.given_up {
            self.reporter
                .warning(&format!("{refusal} The deletion begun earlier is given up."));
            self.catalog.end_deletion(id)?;
        }
        for problem in &plan.problems {
            self.reporter.error(problem);
        }
        for id in plan.orphans.iter().filter(|id| !plan.doomed.contains(id)) {
            let layout = self.catalog.layout();
            self.reporter.warning(&format!(
                "Backup '{id}' is an orphan backup, this is possibly the result of an incomplete delete operation. Please \
                 manually delete the following files or directories if present:\n* {} \n* {} \n",
                layout.base_dir(id).display(),
                layout.info_path(id).display()
            ));
        }
        Ok(())
    }

    /// What would become of `doomed`, each in a catalog without those before it.
    fn foresee(&self, doomed: &[BackupId]) -> Result<Vec<Foreseen>, CatalogError> {
        let mut left = self.catalog.backups()?;
        let mut gone = Backups::new();
        let mut taken = BTreeSet::new();
        let mut foreseen = Vec::new();
        for id in doomed {
            // An incremental goes with its root.
            if !left.contains_key(id) {
                continue;
            }
            let mut outcome = self.deletion.plan_in(left.clone(), id, &gone);
            if let Ok(plan) = &mut outcome {
                for step in &mut plan.steps {
                    if let Some(wal) = &mut step.wal {
                        // The database still has what those before took.
                        wal.retain(|entry| taken.insert(entry.name.clone()));
                    }
                    gone.extend(left.remove_entry(&step.info.id));
                }
            }
            foreseen.push(Foreseen {
                id: id.clone(),
                outcome,
            });
        }
        Ok(foreseen)
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
    /// Removes what is left of backups whose metadata are gone already, because the other tool deleted them: data whose
    /// deletion it finished, and files of ours beside the metadata, which it does not know; and the mark of a deletion that
    /// was killed just before its end. While a backup or a deletion is running, nothing is removed.
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
            if self.load(&id)?.is_some() {
                continue;
            }
            if path.is_dir() {
                log::info!("removing {}, which is left of a deleted backup", path.display());
                remove_tree(&path)?;
            } else if !self.layout().base_dir(&id).exists() {
                // Of data whose metadata were lost, they are all that is known.
                log::info!("removing {}, which is left of a deleted backup", path.display());
                durable::remove(&path)?;
            }
        }
        Ok(())
    }

    fn leftovers(&self) -> Result<Vec<(BackupId, PathBuf)>, CatalogError> {
        let base = &self.layout().base;
        let data = |name: &String| {
            let prefixes = [".deleting-", ".syncing-"];
            let id = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
            Some((BackupId::parse(id)?, base.join(name)))
        };
        let meta = &self.layout().meta;
        let sidecar = |name: &String| {
            let id = BackupId::parse(name.split_once('-')?.0)?;
            let path = meta.join(name);
            let mut ours = self.layout().sidecars(&id);
            ours.push(self.layout().annotation_path(&id, DELETE_THIS));
            ours.contains(&path).then_some((id, path))
        };
        let left_of_data = directory::names(base)?;
        let left_of_metadata = directory::names(meta)?;
        let data = left_of_data.iter().filter_map(data);
        Ok(data.chain(left_of_metadata.iter().filter_map(sidecar)).collect())
    }
}
