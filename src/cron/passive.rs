//! The part of a passive node: asking the primary node, and starting to copy what it has and this node has not.

use crate::base::report::Reporter;
use crate::catalog::Catalog;
use crate::config::ServerConfig;
use crate::sync::{self, Decision, SyncError, Told, primary};

use super::{Context, CronError, is_held};

/// Asks the primary node; starts to copy the oldest backup that is missing, and WAL. What is being copied goes on.
pub(super) fn synchronise(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let told = match primary::ask(server, catalog, context.configuration, reporter) {
        Ok(told) => told,
        Err(error @ (SyncError::Primary { .. } | SyncError::Transport(_) | SyncError::Answer(_))) => {
            reporter.error(&format!("Failed to retrieve the primary node status: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    copy_backup(context, server, catalog, &told, reporter)?;
    copy_wals(context, server, catalog, &told, reporter)
}

/// One backup at a time, the oldest first: an incremental one comes after its parent.
fn copy_backup(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    told: &Told,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let name = &server.name;
    if told.backups.is_empty() {
        reporter.info(&format!("No backup synchronisation required for server {name}"));
        return Ok(());
    }
    let local = catalog.backups()?;
    for id in told.backups.keys() {
        match sync::decide(catalog, server, told, &local, id)? {
            Decision::Copy(_) => {}
            Decision::Purge(why) | Decision::Nothing(why) => {
                log::debug!(target: "barman.server", "{why}");
                continue;
            }
        }
        if is_held(&catalog.locks().sync_backup_path(id))? {
            reporter.info(&format!(
                "A synchronisation process for backup {id} on server {name} is already in progress"
            ));
        } else {
            reporter.info(&format!("Starting copy of backup {id} for server {name}"));
            let arguments = ["sync-backup", name, id.as_str()];
            context.program.start(context.configuration, &arguments)?;
        }
        return Ok(());
    }
    Ok(())
}

fn copy_wals(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    told: &Told,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let name = &server.name;
    if told.wals.is_empty() {
        reporter.info(&format!("No WAL synchronisation required for server {name}"));
    } else if is_held(&catalog.locks().sync_wal_path())? {
        reporter.info(&format!("WAL synchronisation already running for server {name}"));
    } else {
        reporter.info(&format!("Started copy of WAL files for server {name}"));
        context
            .program
            .start(context.configuration, &["sync-wals", name])?;
    }
    Ok(())
}
