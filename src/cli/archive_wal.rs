//! `barman archive-wal`.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Archive the WAL files that have arrived from a server
#[derive(Debug, clap::Args)]
pub(super) struct ArchiveWal {
    #[command(flatten)]
    server: ServerArgument,
}

impl ArchiveWal {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("archive-wal"))
    }
}
