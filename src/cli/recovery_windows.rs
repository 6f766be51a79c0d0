//! `barman recovery-windows`, which Barman does not have.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::Catalog;
use crate::output::recovery_windows::WindowsAnswer;
use crate::recovery::windows::survey;

/// Show the intervals that servers can be recovered to, by backup and timeline, and the gaps in their WAL archives
///
/// An interval begins where its backup ended, or its timeline began, and ends with the last segment before the first one
/// that is missing. The times are those at which PostgreSQL closed the segments. WAL that waits in the incoming directory
/// counts as archived; WAL that no backup needs is never missing. The exit code is 1 when there is a gap.
#[derive(Debug, clap::Args)]
pub(super) struct RecoveryWindows {
    #[command(flatten)]
    servers: ServersArgument,
}

impl RecoveryWindows {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.for_servers(&self.servers.server_name, addressing::SHOW, |server| {
            let catalog = Catalog::of(server)?;
            let (backups, unreadable) = catalog.readable_backups()?;
            let survey =
                survey(server, &catalog, &backups).map_err(|error| Failure::error(error.to_string()))?;
            session.output.show(&WindowsAnswer {
                server: &server.name,
                survey: &survey,
            });
            for error in unreadable {
                session.output.error_line(&error.to_string());
            }
            if !survey.gaps.is_empty() || !survey.unreadable.is_empty() {
                session.output.fail_with(1);
            }
            Ok(())
        })
    }
}
