//! `barman sync-backup`: arguments only in this version.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Copy a backup from the primary node (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct SyncBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl SyncBackup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("sync-backup"))
    }
}
