//! `barman export-backup`: arguments only in this version.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Write a backup to a tar file (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ExportBackup {
    /// Compress the tar file
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
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("export-backup"))
    }
}
