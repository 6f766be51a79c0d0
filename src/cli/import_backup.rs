//! `barman import-backup`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Add a backup from a tar file that export-backup wrote (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ImportBackup {
    #[command(flatten)]
    server: ServerArgument,
    /// The tar file
    #[arg(value_name = "input_tarball")]
    input_tarball: String,
}

impl ImportBackup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("import-backup"))
    }
}
