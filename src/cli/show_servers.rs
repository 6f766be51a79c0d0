//! `barman show-servers`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::status::ServerSettings;

/// Show the configuration of servers, and what PostgreSQL says
#[derive(Debug, clap::Args)]
pub(super) struct ShowServers {
    #[command(flatten)]
    servers: ServersArgument,
}

impl ShowServers {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.for_servers(&self.servers.server_name, addressing::SHOW, |server| {
            session.output.show(&ServerSettings::collect(server)?);
            Ok(())
        })
    }
}
