//! `barman sync-backup`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::Catalog;
use crate::hooks::HookRunner;
use crate::sync::backup::Synchroniser;

/// Copy a backup from the primary node
#[derive(Debug, clap::Args)]
pub(super) struct SyncBackup {
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgument,
    /// The backup: its id
    #[arg(value_name = "backup_id")]
    backup_id: String,
}

impl SyncBackup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(server) = session.server(&self.server.server_name, addressing::SYNC)? else {
            return Ok(());
        };
        let synchroniser = Synchroniser {
            config: server,
            configuration: session.config_path()?,
            catalog: &Catalog::of(server)?,
            hooks: &HookRunner::of_server(server, session.config_path()?),
            reporter: &session.output.named("barman.server"),
        };
        if self.dry_run {
            synchroniser.explain(&self.backup_id)?;
        } else {
            synchroniser.run(&self.backup_id)?;
        }
        Ok(())
    }
}
