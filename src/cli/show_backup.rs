//! `barman show-backup`.

use super::addressing;
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
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(found) = session.backup(&self.backup, addressing::SHOW)? else {
            return Ok(());
        };
        // The backup may have been deleted since it was found.
        let report = found
            .catalog
            .report(found.server, &found.id)?
            .ok_or_else(|| found.gone())?;
        session.output.show(&report);
        Ok(())
    }
}
