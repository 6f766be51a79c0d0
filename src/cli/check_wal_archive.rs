//! `barman check-wal-archive`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::catalog::Catalog;
use crate::output::wal_archive_check::WalArchiveAnswer;

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
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::CHECK_WAL_ARCHIVE)? else {
            return Ok(());
        };
        let checked = Catalog::of(server)?.check_wal_archive(self.timeline);
        session.output.show(&WalArchiveAnswer {
            server: &server.name,
            fit: checked.is_ok(),
        });
        checked.map_err(|error| {
            Failure::error(format!(
                "WAL archive check failed for server {}: {error}",
                server.name
            ))
        })
    }
}
