//! `barman delete`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Delete a backup, and the WAL files that nothing needs then
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    backup: BackupArgument,
}

impl Delete {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("delete"))
    }
}
