//! `barman show-backup`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Show everything about a backup
#[derive(Debug, clap::Args)]
pub(super) struct ShowBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl ShowBackup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("show-backup"))
    }
}
