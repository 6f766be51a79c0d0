//! `replication-status`: who streams WAL from a server, and how far each of them is (command reference §6.27).

use crate::config::ServerConfig;
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::may_monitor;
use crate::postgres::lsn::Lsn;
use crate::postgres::replication::{StreamingClient, Streams};

/// Whom to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Everybody.
    All,
    /// Those who replay what they get.
    HotStandby,
    /// Those who only keep it.
    WalStreamer,
}

impl Target {
    /// Barman's words for the group.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Target::All => "streaming clients",
            Target::HotStandby => "hot standby servers",
            Target::WalStreamer => "WAL streamers",
        }
    }

    /// The group's name in JSON.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Target::All => "streaming_clients",
            Target::HotStandby => "hot_standby_servers",
            Target::WalStreamer => "wal_streamers",
        }
    }

    fn includes(self, client: &StreamingClient) -> bool {
        match self {
            Target::All => true,
            Target::HotStandby => is_standby(client),
            Target::WalStreamer => !is_standby(client),
        }
    }
}

/// Whether a client replays what it gets.
#[must_use]
pub fn is_standby(client: &StreamingClient) -> bool {
    client.replayed.is_some()
}

/// What `replication-status` says about one server.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicationStatus {
    /// The server.
    pub server: String,
    /// Whom to show.
    pub target: Target,
    /// One line for each client.
    pub minimal: bool,
    /// What there is to show; `None` when the server cannot be reached.
    pub streams: Option<Streams>,
}

impl ReplicationStatus {
    /// Asks the server.
    ///
    /// # Errors
    /// The user may not see who streams, or the program was asked to stop. A server that cannot be reached is no error.
    pub fn collect(
        config: &ServerConfig,
        target: Target,
        minimal: bool,
    ) -> Result<ReplicationStatus, ReplicationError> {
        let mut status = ReplicationStatus {
            server: config.name.clone(),
            target,
            minimal,
            streams: None,
        };
        let Some(conninfo) = config.usable_conninfo() else {
            return Ok(status);
        };
        let mut session = match Session::connect(conninfo) {
            Ok(session) => session,
            Err(error @ PgError::Interrupted(_)) => return Err(error.into()),
            Err(error) => {
                log::warn!(target: "barman.postgres", "Error retrieving PostgreSQL status: {error}");
                return Ok(status);
            }
        };
        if !may_monitor(&mut session)? {
            return Err(ReplicationError::Privileges(
                session.value("SELECT CURRENT_USER", &[])?.unwrap_or_default(),
            ));
        }
        let mut streams = Streams::gather(&mut session)?;
        streams.clients.retain(|client| target.includes(client));
        status.streams = Some(streams);
        Ok(status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The user may not see what others do.
    #[error(
        "Postgres user '{0}' is missing required privileges (see \"Pre-requisites\" section in the Barman documentation)"
    )]
    Privileges(String),
    /// The connection broke, or the program was asked to stop.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

/// How safe a commit is with a client, in Barman's words: how far the server's position has come on its way there.
#[must_use]
pub fn stage(client: &StreamingClient, current: Option<Lsn>) -> &'static str {
    let reached = |position: Option<Lsn>| position.is_some() && position == current;
    match is_standby(client) {
        true if reached(client.replayed) => "5/5 Hot standby (max)",
        true if reached(client.flushed) => "4/5 2-safe",
        true if reached(client.written) => "3/5 Remote write",
        true if reached(client.sent) => "2/5 WAL Sent (min)",
        true => "1/5 1-safe",
        false if reached(client.written) => "3/3 Remote write",
        false if reached(client.sent) => "2/3 WAL Sent (min)",
        false => "1/3 1-safe",
    }
}

/// How far a position lies behind the server's, in bytes: negative when it does.
#[must_use]
pub fn distance(position: Lsn, current: Option<Lsn>) -> i64 {
    let current = current.unwrap_or(position);
    if position >= current {
        i64::try_from(position.0 - current.0).unwrap_or(i64::MAX)
    } else {
        i64::try_from(current.0 - position.0).map_or(i64::MIN, |bytes| -bytes)
    }
}
