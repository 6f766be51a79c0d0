//! `barman replication-status`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::status::replication::{ReplicationError, ReplicationStatus, Target};

/// Show who streams WAL from servers, and how far each of them is
#[derive(Debug, clap::Args)]
pub(super) struct ShowReplication {
    /// One line for each
    #[arg(long)]
    minimal: bool,
    /// Whom to show: hot-standby, wal-streamer or all
    #[arg(long, value_name = "TARGET", value_parser = ["all", "hot-standby", "wal-streamer"], default_value = "all", hide_possible_values = true)]
    target: String,
    /// Whom to ask: the host that is backed up (backup-host) or the one that WAL is streamed from (wal-host)
    #[arg(long, value_name = "SOURCE", value_parser = ["backup-host", "wal-host"], default_value = "backup-host", hide_possible_values = true)]
    source: String,
    #[command(flatten)]
    servers: ServersArgument,
}

impl ShowReplication {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let target = match self.target.as_str() {
            "hot-standby" => Target::HotStandby,
            "wal-streamer" => Target::WalStreamer,
            _ => Target::All,
        };
        session.for_servers(
            &self.servers.server_name,
            addressing::REPLICATION_STATUS,
            |server| {
                let (seen, overrides) = server.seen_from_wal_host();
                let (config, overrides) = match self.source.as_str() {
                    "wal-host" => (&seen, overrides),
                    _ => (server, None),
                };
                if let Some(line) = overrides {
                    session.output.named("barman.config").info(&line);
                }
                let status = ReplicationStatus::collect(config, target, self.minimal)?;
                session.output.show(&status);
                if status.streams.is_none() {
                    return Err(Failure::error(format!(
                        "Unable to connect to server {}",
                        server.name
                    )));
                }
                Ok(())
            },
        )
    }
}

impl From<ReplicationError> for Failure {
    fn from(error: ReplicationError) -> Failure {
        match error {
            ReplicationError::Postgres(error) => error.into(),
            ReplicationError::Privileges(_) => Failure::exception(error.to_string()),
        }
    }
}
