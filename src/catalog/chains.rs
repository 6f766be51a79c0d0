//! Chains of backups: a full one and the incremental ones that build on it.

use super::{BackupId, BackupInfo, Backups};

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
