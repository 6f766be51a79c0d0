//! `barman import-backup`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::archive::wal_codec;
use crate::base::report::Reporter;
use crate::catalog::Catalog;
use crate::tarball::{self, Import, ImportError};

/// Add a backup from a tar file that export-backup wrote
///
/// The directory of the server must have identity.json, which its first backup writes. Where the server
/// is lost, it can be taken from the tar file: tar -xOf TARBALL identity.json > DIRECTORY/identity.json
#[derive(Debug, clap::Args)]
pub(super) struct ImportBackup {
    #[command(flatten)]
    server: ServerArgument,
    /// The tar file
    #[arg(value_name = "input_tarball")]
    input_tarball: String,
}

impl ImportBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(server) = session.server(&self.server.server_name, addressing::IMPORT)? else {
            return Ok(());
        };
        let catalog = Catalog::of(server)?;
        let codec = wal_codec(server);
        let import = Import {
            catalog: &catalog,
            codec: &codec,
            tarball: &self.input_tarball,
        };
        import.check()?;
        let reporter = session.output.named("barman.backup");
        reporter.info(&format!(
            "Importing backup from '{}' to server '{}'",
            self.input_tarball, server.name
        ));
        let id = tarball::import(&import, &reporter)?;
        reporter.info(&format!(
            "Successfully imported backup '{id}' into server '{}'",
            server.name
        ));
        Ok(())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Failure {
        match error {
            ImportError::Interrupted(interrupted) => interrupted.into(),
            ImportError::Content(_) => Failure::exception(error.to_string()),
            _ => Failure::error(error.to_string()),
        }
    }
}
