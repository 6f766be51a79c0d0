//! `barman list-servers`.

use super::failure::Failure;
use super::session::Session;

/// List the servers
#[derive(Debug, clap::Args)]
pub(super) struct ListServers {
    /// List names only
    #[arg(long)]
    minimal: bool,
}

impl ListServers {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("list-servers"))
    }
}
