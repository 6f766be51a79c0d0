//! `barman check-backup`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::backup::{self, CompletionError};
use crate::base::report::Reporter;

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
        match backup::check_backup(&found.catalog, &found.id, &session.output) {
            // What is wrong with the backup has been reported.
            Ok(_) => Ok(()),
            Err(CompletionError::Busy { id, server }) => {
                session.output.info(&format!(
                    "Another process is holding the lock for backup {id} of server {server}."
                ));
                Ok(())
            }
            Err(error) => Err(Failure::error(error.to_string())),
        }
    }
}
