//! `barman sync-info`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::base::json;
use crate::catalog::Catalog;
use crate::output;
use crate::sync::{self, Since, SyncError, holding, primary};

/// Write what a passive node asks for: the complete backups, the WAL files and the configuration of a server, as JSON
#[derive(Debug, clap::Args)]
pub(super) struct SyncInfo {
    /// Ask the primary node of the server
    #[arg(long)]
    primary: bool,
    /// Keep this backup from being deleted until the standard input ends
    #[arg(long, value_name = "BACKUP_ID", hide = true, conflicts_with = "primary")]
    hold: Option<String>,
    #[command(flatten)]
    server: ServerArgument,
    /// The last WAL file that is known already
    #[arg(value_name = "last_wal")]
    last_wal: Option<String>,
    /// Its position in the database of WAL files, in bytes
    #[arg(value_name = "last_position", value_parser = value::positive_offset, allow_negative_numbers = true)]
    last_position: Option<u64>,
}

impl SyncInfo {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::SYNC_INFO)? else {
            return Ok(());
        };
        if let Some(id) = self.hold {
            let catalog = Catalog::of(server)?;
            let id = catalog.resolve(&id)?;
            return Ok(holding::hold(
                &catalog,
                &id,
                std::io::stdin(),
                session.output.bytes()?,
            )?);
        }
        if self.primary {
            let text = primary::ask_for_everything(server, session.config_path()?)?;
            session.output.document(&text);
            return Ok(());
        }
        let since = self.last_wal.map(|wal| Since {
            wal,
            position: self.last_position,
        });
        let document = sync::report(server, since.as_ref())?;
        let text = json::indented(&document).map_err(|error| Failure::exception(error.to_string()))?;
        session.output.plain(&output::redacted(&text));
        Ok(())
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Failure {
        match error {
            SyncError::Interrupted(interrupted) => interrupted.into(),
            other => Failure::error(other.to_string()),
        }
    }
}
