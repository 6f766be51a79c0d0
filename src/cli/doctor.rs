//! `barman doctor`, which Barman does not have.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::check::CheckError;
use crate::doctor::{self, repair};
use crate::output::doctor::Prescription;

/// Say what is wrong with servers, in the order in which to repair it, with the commands
///
/// Looks at the configuration, the directories, cron, ssh, PostgreSQL, its roles, settings and slots, the way of WAL, the backups,
/// the room and the clocks. Nothing is changed, and it works when PostgreSQL or the other host is down: both are given up
/// after ten seconds. The exit code is 0 when there is nothing to do, and 1 otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Create missing directories and remove lock files that nobody holds; show the SQL for the rest in one piece
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    servers: ServersArgument,
}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let configuration = session.config_path()?.to_path_buf();
        session.for_servers(&self.servers.server_name, addressing::SHOW, |server| {
            let repairs = self.fix.then(|| repair::repair(server));
            let diagnosis = doctor::examine(server, &configuration).map_err(|error| match error {
                CheckError::Interrupted(interrupted) => interrupted.into(),
                other => Failure::exception(other.to_string()),
            })?;
            session.output.show(&Prescription {
                diagnosis: &diagnosis,
                repairs: repairs.as_ref(),
            });
            let unrepaired = repairs.is_some_and(|repairs| !repairs.failed.is_empty());
            if unrepaired || !diagnosis.is_healthy() {
                session.output.fail_with(1);
            }
            Ok(())
        })
    }
}
