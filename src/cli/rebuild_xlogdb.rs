//! `barman rebuild-xlogdb`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::Catalog;

/// Write the database of WAL files anew, from the files in the archive
#[derive(Debug, clap::Args)]
pub(super) struct RebuildXlogdb {
    #[command(flatten)]
    servers: ServersArgument,
}

impl RebuildXlogdb {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.for_servers(&self.servers.server_name, addressing::REBUILD_XLOGDB, |server| {
            let (name, output) = (&server.name, session.output.named("barman.server"));
            let catalog = Catalog::of(server).map_err(|_| {
                Failure::error("Rebuilding xlogdb is not supported for servers using cloud storage")
            })?;
            output.info(&format!("Rebuilding xlogdb for server {name}"));
            let rebuilt = catalog.xlogdb().rebuild()?;
            output.info(&format!(
                "Done rebuilding xlogdb for server {name} (history: {}, backup_labels: {}, wal_file: {})",
                rebuilt.histories, rebuilt.backup_labels, rebuilt.segments
            ));
            Ok(())
        })
    }
}
