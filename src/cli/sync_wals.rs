//! `barman sync-wals`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::Catalog;
use crate::sync::{SyncError, wals};

/// Copy WAL files from the primary node
#[derive(Debug, clap::Args)]
pub(super) struct SyncWals {
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgument,
}

impl SyncWals {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let Some(server) = session.server(&self.server.server_name, addressing::SYNC)? else {
            return Ok(());
        };
        let (catalog, reporter) = (Catalog::of(server)?, session.output.named("barman.server"));
        let done = if self.dry_run {
            wals::explain(server, &catalog, &reporter)
        } else {
            wals::run(server, &catalog, &reporter)
        };
        done.map_err(|error| match error {
            error @ (SyncError::NotPassive(_) | SyncError::Interrupted(_)) => error.into(),
            // Barman ends its message with a line break of its own.
            error => Failure::error(format!(
                "WAL synchronisation for server {} failed with: {error}\n",
                server.name
            )),
        })
    }
}
