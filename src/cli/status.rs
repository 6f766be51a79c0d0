//! `barman status`.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;

/// Show the state of servers and of their backups
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    servers: ServersArgument,
}

impl Status {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("status"))
    }
}
