//! `receive-wal`: WAL by streaming replication, received by `pg_receivewal` (behaviour reference §15).
//!
//! One process for each server holds the lock `.{server}-receive-wal.lock`, by which both tools know that it runs, and
//! stays for as long as `pg_receivewal` does. `cron` starts it again. What arrives is moved into the archive by
//! `archive-wal`.
//!
//! With `synchronous_standby_names` naming `streaming_archiver_name`, a commit is acknowledged only after its WAL is on the
//! disk of this host: in complete segments, and in the newest `.partial` one. Nothing here removes such a file.

mod program;
mod readiness;
mod reset;
mod slot;
mod waiting;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::base::durable;
use crate::base::error::PathError;
use crate::base::interrupt::{self, Interrupted};
use crate::base::lock::{LockError, LockFile};
use crate::base::report::Reporter;
use crate::catalog::{Catalog, CatalogError};
use crate::config::{CreateSlot, NotLocal, ServerConfig};
use crate::postgres::client::PgError;
use crate::postgres::conninfo::InvalidConninfo;
use crate::postgres::facts::Facts;
use crate::postgres::replication::{SlotError, is_synchronous};

use super::place::Places;
use program::Ended;
pub use slot::{IfExists, create_slot, drop_slot};
use waiting::Watch;

/// How long a server may take to notice that a receiver has gone.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why WAL is not received, or something about it could not be done. The texts are Barman's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// `streaming_archiver = off`.
    #[error(
        "Unable to start receive-wal process: streaming_archiver option set to 'off' in barman configuration file"
    )]
    Off,
    /// The server does not answer or must not be streamed from. The log says why.
    #[error("Impossible to start WAL streaming. Check the log for more details, or run 'barman check {0}'")]
    NotReady(String),
    /// Another process does it.
    #[error("Another receive-wal process is already running for server {0}.")]
    Running(String),
    /// Another process is receiving, so the position cannot be set.
    #[error("Unable to reset the status of receive-wal for server {0}. Process is still running")]
    StillRunning(String),
    /// The position is one that the server has not reached.
    #[error("The receive-wal position is ahead of PostgreSQL current WAL lsn ({position} > {current})")]
    Ahead {
        /// The newest segment here.
        position: String,
        /// The segment the server writes.
        current: String,
    },
    /// `pg_receivewal` cannot be started, or ended by itself.
    #[error("ArchiverFailure:{0}")]
    Failed(String),
    /// There is nothing to create or drop a slot with, or no name for it.
    #[error("Unable to {action} a physical replication slot: {missing}")]
    NoSlot {
        /// `create` or `drop`.
        action: &'static str,
        /// What the configuration lacks.
        missing: &'static str,
    },
    /// The replication connection cannot be made.
    #[error("Cannot connect to server '{0}'")]
    NoConnection(String),
    /// A slot could not be created or dropped.
    #[error("{}", slot::refusal(.action, .slot, .server, .source))]
    Slot {
        /// `create` or `drop`.
        action: &'static str,
        /// The slot.
        slot: String,
        /// The server.
        server: String,
        /// Why.
        source: SlotError,
    },
    /// The archive is in an object store.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
    /// The connection string cannot be passed on.
    #[error(transparent)]
    Conninfo(#[from] InvalidConninfo),
    /// The connection broke, or the program was asked to stop.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// The identity of the server cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file or directory cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The program was asked to stop. The WAL that has arrived is safe.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Receives WAL until `pg_receivewal` ends or a signal comes. `config` is the server as the WAL host shows it
/// ([`ServerConfig::seen_from_wal_host`]).
///
/// # Errors
/// It cannot be started, or ended by itself. [`ReceiveError::Interrupted`] after a signal.
pub fn receive_wal(config: &ServerConfig, reporter: &dyn Reporter) -> Result<(), ReceiveError> {
    if !config.streaming_archiver {
        return Err(ReceiveError::Off);
    }
    let ready = readiness::ask(config)?;
    reporter.info(&format!("Starting receive-wal for server {}", config.name));
    let _lock = lock(config, ReceiveError::Running)?;
    prepare_slot(config, &ready.facts, reporter)?;
    let streaming = Places::of(config)?.streaming;
    durable::create_dir_all(&streaming)?;
    log::info!(target: "barman.wal_archiver", "Activating WAL archiving through streaming protocol");
    let mut facts = ready.facts;
    loop {
        reset::truncate_damaged(&streaming, facts.xlog_segment_size, reporter)?;
        if let Ended::ByItself = stream(config, &facts, reporter)? {
            return Ok(());
        }
        facts = once_free(config)?;
    }
}

/// The server's facts once it has noticed that the receiver before has gone, which frees the slot.
fn once_free(config: &ServerConfig) -> Result<Facts, ReceiveError> {
    let deadline = Instant::now() + FAREWELL;
    loop {
        let facts = readiness::ask(config)?.facts;
        match check_slot(config, &facts) {
            Ok(()) => return Ok(facts),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {
                interrupt::check()?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Runs `pg_receivewal` until it ends, or commits begin or cease to wait for us.
fn stream(config: &ServerConfig, facts: &Facts, reporter: &dyn Reporter) -> Result<Ended, ReceiveError> {
    let program = program::find(config, facts)?;
    let synchronous = is_synchronous(&facts.synchronous_standby_names, &config.streaming_archiver_name);
    let command = program::command(config, &program, synchronous)?;
    let watch = Watch::start(config, synchronous)?;
    let ended = program::supervise(&config.name, command, || watch.has_changed(), reporter)?;
    if ended == Ended::Outdated {
        let now = if synchronous {
            "no longer names"
        } else {
            "now names"
        };
        let name = &config.streaming_archiver_name;
        log::info!(
            target: "barman.wal_archiver",
            "synchronous_standby_names of server {} {now} {name}: starting pg_receivewal anew",
            config.name
        );
    }
    Ok(ended)
}

/// `receive-wal --reset`: puts the position where streaming begins to where the server can deliver from.
///
/// # Errors
/// The server cannot be asked, a process is receiving, or the position is ahead of the server.
pub fn reset(config: &ServerConfig, reporter: &dyn Reporter) -> Result<(), ReceiveError> {
    if !config.streaming_archiver {
        return Err(ReceiveError::Off);
    }
    let ready = readiness::ask(config)?;
    let _lock = lock(config, ReceiveError::StillRunning)?;
    check_slot(config, &ready.facts)?;
    reset::reset(&Places::of(config)?.streaming, &ready, reporter)
}

fn lock(config: &ServerConfig, busy: impl Fn(String) -> ReceiveError) -> Result<LockFile, ReceiveError> {
    match Catalog::of(config)?.locks().receive_wal() {
        Ok(lock) => Ok(lock),
        Err(LockError::Busy { .. }) => Err(busy(config.name.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Creates the slot when it is missing and `create_slot = auto` says so.
fn prepare_slot(config: &ServerConfig, facts: &Facts, reporter: &dyn Reporter) -> Result<(), ReceiveError> {
    let missing = config
        .slot_name
        .as_ref()
        .filter(|_| facts.replication_slot.is_none());
    if let (Some(name), CreateSlot::Auto) = (missing, config.create_slot) {
        reporter.info(&format!("Creating replication slot '{name}'"));
        return create_slot(config, IfExists::Skip, reporter);
    }
    check_slot(config, facts)
}

/// The slot must exist and be free.
fn check_slot(config: &ServerConfig, facts: &Facts) -> Result<(), ReceiveError> {
    let Some(name) = &config.slot_name else {
        return Ok(());
    };
    match &facts.replication_slot {
        None => Err(ReceiveError::Failed(format!(
            "replication slot '{name}' doesn't exist. Please execute 'barman receive-wal --create-slot {}'",
            config.name
        ))),
        Some(slot) if slot.active => Err(ReceiveError::Failed(format!(
            "replication slot '{name}' is already in use"
        ))),
        Some(_) => Ok(()),
    }
}
