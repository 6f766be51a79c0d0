//! `barman status`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use crate::status::Overview;

/// Show the state of servers and of their backups
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    servers: ServersArgument,
}

impl Status {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.for_servers(&self.servers.server_name, addressing::SHOW, |server| {
            session.output.show(&Overview::collect(server)?);
            Ok(())
        })
    }
}
