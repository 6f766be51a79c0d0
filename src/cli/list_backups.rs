//! `barman list-backups`.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;

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
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("list-backups"))
    }
}
