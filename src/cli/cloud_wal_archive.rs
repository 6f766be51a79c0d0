//! `barman cloud-wal-archive`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Upload a WAL file to an object store (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct CloudWalArchive {
    /// Upload up to this many WAL files at the same time
    #[arg(short = 'p', long, value_name = "PARALLEL", value_parser = value::integer, allow_negative_numbers = true)]
    parallel: Option<i64>,
    #[command(flatten)]
    server: ServerArgument,
    /// The WAL file: what %p stands for in archive_command
    #[arg(value_name = "wal_path")]
    wal_path: String,
}

impl CloudWalArchive {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("cloud-wal-archive"))
    }
}
