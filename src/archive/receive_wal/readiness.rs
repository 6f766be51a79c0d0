//! Whether a server can be streamed from, and is the right one.

use crate::catalog::Catalog;
use crate::config::ServerConfig;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::Facts;
use crate::postgres::streaming::StreamingFacts;
use crate::postgres::wal_name::Timeline;

use super::ReceiveError;

/// A server that can be streamed from.
#[derive(Debug)]
pub(super) struct Ready {
    /// What it says of itself.
    pub(super) facts: Facts,
    /// The timeline it is on.
    pub(super) timeline: Option<Timeline>,
}

/// Asks the server.
///
/// # Errors
/// [`ReceiveError::NotReady`] when it does not answer, its user may not monitor, it writes too little WAL, or it is not
/// the server whose WAL the archive has. The log says which.
pub(super) fn ask(config: &ServerConfig) -> Result<Ready, ReceiveError> {
    match answer(config)? {
        Ok(ready) => Ok(ready),
        Err(reason) => {
            log::error!(target: "barman.server", "cannot stream WAL of server '{}': {reason}", config.name);
            Err(ReceiveError::NotReady(config.name.clone()))
        }
    }
}

/// The answer, or the reason why there is none.
fn answer(config: &ServerConfig) -> Result<Result<Ready, String>, ReceiveError> {
    let Some((conninfo, streaming_conninfo)) =
        config.usable_conninfo().zip(config.usable_streaming_conninfo())
    else {
        return Ok(Err(
            "it is not in use, or its connection strings are not well formed".to_owned(),
        ));
    };
    let slot = config.slot_name.as_ref().map(|slot| slot.0.as_str());
    let answer = Session::connect(conninfo).and_then(|mut session| Facts::gather(&mut session, slot));
    let facts = match answer {
        Ok(facts) => facts,
        Err(error @ PgError::Interrupted(_)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if !facts.version_supported {
        return Ok(Err(format!("PostgreSQL {} is too old", facts.version)));
    }
    if !facts.has_monitoring_privileges {
        return Ok(Err(
            "its user may not use PostgreSQL's monitoring functions".to_owned()
        ));
    }
    let streaming = StreamingFacts::gather(streaming_conninfo, &config.streaming_archiver_name)?;
    if streaming.streaming != Some(true) {
        let reason = streaming.connection_error.unwrap_or_default();
        return Ok(Err(format!("there is no replication connection: {reason}")));
    }
    if facts.setting("wal_level") == Some("minimal") {
        return Ok(Err("wal_level is minimal".to_owned()));
    }
    let timeline = streaming.timeline.as_deref().and_then(|text| text.parse().ok());
    Ok(coherent(config, &facts, &streaming)?.map(|()| Ready { facts, timeline }))
}

/// Both connections lead to the server whose backups these are.
fn coherent(
    config: &ServerConfig,
    facts: &Facts,
    streaming: &StreamingFacts,
) -> Result<Result<(), String>, ReceiveError> {
    let Some(systemid) = streaming.systemid.as_ref().or(facts.systemid.as_ref()) else {
        return Ok(Ok(()));
    };
    if facts.systemid.as_ref().is_some_and(|other| other != systemid) {
        return Ok(Err(
            "its two connection strings lead to different servers".to_owned()
        ));
    }
    let known = Catalog::of(config)?.identity()?;
    match known.and_then(|identity| identity.systemid) {
        Some(known) if known != *systemid => Ok(Err(format!(
            "it is another cluster (system identifier {systemid}) than the one that was backed up ({known})"
        ))),
        _ => Ok(Ok(())),
    }
}
