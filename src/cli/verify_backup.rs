//! `barman verify-backup`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;

/// Check the files of a backup against its manifest, with pg_verifybackup
#[derive(Debug, clap::Args)]
pub(super) struct VerifyBackup {
    #[command(flatten)]
    backup: BackupArgument,
}

impl VerifyBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(found) = session.backup(&self.backup, addressing::SHOW)? else {
            return Ok(());
        };
        let (output, name) = (&session.output, &found.server.name);
        let info = found.info()?;
        // Barman shows the server as a Python list, and scripts know the line.
        output.info(&format!(
            "Verifying backup '{}' on server ['{name}']",
            self.backup.backup_id
        ));
        output.info("Calling pg_verifybackup");
        let problems: Vec<String> = match found.catalog.verify(&info, found.workers()) {
            Ok(verification) if verification.mismatches.is_empty() => {
                output.info("backup successfully verified");
                return Ok(());
            }
            Ok(verification) => verification.mismatches.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        output.error(&format!(
            "verify backup failure on directory '{}'",
            found.catalog.data_dir(&found.id).display()
        ));
        // One text, as the stock program writes it to its standard error.
        let said = problems
            .iter()
            .map(|problem| format!("pg_verifybackup: error: {problem}\n"));
        output.error(&said.collect::<String>());
        Err(Failure::reported())
    }
}
