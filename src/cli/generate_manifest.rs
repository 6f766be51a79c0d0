//! `barman generate-manifest`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Write the manifest of a backup that has none
#[derive(Debug, clap::Args)]
pub(super) struct GenerateManifest {
    #[command(flatten)]
    backup: BackupArgument,
}

impl GenerateManifest {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("generate-manifest"))
    }
}
