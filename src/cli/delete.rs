//! `barman delete`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::{Deletion, DeletionError};
use crate::hooks::HookRunner;

/// Delete a backup, and the WAL files that nothing needs then
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
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
        let deletion = Deletion::by_operator(&found.catalog, found.server, &hooks, &output);
        let Err(error) = deletion.run(&found.id) else {
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
