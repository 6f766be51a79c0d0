//! `barman export-backup`.

use serde_json::json;

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::base::report::Reporter;
use crate::base::{calendar, json};
use crate::status;
use crate::tarball::{self, Export, ExportError};

/// Write a backup to a tar file
#[derive(Debug, clap::Args)]
pub(super) struct ExportBackup {
    /// Compress the tar file: gzip, bzip2 or xz
    #[arg(long, value_name = "COMPRESSION", value_parser = ["gzip", "bzip2", "xz"], hide_possible_values = true)]
    compression: Option<String>,
    /// The level of compression: 1 to 9 for gzip and bzip2, 0 to 9 for xz
    #[arg(long, value_name = "COMPRESSION_LEVEL", value_parser = value::integer, allow_negative_numbers = true)]
    compression_level: Option<i64>,
    #[command(flatten)]
    backup: BackupArgument,
    /// Where the tar file goes
    #[arg(value_name = "output_directory")]
    output_directory: String,
}

impl ExportBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(found) = session.backup(&self.backup, addressing::EXPORT)? else {
            return Ok(());
        };
        let info = found.info()?;
        let asked = &self.backup.backup_id;
        let mut export = Export {
            catalog: &found.catalog,
            info: &info,
            asked,
            directory: &self.output_directory,
            compression: self.compression.as_deref(),
            level: self.compression_level,
            producer: String::new(),
        };
        export.check()?;
        let reporter = session.output.named("barman.backup");
        reporter.info(&format!(
            "Exporting backup '{asked}' from server '{}' to '{}'",
            found.server.name, self.output_directory
        ));
        export.producer = producer()?;
        let path = tarball::export(&export)?;
        reporter.info(&format!("Export completed successfully: {}", path.display()));
        Ok(())
    }
}

/// What wrote the tarball, and when.
fn producer() -> Result<String, Failure> {
    let mut info = status::own_system_info();
    info.insert(
        "timestamp".to_owned(),
        json!(calendar::python_iso(&calendar::now())),
    );
    json::indented(&info).map_err(|error| Failure::exception(error.to_string()))
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::Interrupted(interrupted) => interrupted.into(),
            ExportError::Incremental { .. } => {
                Failure::error(error.to_string()).hint("\"barman merge\" turns it into a full backup")
            }
            ExportError::MissingWal { .. } => Failure::exception(error.to_string()),
            _ => Failure::error(error.to_string()),
        }
    }
}
