//! Making the plan of a merge: whether it may be done, how far it is, and what is left to do.

use chrono::Utc;

use super::parts::Work;
use super::plan::{MergePlan, Stage};
use super::{Merge, MergeError, finish, journal, tree};
use crate::base::calendar::Timestamp;
use crate::catalog::enforcement;
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Backups, chains};

/// Looks at the chain, and says what merging it into `id` would do.
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
