//! `barman check-backup`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::CheckBackupError;

/// Check that the WAL files a backup needs are archived, and set its status accordingly
#[derive(Debug, clap::Args)]
pub(super) struct CheckBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl CheckBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(found) = session.backup(&self.backup, addressing::CHECK_BACKUP)? else {
            return Ok(());
        };
        match found.catalog.check_backup(&found.id) {
            Ok(checked) => checked
                .failure()
                .map_or(Ok(()), |reason| Err(Failure::error(reason))),
            Err(busy @ CheckBackupError::Busy { .. }) => {
                session.output.info(&busy.to_string());
                Ok(())
            }
            Err(error) => Err(Failure::error(error.to_string())),
        }
    }
}
