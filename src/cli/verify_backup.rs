//! `barman verify-backup`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Check the files of a backup against its manifest, with pg_verifybackup
#[derive(Debug, clap::Args)]
pub(super) struct VerifyBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl VerifyBackup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("verify-backup"))
    }
}
