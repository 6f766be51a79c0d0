//! `barman check-backup`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::backup::check_backup;
use crate::catalog::Catalog;

/// Check that the WAL files a backup needs are archived, and set its status accordingly
#[derive(Debug, clap::Args)]
pub(super) struct CheckBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl CheckBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.backup.server_name, addressing::CHECK_BACKUP)? else {
            return Ok(());
        };
        let catalog = Catalog::of(server).map_err(|error| Failure::error(error.to_string()))?;
        let id = catalog
            .resolve(&self.backup.backup_id)
            .map_err(|error| Failure::error(error.to_string()))?;
        // A backup that turns out to have failed has been reported as an error, which decides the exit code.
        check_backup(&catalog, &id, &session.output).map_err(|error| Failure::error(error.to_string()))?;
        Ok(())
    }
}
