//! `barman sync-info`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Write what a passive node asks for (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct SyncInfo {
    /// Ask the primary node of the server
    #[arg(long)]
    primary: bool,
    #[command(flatten)]
    server: ServerArgument,
    /// The last WAL file that is known already
    #[arg(value_name = "last_wal")]
    last_wal: Option<String>,
    /// Its position in the database of WAL files, in bytes
    #[arg(value_name = "last_position", value_parser = value::positive_offset, allow_negative_numbers = true)]
    last_position: Option<u64>,
}

impl SyncInfo {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("sync-info"))
    }
}
