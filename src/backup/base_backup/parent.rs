//! The parent of an incremental backup that PostgreSQL 17 and newer take themselves (behaviour reference §9): they need the
//! parent's manifest, and summaries of all WAL since.

use crate::catalog::{BackupInfo, Backups, Catalog};
use crate::postgres::facts::Facts;

use super::manifest_of;
use crate::backup::error::BackupError;
use crate::backup::manifest;
use crate::backup::parent::{Parent, of_another_cluster};
use crate::backup::run::Run;

/// The first version.
const FIRST: u32 = 17;

/// Why the server cannot take incremental backups now, in Barman's words.
pub(in crate::backup) fn is_possible(facts: &Facts, summarize_wal: Option<&str>) -> Result<(), &'static str> {
    if !facts.version.at_least(FIRST) {
        return Err(
            "Postgres version 17 or greater is required for incremental backups using the Postgres backup method",
        );
    }
    if summarize_wal != Some("on") {
        return Err(
            "'summarize_wal' option has to be enabled in the Postgres server to perform an incremental backup using the \
             Postgres backup method",
        );
    }
    Ok(())
}

/// Why a backup cannot be the parent, as a clause; `None` when nothing speaks against it. Its files are not looked at:
/// they may be compressed and encrypted.
pub(in crate::backup) fn objection(
    catalog: &Catalog,
    facts: &Facts,
    _backups: &Backups,
    info: &BackupInfo,
) -> Option<String> {
    if !info.status.copy_done() {
        return Some(format!("its status is {}", info.status));
    }
    if info.summarize_wal.as_deref() != Some("on") {
        return Some("WAL summaries were not enabled when it was taken".to_owned());
    }
    let data = catalog.data_dir(&info.id);
    of_another_cluster(facts, info).or_else(|| {
        (!manifest::is_of_member(&data)).then(|| {
            format!(
                "\"{}\" is not a manifest that PostgreSQL can build on",
                manifest_of(&data).display()
            )
        })
    })
}

impl Run<'_> {
    /// Makes the backup an incremental one. The catalog has the child before the parent names it: whenever the process ends,
    /// no parent names what does not exist.
    pub(super) fn enter_native_parent(&mut self) -> Result<(), BackupError> {
        match self
            .parent
            .as_ref()
            .and_then(Parent::info)
            .map(|info| info.id.clone())
        {
            Some(id) => self.record_parent(&id),
            None => Ok(()),
        }
    }
}
