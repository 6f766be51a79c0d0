//! `barman generate-manifest`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::GenerateManifestError;

/// Write the manifest of a backup that has none
#[derive(Debug, clap::Args)]
pub(super) struct GenerateManifest {
    #[command(flatten)]
    backup: BackupArgument,
}

impl GenerateManifest {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(found) = session.backup(&self.backup, addressing::GENERATE_MANIFEST)? else {
            return Ok(());
        };
        match found.catalog.generate_manifest(&found.id, found.workers()) {
            // Barman shows the server as a Python list, and scripts know the line.
            Ok(_) => session.output.info(&format!(
                "Backup manifest for backup '{}' successfully generated for server ['{}']",
                self.backup.backup_id, found.server.name
            )),
            Err(exists @ GenerateManifestError::Exists(_)) => {
                return Err(Failure::exception(exists.to_string()));
            }
            Err(error) => return Err(Failure::error(error.to_string())),
        }
        Ok(())
    }
}
