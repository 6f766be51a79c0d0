//! `barman delete`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::{Deletion, DeletionError};
use crate::hooks::HookRunner;
use crate::output::planned::PlannedDeletion;

/// Delete a backup, and the WAL files that nothing needs then
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Say what would be removed and why, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    backup: BackupArgument,
}

impl Delete {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(found) = session.backup(&self.backup, addressing::DELETE)? else {
            return Ok(());
        };
        let hooks = HookRunner::of_server(found.server, session.config_path()?);
        let output = session.output.named("barman.backup");
        let catalog = if self.dry_run {
            found.catalog.looking_only()
        } else {
            found.catalog.clone()
        };
        let deletion = Deletion::by_operator(&catalog, found.server, &hooks, &output);
        let outcome = if self.dry_run {
            deletion.plan(&found.id).map(|plan| {
                session.output.show(&PlannedDeletion {
                    server: &found.server.name,
                    plan: &plan,
                });
            })
        } else {
            deletion.run(&found.id)
        };
        let Err(error) = outcome else {
            return Ok(());
        };
        match &error {
            DeletionError::Hook(forbidden) => return Err(Failure::exception(forbidden.to_string())),
            DeletionError::Refused(refusal) => session.output.warning(&refusal.to_string()),
            other => session.output.error(&other.to_string()),
        }
        Err(Failure::error(format!(
            "Cannot delete backup ({} {})",
            found.server.name, found.id
        )))
    }
}
