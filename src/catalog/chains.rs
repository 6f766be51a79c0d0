//! Chains of backups: a full one and the incremental ones that build on it.

use super::{BackupId, BackupInfo, BackupStatus, Backups};

/// The full backup that the chain of `id` begins with: the backup itself when it is not incremental. `None` when a link
/// is missing (or the links go round in a circle, which only a damaged catalog has).
#[must_use]
pub fn root<'a>(backups: &'a Backups, id: &BackupId) -> Option<&'a BackupInfo> {
    ancestry(backups, id).last().filter(|info| !info.is_incremental())
}

/// The backup, its parent, the parent's parent, and so on, as far as they exist.
pub fn ancestry<'a>(backups: &'a Backups, id: &BackupId) -> impl Iterator<Item = &'a BackupInfo> + use<'a> {
    let up = |info: &&'a BackupInfo| {
        info.parent_backup_id
            .as_ref()
            .and_then(|parent| backups.get(parent))
    };
    // No chain is longer than the catalog.
    std::iter::successors(backups.get(id), up).take(backups.len())
}

/// A chain that cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A member is not in the catalog.
    #[error("backup {child} builds on a backup that the catalog does not have")]
    Gone {
        /// The backup whose parent is missing.
        child: BackupId,
    },
    /// A member is not good.
    #[error("backup {id}, on which it builds, has the status {status}")]
    Status {
        /// The member.
        id: BackupId,
        /// What the catalog says of it.
        status: BackupStatus,
    },
    /// A member has no files that could be read.
    #[error("backup {id}, on which it builds, is compressed or encrypted")]
    Shape {
        /// The member.
        id: BackupId,
    },
}

/// What the metadata of a backup say as long as it is being merged into a newer one of its chain.
const MERGING: &str = "merge not finished: ";

/// Marks a backup as one that is being merged into `target`: no good for itself any more, but `target` and what builds on it
/// can still be put together with it.
pub fn mark_merging(info: &mut BackupInfo, target: &BackupId, server: &str) {
    info.status = BackupStatus::Failed;
    info.error = Some(format!("{MERGING}run \"barman merge {server} {target}\" again"));
}

/// Whether a merge has begun to change this backup.
#[must_use]
pub fn is_being_merged(info: &BackupInfo) -> bool {
    let error = info.error.as_deref().unwrap_or_default();
    info.status == BackupStatus::Failed && error.starts_with(MERGING)
}

/// The backup and all that it builds on, itself first, the full backup last.
///
/// # Errors
/// A member is missing, or cannot be read. The status of the backup itself is not looked at.
pub fn members<'a>(backups: &'a Backups, id: &BackupId) -> Result<Vec<&'a BackupInfo>, BrokenChain> {
    let members: Vec<&BackupInfo> = ancestry(backups, id).collect();
    for member in members.iter().skip(1) {
        let id = member.id.clone();
        // What a merge has changed of an older member does not matter to those that it is merged into.
        if !member.status.copy_done() && !is_being_merged(member) {
            let status = member.status;
            return Err(BrokenChain::Status { id, status });
        }
    }
    match members.last() {
        Some(root) if !root.is_incremental() => Ok(members),
        Some(last) => Err(BrokenChain::Gone {
            child: last.id.clone(),
        }),
        None => Err(BrokenChain::Gone { child: id.clone() }),
    }
}

/// As [`members`], for work that needs the older ones in plain files.
///
/// # Errors
/// As [`members`], and when one is in tar files.
pub fn plain_members<'a>(backups: &'a Backups, id: &BackupId) -> Result<Vec<&'a BackupInfo>, BrokenChain> {
    let members = members(backups, id)?;
    let packed = |member: &&&BackupInfo| member.compression.is_some() || member.encryption.is_some();
    match members.iter().skip(1).find(packed) {
        Some(member) => Err(BrokenChain::Shape {
            id: member.id.clone(),
        }),
        None => Ok(members),
    }
}

/// The incremental backups whose parent is `id`: those that name it as theirs. What the parent says of its children
/// may lag behind after a crash.
pub fn children<'a>(backups: &'a Backups, id: &BackupId) -> impl Iterator<Item = &'a BackupInfo> + use<'a> {
    let id = id.clone();
    backups
        .values()
        .filter(move |info| info.parent_backup_id.as_ref() == Some(&id))
}

/// The backup and everything that builds on it, children before their parents.
#[must_use]
pub fn post_order(backups: &Backups, id: &BackupId) -> Vec<BackupId> {
    let mut order = Vec::new();
    let mut stack = vec![id.clone()];
    while let Some(next) = stack.pop() {
        if order.contains(&next) {
            continue;
        }
        stack.extend(children(backups, &next).map(|child| child.id.clone()));
        order.push(next);
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn catalog(links: &[(&str, Option<&str>)]) -> Backups {
        links
            .iter()
            .map(|(id, parent)| {
                let mut info = BackupInfo::empty(BackupId::from_file_name(id).unwrap());
                info.parent_backup_id = parent.and_then(BackupId::from_file_name);
                (info.id.clone(), info)
            })
            .collect()
    }

    fn id(name: &str) -> BackupId {
        BackupId::from_file_name(name).unwrap()
    }

    #[test]
    fn children_come_before_their_parents() {
        let backups = catalog(&[
            ("a", None),
            ("b", Some("a")),
            ("c", Some("b")),
            ("d", Some("a")),
            ("e", None),
        ]);
        let order: Vec<String> = post_order(&backups, &id("a"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(order, ["c", "b", "d", "a"]);
        assert_eq!(root(&backups, &id("c")).unwrap().id, id("a"));
        assert_eq!(ancestry(&backups, &id("c")).count(), 3);
    }

    #[test]
    fn broken_and_circular_chains_end() {
        let backups = catalog(&[("a", Some("b")), ("b", Some("a")), ("c", Some("gone"))]);
        assert!(root(&backups, &id("a")).is_none());
        assert!(root(&backups, &id("c")).is_none());
        assert_eq!(post_order(&backups, &id("a")).len(), 2);
    }
}
