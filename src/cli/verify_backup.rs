//! `barman verify-backup`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::codec_of_base_backups;

/// Check the files of a backup against its manifest, and its pages against their checksums
#[derive(Debug, clap::Args)]
pub(super) struct VerifyBackup {
    /// Read this many files at the same time; parallel_jobs of the configuration, if nothing is said
    #[arg(long, short = 'j', value_name = "NJOBS", value_parser = super::value::positive, allow_negative_numbers = true)]
    jobs: Option<u32>,
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
        let jobs = self.jobs.and_then(|jobs| usize::try_from(jobs).ok());
        let verified = found.catalog.verify(
            &info,
            jobs.unwrap_or(found.workers()),
            &codec_of_base_backups(found.server),
        );
        let problems: Vec<(&str, String)> = match &verified {
            Ok(verification) if verification.mismatches.is_empty() => {
                output.info("backup successfully verified");
                return Ok(());
            }
            Ok(verification) => {
                let mismatches = verification.mismatches.iter();
                mismatches
                    .map(|mismatch| (mismatch.program(), mismatch.to_string()))
                    .collect()
            }
            Err(error) => vec![("pg_verifybackup", error.to_string())],
        };
        output.error(&format!(
            "verify backup failure on directory '{}'",
            found.catalog.data_dir(&found.id).display()
        ));
        // One text, as the stock programs write it to their standard error.
        let said = problems
            .iter()
            .map(|(program, problem)| format!("{program}: error: {problem}\n"));
        output.error(&said.collect::<String>());
        Err(Failure::reported())
    }
}
