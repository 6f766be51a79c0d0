//! The end of a merge: the directories exchange their names, the catalog learns it, the older backups go.

use std::fs;
use std::path::{Path, PathBuf};

use super::parts::{LABEL, MANIFEST, MARK, RECORDS};
use super::{Merge, MergeError, MergePlan, Stage, journal};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::catalog::{self, BackupId, BackupInfo, Deletion};
use crate::postgres::label;

/// How far a merge is, told from what lies on the disk.
pub(super) fn stage(merge: &Merge<'_>, plan: &MergePlan, info: &BackupInfo) -> Stage {
    // The mark names the backup that the directory is for.
    let marked = |id: &BackupId| {
        fs::read(directory(merge, id).join(MARK)).is_ok_and(|mark| mark == plan.id.as_str().as_bytes())
    };
    if marked(&plan.id) || marked(plan.root()) || aside(merge, plan).exists() {
        Stage::Exchange
    } else if plan.resumed && !info.is_incremental() {
        Stage::Delete
    } else {
        Stage::Patch
    }
}

/// The last changes to the full backup's directory, then the mark that it is complete.
pub(super) fn prepare(merge: &Merge<'_>, plan: &MergePlan) -> Result<(), MergeError> {
    let root = directory(merge, plan.root());
    let manifest = root.join(MANIFEST);
    let old = root.join("data/backup_manifest");
    if manifest.exists() {
        durable::rename(&manifest, &old)?;
    } else {
        durable::remove(&old)?;
    }
    durable::rename(&root.join(LABEL), &root.join("data/backup_label"))?;
    Ok(durable::write(&root.join(MARK), plan.id.as_str().as_bytes())?)
}

/// The chosen backup gets the directory of the full one, and the other way round. Repeated after a crash it does the rest.
pub(super) fn exchange(merge: &Merge<'_>, plan: &MergePlan) -> Result<(), MergeError> {
    let (own, root) = (directory(merge, &plan.id), directory(merge, plan.root()));
    swap(&root, &own, &aside(merge, plan), durable::exchange)?;
    links(&root, &own)
}

/// Exchanges the two directories unless the mark says that it has been done. Where it cannot be done at one moment it takes
/// three renames, by way of `aside`.
fn swap(
    root: &Path,
    own: &Path,
    aside: &Path,
    at_once: impl Fn(&Path, &Path) -> Result<bool, PathError>,
) -> Result<(), PathError> {
    if !aside.exists() && root.join(MARK).exists() && !at_once(root, own)? {
        durable::rename(own, aside)?;
    }
    if aside.exists() {
        if !own.exists() {
            durable::rename(root, own)?;
        }
        durable::rename(aside, root)?;
    }
    Ok(())
}

