//! `barman check-wal-archive`.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Check that the WAL archive of a server is fit for a new cluster: that it holds no WAL files yet
#[derive(Debug, clap::Args)]
pub(super) struct CheckWalArchive {
    /// Allow WAL files of earlier timelines than this one
    #[arg(long, value_name = "TIMELINE", value_parser = value::positive, allow_negative_numbers = true)]
    timeline: Option<u32>,
    #[command(flatten)]
    server: ServerArgument,
}

impl CheckWalArchive {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("check-wal-archive"))
    }
}
