//! `barman show-servers`.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;

/// Show the configuration of servers, and what PostgreSQL says
#[derive(Debug, clap::Args)]
pub(super) struct ShowServers {
    #[command(flatten)]
    servers: ServersArgument,
}

impl ShowServers {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("show-servers"))
    }
}