/// The links to tablespaces lead to those of the backup that they belong to, by its name.
fn links(changed: &Path, own: &Path) -> Result<(), MergeError> {
    for within in ["data/pg_tblspc", "data"] {
        let theirs = match fs::read_dir(changed.join(within)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(PathError::new("read directory", changed.join(within), error).into()),
        };
        let ours = own.join(within);
        for entry in fs::read_dir(&ours).at("read directory", &ours)? {
            let path = entry.at("read directory", &ours)?.path();
            if fs::symlink_metadata(&path).at("look at", &path)?.is_symlink() {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        for entry in theirs {
            let entry = entry.at("read directory", changed.join(within))?;
            if entry.file_type().at("look at", entry.path())?.is_symlink() {
                let target = fs::read_link(entry.path()).at("read", entry.path())?;
                let link = ours.join(entry.file_name());
                std::os::unix::fs::symlink(target, &link).at("link", &link)?;
            }
        }
        durable::sync_dir(&ours)?;
    }
    Ok(())
}

/// The catalog learns that the backup is a full one. Its parent forgets it first: whoever deletes the parent from here on
/// must not take it along.
pub(super) fn record(merge: &Merge<'_>, plan: &MergePlan) -> Result<(), MergeError> {
    let catalog = merge.catalog;
    let gone = || MergeError::Unknown {
        id: plan.id.clone(),
        server: catalog.server().to_owned(),
    };
    let mut info = catalog.load(&plan.id)?.ok_or_else(gone)?;
    if let Some(parent) = &info.parent_backup_id
        && let Some(mut parent) = catalog.load(parent)?
        && let Some(children) = &mut parent.children_backup_ids
    {
        children.retain(|child| *child != plan.id);
        if children.is_empty() {
            parent.children_backup_ids = None;
        }
        catalog.save(&parent)?;
    }
    let own = directory(merge, &plan.id);
    let records = own.join(RECORDS);
    if records.exists() {
        durable::rename(&records, &catalog.layout().records_path(&plan.id))?;
    }
    let sizes = catalog::measure(&own)?;
    info.parent_backup_id = None;
    if let Some(root) = catalog.load(plan.root())? {
        info.mode = root.mode;
    }
    info.backup_label = info
        .backup_label
        .map(|text| String::from_utf8_lossy(&label::as_full(text.as_bytes())).into_owned());
    info.size = Some(sizes.total);
    info.deduplicated_size = Some(sizes.unshared);
    catalog.save(&info)?;
    Ok(durable::remove(&own.join(MARK))?)
}

/// Deletes the backups that are not needed any more, the newest first, as `delete` does, scripts and WAL included.
pub(super) fn delete(merge: &Merge<'_>, plan: &MergePlan) -> Result<(), MergeError> {
    let deletion = Deletion::by_operator(merge.catalog, merge.config, merge.hooks, merge.reporter);
    for id in &plan.older {
        if merge.catalog.load(id)?.is_some() {
            let plan = deletion.plan(id).map_err(Box::new)?;
            deletion.apply(&plan).map_err(Box::new)?;
        } else {
            // All but this may be gone already.
            merge.catalog.end_deletion(id)?;
        }
    }
    // What it shared with them alone is its own now.
    if let Some(mut info) = merge.catalog.load(&plan.id)? {
        let sizes = catalog::measure(&directory(merge, &plan.id))?;
        info.deduplicated_size = Some(sizes.unshared);
        merge.catalog.save(&info)?;
    }
    Ok(journal::end(merge, &plan.id)?)
}

fn directory(merge: &Merge<'_>, id: &BackupId) -> PathBuf {
    merge.catalog.layout().base_dir(id)
}

/// Where the chosen backup's directory is while the names are exchanged in three steps.
fn aside(merge: &Merge<'_>, plan: &MergePlan) -> PathBuf {
    merge.catalog.layout().base.join(format!(".merging-{}", plan.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every state that a crash may leave ends in the same one.
    #[test]
    fn names_are_exchanged_at_once_or_in_three_steps() {
        let base = std::env::temp_dir().join(format!(".barkeep-swap-{}", std::process::id()));
        let (root, own, aside) = (base.join("root"), base.join("own"), base.join("aside"));
        // Which directory has the full backup (with the mark) and which one the other, before.
        for (at_once, marked, other) in [
            (true, &root, &own),
            (false, &root, &own),
            (false, &root, &aside),
            (false, &own, &aside),
            (false, &own, &root),
        ] {
            fs::create_dir_all(marked).unwrap();
            fs::write(marked.join(MARK), "").unwrap();
            fs::create_dir_all(other).unwrap();
            let never = |_: &Path, _: &Path| Ok(false);
            if at_once {
                swap(&root, &own, &aside, durable::exchange).unwrap();
            } else {
                swap(&root, &own, &aside, never).unwrap();
            }
            let story = format!("{} {}", marked.display(), other.display());
            assert!(own.join(MARK).exists() && root.exists(), "{story}");
            assert!(!root.join(MARK).exists() && !aside.exists(), "{story}");
            fs::remove_dir_all(&base).unwrap();
        }
    }
}
