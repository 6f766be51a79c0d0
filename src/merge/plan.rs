//! The plan of a merge: whether it may be done, how far it is, and what is left to do.

use std::path::PathBuf;

use chrono::Utc;

use super::parts::{Records, Roots, Work};
use super::tree;
use super::{Merge, MergeError, finish, journal};
use crate::base::calendar::Timestamp;
use crate::catalog::enforcement;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, chains};

/// How far a merge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The files of the full backup are still to be changed.
    Patch,
    /// They are as they should be; the directories are to be exchanged (perhaps they are), and the catalog to be told.
    Exchange,
    /// What is left is to delete the older backups.
    Delete,
}

/// What a merge will do.
#[derive(Debug, Clone)]
pub struct MergePlan {
    /// The backup that becomes a full one.
    pub id: BackupId,
    /// The backups that go, the newest first, the full one last.
    pub older: Vec<BackupId>,
    /// How far it is.
    pub stage: Stage,
    /// It was begun before.
    pub resumed: bool,
    /// What is left of [`Stage::Patch`].
    pub work: Work,
}

impl MergePlan {
    pub(super) fn make(merge: &Merge<'_>, id: &BackupId) -> Result<MergePlan, MergeError> {
        let catalog = merge.catalog;
        let backups = catalog.backups()?;
        let info = backups.get(id).ok_or_else(|| MergeError::Unknown {
            id: id.clone(),
            server: catalog.server().to_owned(),
        })?;
        let begun = journal::read(catalog, id)?;
        let resumed = begun.is_some();
        let older = match begun {
            Some(older) => older,
            None => examine(merge, &backups, info)?,
        };
        let mut plan = MergePlan {
            id: id.clone(),
            older,
            stage: Stage::Patch,
            resumed,
            work: Work::default(),
        };
        plan.stage = finish::stage(merge, &plan, info);
        if plan.stage == Stage::Patch {
            plan.work = tree::measure(&plan.roots(merge), merge.jobs)?;
        }
        Ok(plan)
    }

    /// Every backup that it concerns, the one that stays first.
    pub(super) fn members(&self) -> impl Iterator<Item = &BackupId> {
        std::iter::once(&self.id).chain(&self.older)
    }

    /// The full backup that goes.
    #[must_use]
    pub fn root(&self) -> &BackupId {
        self.older.last().unwrap_or(&self.id)
    }

    pub(super) fn records(&self, merge: &Merge<'_>) -> Records {
        let layout = merge.catalog.layout();
        Records {
            newest: layout.records_path(&self.id),
            root: layout.records_path(self.root()),
        }
    }

    pub(super) fn roots(&self, merge: &Merge<'_>) -> Roots {
        let directory = |id: &BackupId| -> PathBuf { merge.catalog.layout().base_dir(id) };
        Roots {
            members: self.members().map(directory).collect(),
        }
    }
}

/// Whether the chain of a backup may be merged into it, and which backups go.
fn examine(merge: &Merge<'_>, backups: &Backups, info: &BackupInfo) -> Result<Vec<BackupId>, MergeError> {
    let id = &info.id;
    if !info.is_incremental() {
        return Err(MergeError::Full(id.clone()));
    }
    if !info.status.copy_done() {
        return Err(MergeError::Status(id.clone()));
    }
    if info.compression.is_some() || info.encryption.is_some() {
        return Err(MergeError::Shape(id.clone()));
    }
    let members = chains::plain_members(backups, id).map_err(|source| MergeError::Chain {
        id: id.clone(),
        source,
    })?;
    let keeps = merge.catalog.keeps(backups)?;
    let mut above = id;
    for member in members.iter().skip(1) {
        if merge.catalog.layout().merge_path(&member.id).exists() {
            return Err(MergeError::Unfinished(member.id.clone()));
        }
        if keeps.contains_key(&member.id) {
            return Err(MergeError::Kept(member.id.clone()));
        }
        // A failed one is deleted together with what it wanted to build on.
        let other = chains::children(backups, &member.id)
            .find(|child| child.id != *above && child.status != BackupStatus::Failed);
        if let Some(child) = other {
            return Err(MergeError::Branch {
                member: member.id.clone(),
                child: child.id.clone(),
            });
        }
        above = &member.id;
    }
    let older: Vec<BackupId> = members.iter().skip(1).map(|member| member.id.clone()).collect();
    check_window(merge, backups, info, &older)?;
    Ok(older)
}

/// Whether every moment that the retention policy wants to return to can still be restored.
fn check_window(
    merge: &Merge<'_>,
    backups: &Backups,
    info: &BackupInfo,
    older: &[BackupId],
) -> Result<(), MergeError> {
    let policy = enforcement::policy(merge.config);
    let Some((policy, horizon)) = policy.and_then(|policy| Some((policy, policy.horizon(Utc::now())?)))
    else {
        return Ok(());
    };
    let root = older.last().and_then(|id| backups.get(id));
    let (Some(root), Some(to)) = (root, info.end_time) else {
        return Ok(());
    };
    // What is lost are the moments from the end of the full backup to the end of this one.
    let from: Timestamp = root.end_time.unwrap_or(to).max(horizon.fixed_offset());
    let covered = backups.values().any(|other| {
        let stays = other.id != info.id && !older.contains(&other.id) && other.status.copy_done();
        stays && other.end_time.is_some_and(|end| end <= from)
    });
    if from >= to || covered {
        return Ok(());
    }
    Err(MergeError::Window {
        policy: policy.to_string(),
        root: root.id.clone(),
        from,
        to,
    })
}
