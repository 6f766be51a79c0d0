//! `barman cloud-wal-restore`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Fetch a WAL file from an object store (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct CloudWalRestore {
    /// Look ahead and fetch this many WAL files at the same time
    #[arg(short = 'p', long, value_name = "PARALLEL", value_parser = value::integer, allow_negative_numbers = true)]
    parallel: Option<i64>,
    /// Where WAL files fetched ahead are kept
    #[arg(long, value_name = "SPOOL_DIR")]
    spool_dir: Option<String>,
    #[command(flatten)]
    server: ServerArgument,
    /// The WAL file: what %f stands for in restore_command
    #[arg(value_name = "wal_name")]
    wal_name: String,
    /// Where it goes: what %p stands for in restore_command
    #[arg(value_name = "wal_dest")]
    wal_dest: String,
}

impl CloudWalRestore {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("cloud-wal-restore"))
    }
}
