//! `barman receive-wal`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Receive WAL by streaming replication (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ReceiveWal {
    /// Stop the process that receives WAL of the server
    #[arg(long)]
    stop: bool,
    /// Start over from the position of the server
    #[arg(long)]
    reset: bool,
    /// Create the replication slot
    #[arg(long)]
    create_slot: bool,
    /// With --create-slot: be content with a slot that exists
    #[arg(long)]
    if_not_exists: bool,
    /// Drop the replication slot
    #[arg(long)]
    drop_slot: bool,
    #[command(flatten)]
    server: ServerArgument,
}

impl ReceiveWal {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("receive-wal"))
    }
}
