//! Taking an unpacked backup over into the catalog, in an order that makes every crash harmless.
//!
//! First the WAL, file by file and then its entries: WAL of this server harms nobody. Then the metadata, as those of a failed
//! backup that says what to do: from now on the catalog has it, and nobody uses it. Then the annotation that keeps it, the data, what
//! barkeep knows of it, and at last the metadata as they are. Killed at any point, the same import done again begins anew.

use std::fs;
use std::io;
use std::path::Path;

use super::error::ImportError;
use super::unpack::Unpacked;
use super::{RECORDS, SIDECAR};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::catalog::{BackupId, BackupInfo, BackupStatus, Catalog, KeepTarget, WalEntry};

/// What the metadata say as long as an import is not complete.
const UNFINISHED: &str = "import not finished: import this backup again";

/// What is taken over.
#[derive(Debug)]
pub(super) struct Adoption {
    /// The metadata, as they will be.
    pub(super) info: BackupInfo,
    /// WAL that the archive does not have.
    pub(super) wal: Vec<WalEntry>,
    /// WAL that the archive has and its database does not: an import was killed in between.
    pub(super) unrecorded: Vec<WalEntry>,
}

/// Whether these are the metadata of an import that was cut short.
pub(super) fn is_unfinished(info: &BackupInfo) -> bool {
    info.status == BackupStatus::Failed && info.error.as_deref() == Some(UNFINISHED)
}

/// Removes what an import that was cut short has left of a backup.
pub(super) fn clear(catalog: &Catalog, id: &BackupId) -> Result<(), PathError> {
    let layout = catalog.layout();
    let base = layout.base_dir(id);
    match fs::remove_dir_all(&base) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(PathError::new("remove", base, error));
        }
        _ => durable::sync_dir(&layout.base)?,
    }
    durable::remove(&layout.sidecar_path(id))?;
    durable::remove(&layout.records_path(id))?;
    catalog.release_keep(id)?;
    catalog.remove_info(id)
}

/// Takes everything over. Where that fails, nothing is left.
pub(super) fn adopt(catalog: &Catalog, adoption: &Adoption, unpacked: &Unpacked) -> Result<(), ImportError> {
    let done = add_wal(catalog, adoption, unpacked)
        .and_then(|()| add_backup(catalog, &adoption.info, unpacked).map_err(ImportError::from));
    if done.is_err() {
        let id = &adoption.info.id;
        let undone = clear(catalog, id)
            .map_err(ImportError::from)
            .and_then(|()| remove_wal(catalog, &adoption.wal));
        if let Err(error) = undone {
            log::error!(target: "barman.backup", "cannot undo the import of backup {id}: {error}");
        }
    }
    done
}

fn add_wal(catalog: &Catalog, adoption: &Adoption, unpacked: &Unpacked) -> Result<(), ImportError> {
    for entry in &adoption.wal {
        let (Some(target), Some(staged)) = (
            catalog.layout().wal_path(&entry.name),
            unpacked.wals.get(&entry.name),
        ) else {
            continue;
        };
        if let Some(directory) = target.parent() {
            durable::create_dir_all(directory)?;
        }
        place(staged, &target)?;
    }
    let entries: Vec<WalEntry> = adoption.wal.iter().chain(&adoption.unrecorded).cloned().collect();
    catalog.xlogdb().merge(&entries)?;
    Ok(())
}

/// Renames a file, or copies it where the archive is another file system.
fn place(staged: &Path, target: &Path) -> Result<(), PathError> {
    match fs::rename(staged, target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let temporary = durable::sibling(target, ".tmp");
            fs::copy(staged, &temporary).at("copy to", &temporary)?;
            let time = fs::metadata(staged)
                .and_then(|metadata| metadata.modified())
                .at("examine", staged)?;
            let copy = fs::File::options()
                .write(true)
                .open(&temporary)
                .at("open", &temporary)?;
            copy.set_modified(time).at("set the time of", &temporary)?;
            copy.sync_all().at("sync", &temporary)?;
            durable::rename(&temporary, target)
        }
        renamed => {
            renamed.at("rename to", target)?;
            durable::sync_parent(target)
        }
    }
}

fn remove_wal(catalog: &Catalog, entries: &[WalEntry]) -> Result<(), ImportError> {
    if entries.is_empty() {
        return Ok(());
    }
    for entry in entries {
        if let Some(path) = catalog.layout().wal_path(&entry.name) {
            durable::remove(&path)?;
        }
    }
    catalog
        .xlogdb()
        .remove_entries(|line| entries.iter().any(|entry| entry.name == line.name))?;
    Ok(())
}

fn add_backup(catalog: &Catalog, info: &BackupInfo, unpacked: &Unpacked) -> Result<(), PathError> {
    let layout = catalog.layout();
    let id = &info.id;
    let base = layout.base_dir(id);
    link_tablespaces(info, unpacked, &base)?;
    catalog.save(&BackupInfo {
        status: BackupStatus::Failed,
        error: Some(UNFINISHED.to_owned()),
        ..info.clone()
    })?;
    catalog.set_keep_target(id, KeepTarget::Standalone)?;
    durable::rename(&unpacked.data, &base)?;
    for (own, target) in [
        (SIDECAR, layout.sidecar_path(id)),
        (RECORDS, layout.records_path(id)),
    ] {
        if let Some(staged) = unpacked.own.get(own) {
            place(staged, &target)?;
        }
    }
    catalog.save(info)
}

/// Makes the links of the tablespaces that the backup has, to where they will be.
fn link_tablespaces(info: &BackupInfo, unpacked: &Unpacked, base: &Path) -> Result<(), PathError> {
    for tablespace in info.tablespaces.iter().flatten() {
        let oid = tablespace.oid.to_string();
        let Some(link) = unpacked.links.iter().find(|link| link.ends_with(&oid)) else {
            continue;
        };
        let link = unpacked.data.join(link);
        if unpacked.data.join(&oid).is_dir() {
            std::os::unix::fs::symlink(base.join(&oid), &link).at("link", &link)?;
            durable::sync_parent(&link)?;
        }
    }
    Ok(())
}
