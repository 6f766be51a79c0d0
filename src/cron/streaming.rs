//! The process that receives WAL of a server: kept running, stopped, or started anew because the configuration has changed.

use super::{Context, CronError, RECEIVE_WAL, is_held};
use crate::base::error::PathContext;
use crate::base::report::Reporter;
use crate::catalog::{Catalog, processes};
use crate::config::ServerConfig;

/// Why `receive-wal` could not be stopped or started.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RestartError(CronError);

/// Keeps `receive-wal` running, or stopped when streaming is off. One that another tool has started is as good: both know
/// it by its lock.
pub(super) fn keep(
    context: Context<'_>,
    server: &ServerConfig,
    catalog: &Catalog,
    reporter: &dyn Reporter,
) -> Result<(), CronError> {
    if !server.streaming_archiver {
        return stop(server, catalog, reporter);
    }
    if is_held(&catalog.locks().path(RECEIVE_WAL))? {
        log::debug!(
            target: "barman.server",
            "another receive-wal process is already running for server {}", server.name
        );
        return Ok(());
    }
    start(context, server, reporter)
}

/// Has WAL of a server received as its configuration says now: what runs is stopped, and started anew if it is to run.
///
/// # Errors
/// The process cannot be stopped or started. Cron tries again.
pub fn restart(
    context: Context<'_>,
    server: &ServerConfig,
    reporter: &dyn Reporter,
) -> Result<(), RestartError> {
    let act = || -> Result<(), CronError> {
        stop(server, &Catalog::of(server)?, reporter)?;
        if server.streaming_archiver && server.active && !server.disabled && !server.is_passive() {
            start(context, server, reporter)?;
        }
        Ok(())
    };
    act().map_err(RestartError)
}

fn start(context: Context<'_>, server: &ServerConfig, reporter: &dyn Reporter) -> Result<(), CronError> {
    let name = &server.name;
    reporter.heading(&format!("Starting streaming archiver for server {name}"));
    context
        .program
        .start(context.configuration, &[RECEIVE_WAL, name])?;
    Ok(())
}

fn stop(server: &ServerConfig, catalog: &Catalog, reporter: &dyn Reporter) -> Result<(), CronError> {
    let running = processes::running(server)?;
    let Some(process) = running.iter().find(|process| process.task == RECEIVE_WAL) else {
        return Ok(());
    };
    let lock = catalog.locks().path(RECEIVE_WAL);
    if processes::terminate(process).at("stop the owner of", &lock)? {
        reporter.info(&format!("Stopped process receive-wal({})", process.pid));
    } else {
        reporter.error(&format!("Cannot terminate process receive-wal({})", process.pid));
    }
    Ok(())
}
