//! `barman list-backups`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::Catalog;
use crate::output::backup_list::BackupList;

/// List the backups of servers
#[derive(Debug, clap::Args)]
pub(super) struct ListBackups {
    /// List ids only
    #[arg(long)]
    minimal: bool,
    #[command(flatten)]
    servers: ServersArgument,
}

impl ListBackups {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.for_servers(&self.servers.server_name, addressing::SHOW, |server| {
            let listing = Catalog::of(server)?.list(server)?;
            session.output.show(&BackupList {
                server: &server.name,
                backups: &listing.backups,
                minimal: self.minimal,
            });
            for error in listing.unreadable {
                session.output.error(&error.to_string());
            }
            Ok(())
        })
    }
}
