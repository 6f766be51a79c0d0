//! `barman sync-wals`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Copy WAL files from the primary node (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct SyncWals {
    #[command(flatten)]
    server: ServerArgument,
}

impl SyncWals {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("sync-wals"))
    }
}
