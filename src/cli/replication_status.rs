//! `barman replication-status`: arguments only in this version.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;

/// Show who streams WAL from servers (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ReplicationStatus {
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

impl ReplicationStatus {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("replication-status"))
    }
}
