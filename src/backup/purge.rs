//! The first backup of a server makes all WAL before it useless: it is removed (behaviour reference §43).

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;

use crate::base::error::{PathError, strerror};
use crate::base::report::Reporter;
use crate::catalog::{self, BackupInfo, Catalog, CatalogError, WalEntry};
use crate::config::ServerConfig;
use crate::hooks::{HookError, HookEvent, HookRunner, HookSubject, WalVariables};
use crate::postgres::wal_name::WalKind;

/// Removes the WAL before `info`, unless there is an earlier backup that may need it. `announce` says so.
pub(super) fn purge_before_first(
    catalog: &Catalog,
    config: &ServerConfig,
    hooks: &HookRunner,
    info: &BackupInfo,
    announce: bool,
    reporter: &dyn Reporter,
) -> Result<(), CatalogError> {
    let Some(begin) = info.begin_wal else {
        return Ok(());
    };
    if catalog::previous(&catalog.backups()?, &info.id).is_some() {
        return Ok(());
    }
    let say = |line: &str| {
        if announce {
            reporter.info(line);
        } else {
            log::info!(target: "barman.backup", "{line}");
        }
    };
    say(&format!("This is the first backup for server {}", config.name));
    if config.worm_mode {
        say("'worm_mode' is enabled, skip purging of unused WAL files.");
        return Ok(());
    }
    let useless = entries_before(catalog, &begin.to_string())?;
    if useless.is_empty() {
        return Ok(());
    }
    say("WAL segments preceding the current backup have been found:");
    let mut removed = BTreeSet::new();
    for entry in useless {
        if remove(catalog, hooks, &entry) {
            say(&format!(
                "\t{} from server {} has been removed",
                entry.name, config.name
            ));
            removed.insert(entry.name);
        }
    }
    // After a crash before this the next run finds the entries again, and no file to remove.
    catalog
        .xlogdb()
        .remove_entries(|line| removed.contains(line.name))?;
    Ok(())
}

fn entries_before(catalog: &Catalog, begin: &str) -> Result<Vec<WalEntry>, CatalogError> {
    let mut entries = Vec::new();
    catalog.xlogdb().scan(|line| {
        let history = matches!(WalKind::of(line.name), Some(WalKind::History(_)) | None);
        if !history && line.name < begin {
            entries.extend(line.to_entry());
        }
        Ok::<_, CatalogError>(ControlFlow::Continue(()))
    })?;
    Ok(entries)
}

/// Removes one file between its hooks. A file that has to stay stays, with its entry.
fn remove(catalog: &Catalog, hooks: &HookRunner, entry: &WalEntry) -> bool {
    let Some(path) = catalog.layout().wal_path(&entry.name) else {
        return false;
    };
    let subject = HookSubject::Wal(WalVariables {
        segment: entry.name.clone(),
        file: path.clone(),
        size: entry.size,
        timestamp: catalog::python_literal::float_repr(entry.time),
        compression: entry.compression.clone(),
    });
    match hooks.before(HookEvent::WalDelete, &subject) {
        Ok(()) => {}
        Err(reason @ (HookError::Aborted { .. } | HookError::Interrupted(_))) => {
            log::warn!(target: "barman.backup", "{} stays in the archive: {reason}", entry.name);
            return false;
        }
    }
    let failure = match std::fs::remove_file(&path) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            log::error!(target: "barman.backup", "{}", PathError::new("remove", &path, io::Error::other(strerror(&error))));
            Some(strerror(&error))
        }
    };
    hooks.after(HookEvent::WalDelete, &subject, failure.as_deref());
    failure.is_none()
}
