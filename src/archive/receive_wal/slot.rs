//! Creating and dropping the replication slot by which the server keeps the WAL that has not arrived yet.

use crate::base::report::Reporter;
use crate::config::ServerConfig;
use crate::postgres::client::{PgError, Session};
use crate::postgres::replication::{self, SlotError};

use super::ReceiveError;

/// What to make of a slot that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// An error.
    Fail,
    /// Be content with it.
    Skip,
}

/// Creates the slot `slot_name`.
///
/// # Errors
/// The server cannot be reached or refuses.
pub fn create_slot(
    config: &ServerConfig,
    if_exists: IfExists,
    reporter: &dyn Reporter,
) -> Result<(), ReceiveError> {
    let (mut session, slot) = connect(config, "create")?;
    reporter.info(&format!(
        "Creating physical replication slot '{slot}' on server '{}'",
        config.name
    ));
    match replication::create_slot(&mut session, slot) {
        Ok(()) => {
            log::info!(target: "barman.postgres", "Replication slot '{slot}' successfully created");
            reporter.info(&format!("Replication slot '{slot}' created"));
        }
        Err(SlotError::Exists) if if_exists == IfExists::Skip => reporter.info(&format!(
            "Replication slot '{slot}' already exists and --if-not-exists was specified. Skipping creation"
        )),
        Err(source) => return Err(failed(config, "create", slot, source)),
    }
    Ok(())
}

/// Drops the slot `slot_name`: the server no longer keeps WAL for us.
///
/// # Errors
/// The server cannot be reached or refuses.
pub fn drop_slot(config: &ServerConfig, reporter: &dyn Reporter) -> Result<(), ReceiveError> {
    let (mut session, slot) = connect(config, "drop")?;
    reporter.info(&format!(
        "Dropping physical replication slot '{slot}' on server '{}'",
        config.name
    ));
    replication::drop_slot(&mut session, slot).map_err(|source| failed(config, "drop", slot, source))?;
    reporter.info(&format!("Replication slot '{slot}' dropped"));
    Ok(())
}

/// The replication connection and the slot's name.
fn connect<'a>(config: &'a ServerConfig, action: &'static str) -> Result<(Session, &'a str), ReceiveError> {
    let missing = |missing| ReceiveError::NoSlot { action, missing };
    let conninfo = config
        .usable_streaming_conninfo()
        .ok_or_else(|| missing("streaming connection not configured"))?;
    let session = match Session::connect_replication(conninfo, &config.streaming_archiver_name) {
        Ok(session) => session,
        Err(error @ PgError::Interrupted(_)) => return Err(error.into()),
        Err(error) => {
            log::error!(target: "barman.postgres", "cannot connect to server '{}': {error}", config.name);
            return Err(ReceiveError::NoConnection(config.name.clone()));
        }
    };
    let slot = config
        .slot_name
        .as_ref()
        .ok_or_else(|| missing("slot_name configuration option required"))?;
    Ok((session, &slot.0))
}

fn failed(config: &ServerConfig, action: &'static str, slot: &str, source: SlotError) -> ReceiveError {
    match source {
        SlotError::Server(error @ PgError::Interrupted(_)) => error.into(),
        source => ReceiveError::Slot {
            action,
            slot: slot.to_owned(),
            server: config.name.clone(),
            source,
        },
    }
}

/// Why the server refused, in Barman's words where it has some.
pub(super) fn refusal(action: &str, slot: &str, server: &str, source: &SlotError) -> String {
    match source {
        SlotError::Exists => format!("Replication slot '{slot}' already exists"),
        SlotError::Missing => format!("Replication slot '{slot}' does not exist"),
        SlotError::InUse => {
            format!("Cannot {action} replication slot '{slot}' on server '{server}' because it is in use.")
        }
        SlotError::Full => format!(
            "All replication slots for server '{server}' are in use\n\
             Free one or increase the max_replication_slots value on your PostgreSQL server."
        ),
        SlotError::Server(error) => {
            format!("Cannot {action} replication slot '{slot}' on server '{server}': {error}")
        }
    }
}
