//! `barman check-backup`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Check that the WAL files a backup needs are archived, and set its status accordingly
#[derive(Debug, clap::Args)]
pub(super) struct CheckBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl CheckBackup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("check-backup"))
    }
}
