//! `barman list-servers`.

use super::failure::Failure;
use super::session::Session;
use crate::output::servers::ServerList;

/// List the servers
#[derive(Debug, clap::Args)]
pub(super) struct ListServers {
    /// List names only
    #[arg(long)]
    minimal: bool,
}

impl ListServers {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.output.show(&ServerList {
            servers: &session.every_server()?,
            minimal: self.minimal,
        });
        Ok(())
    }
}
