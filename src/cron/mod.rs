//! `cron`: the maintenance that is due, once a minute (behaviour reference §21).
//!
//! Archiving, receiving WAL and the completion of backups are left to processes of their own, so that a slow server does not keep the
//! others waiting; retention policies are enforced here. A lock for each server keeps two runs apart.

mod child;
mod foresight;
mod passive;
pub mod streaming;

use std::path::Path;

use crate::base::interrupt::{self, Interrupted};
use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::catalog::{self, BackupStatus, Catalog, CatalogError, locks};
use crate::config::{MainConfig, ServerConfig};
use crate::hooks::HookRunner;
use crate::merge;

pub use child::Program;
pub use foresight::{Forecast, foresee};

/// The command, and the ending of its lock's name.
const RECEIVE_WAL: &str = "receive-wal";

/// What a run works with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// `[barman]`.
    pub main: &'a MainConfig,
    /// The main configuration file.
    pub configuration: &'a Path,
    /// How to start this program again.
    pub program: &'a Program,
}

/// Why the maintenance of one server could not be done.
#[derive(Debug, thiserror::Error)]
enum CronError {
    #[error(transparent)]
    NotLocal(#[from] crate::config::NotLocal),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Path(#[from] crate::base::error::PathError),
    #[error(transparent)]
    Sync(#[from] crate::sync::SyncError),
    #[error(transparent)]
    Merge(#[from] Box<merge::MergeError>),
    #[error(transparent)]
    Child(#[from] crate::base::process::SpawnError),
}

/// Does the maintenance of `servers`, in their order, after naming those that it leaves out. What goes wrong with one is reported and
/// keeps none of the others.
///
/// # Errors
/// The run was asked to stop.
pub fn run(
    context: Context<'_>,
    servers: &[&ServerConfig],
    reporter: &dyn Reporter,
) -> Result<(), Interrupted> {
    let left_out = servers.iter().copied().filter_map(skipped);
    left_out.for_each(|line| reporter.info(&line));
    let due = servers.iter().filter(|server| skipped(server).is_none());
    for server in due {
        interrupt::check()?;
        if let Err(error) = maintain(context, server, reporter) {
            log::error!(target: "barman.server", "cron on server '{}' failed: {error}", server.name);
            reporter.exception(&format!(
                "Unable to run cron on server '{}', please look in the barman log file for more details.\n\
                 DETAILS: {error}",
                server.name
            ));
        }
    }
    clean_locks(context.main);
    Ok(())
}

/// The line about a server that is left out.
fn skipped(server: &ServerConfig) -> Option<String> {
    let name = &server.name;
    match (server.active, server.disabled) {
        (false, _) => Some(format!("Skipping inactive server '{name}'")),
        (true, true) => Some(format!("Skipping temporarily disabled server '{name}'")),
        (true, false) => None,
    }
}

fn maintain(context: Context<'_>, server: &ServerConfig, reporter: &dyn Reporter) -> Result<(), CronError> {
    let name = &server.name;
    let catalog = Catalog::of(server)?;
    let _lock = match catalog.locks().cron() {
        Ok(lock) => lock,
        Err(LockError::Busy { .. }) => {
            reporter.info(&format!(
                "Another cron process is already running on server {name}. Skipping to the next server"
            ));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if let (_, Some(line)) = server.seen_from_wal_host() {
        reporter.info(&line);
    }
    if server.is_passive() {
        passive::synchronise(context, server, &catalog, reporter)?;
    } else {
        start_archiving(context, server, &catalog, reporter)?;
        streaming::keep(context, server, &catalog, reporter)?;
    }
    complete_oldest(context, server, &catalog, reporter)?;
    catalog.remove_leftovers()?;
    finish_merges(context, server, &catalog, reporter)?;
    let hooks = HookRunner::of_server(server, context.configuration);
    catalog::enforcement::enforce(&catalog, server, &hooks, reporter)?;
    Ok(())
}

fn start_archiving(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let name = &server.name;
    if is_held(&catalog.locks().path("archive-wal"))? {
        reporter.info(&format!(
            "Another archive-wal process is already running on server {name}. Skipping to the next server"
        ));
        return Ok(());
    }
    reporter.heading(&format!("Starting WAL archiving for server {name}"));
    context
        .program
        .start(context.configuration, &["archive-wal", name])?;
    Ok(())
}

/// Has the oldest backup that waits for WAL checked.
fn complete_oldest(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let backups = catalog.backups()?;
    let waiting = backups
        .values()
        .find(|info| info.status == BackupStatus::WaitingForWals);
    let Some(info) = waiting else { return Ok(()) };
    if is_held(&catalog.locks().backup_id_path(&info.id))? {
        return Ok(());
    }
    reporter.heading(&format!(
        "Starting check-backup for backup {} of server {}",
        info.id, server.name
    ));
    let arguments = ["check-backup", &server.name, info.id.as_str()];
    context.program.start(context.configuration, &arguments)?;
    Ok(())
}

/// Has merges finished that were cut short, in a process of its own: it may take long. One that is being done right now
/// holds its locks.
fn finish_merges(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    let Some(id) = merge::unfinished(catalog).map_err(Box::new)?.into_iter().next() else {
        return Ok(());
    };
    if is_held(&catalog.locks().path("backup"))? {
        return Ok(());
    }
    reporter.info(&format!(
        "Starting to finish the merge into backup {id} of server {}",
        server.name
    ));
    let arguments = ["merge", &server.name, id.as_str()];
    context.program.start(context.configuration, &arguments)?;
    Ok(())
}

fn is_held(lock: &Path) -> Result<bool, LockError> {
    LockFile::is_held(lock)
}

fn clean_locks(main: &MainConfig) {
    if !main.lock_directory_cleanup {
        return;
    }
    match locks::clean(&main.barman_lock_directory) {
        Ok(cleaned) => {
            for error in cleaned.failed {
                log::warn!(target: "barman.server", "{error}");
            }
        }
        Err(error) => log::warn!(target: "barman.server", "{error}"),
    }
}
