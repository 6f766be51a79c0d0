//! That a merge has begun: from here on it has to be finished.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Merge, MergeError, MergePlan};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::catalog::{BackupId, Catalog, chains};

/// The version of the journal's form.
const VERSION: u64 = 1;
/// What precedes `-barkeep-merge.json` is the id.
const SUFFIX: &str = "-barkeep-merge.json";

/// What the journal of a merge says: the backups that go, the newest first, the full one last.
pub(super) fn read(catalog: &Catalog, id: &BackupId) -> Result<Option<Vec<BackupId>>, MergeError> {
    let path = catalog.layout().merge_path(id);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("read", path, error).into()),
    };
    let damaged = |reason: &str| MergeError::Journal {
        path: path.clone(),
        reason: reason.to_owned(),
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))?;
    if document.get("version") != Some(&json!(VERSION)) {
        return Err(damaged("its version is unknown"));
    }
    let older = document.get("older").and_then(Value::as_array);
    let older = older.ok_or_else(|| damaged("it names no backups"))?;
    older
        .iter()
        .map(|id| id.as_str().and_then(BackupId::parse))
        .collect::<Option<Vec<_>>>()
        .filter(|older| !older.is_empty())
        .map(Some)
        .ok_or_else(|| damaged("it names no backups"))
}

/// Writes the journal, then marks every backup that is about to lose its content. Both may have happened before.
pub(super) fn begin(merge: &Merge<'_>, plan: &MergePlan) -> Result<(), MergeError> {
    let (catalog, server) = (merge.catalog, merge.catalog.server());
    let path = catalog.layout().merge_path(&plan.id);
    let older: Vec<&str> = plan.older.iter().map(BackupId::as_str).collect();
    let document = json!({"version": VERSION, "server": server, "backup": plan.id.as_str(), "older": older});
    let text = crate::base::json::indented(&document)
        .map_err(std::io::Error::other)
        .at("write", &path)?;
    durable::write(&path, text.as_bytes())?;
    // The oldest first: no good backup ever builds on one that is marked, but for those that are merged into.
    for id in plan.older.iter().rev() {
        let Some(mut info) = catalog.load(id)? else {
            continue;
        };
        if !chains::is_being_merged(&info) {
            chains::mark_merging(&mut info, &plan.id, server);
            catalog.save(&info)?;
        }
    }
    Ok(())
}

/// The end.
pub(super) fn end(merge: &Merge<'_>, id: &BackupId) -> Result<(), PathError> {
    durable::remove(&merge.catalog.layout().merge_path(id))
}

/// The backups that others were being merged into when something got in the way, oldest first. Journals of backups that do
/// not exist any more are removed: there is nothing left to do.
///
/// # Errors
/// The catalog cannot be read.
pub fn unfinished(catalog: &Catalog) -> Result<Vec<BackupId>, MergeError> {
    let mut found = BTreeSet::new();
    let meta = &catalog.layout().meta;
    let entries = match fs::read_dir(meta) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new("read directory", meta, error).into()),
    };
    for entry in entries {
        let name: PathBuf = entry.at("read directory", meta)?.file_name().into();
        let id = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(BackupId::parse);
        let Some(id) = id else { continue };
        if catalog.load(&id)?.is_some() {
            found.insert(id);
        } else {
            durable::remove(&catalog.layout().merge_path(&id))?;
        }
    }
    Ok(found.into_iter().collect())
}
