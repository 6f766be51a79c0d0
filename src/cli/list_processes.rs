//! `barman list-processes`.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// List the processes that work for a server
#[derive(Debug, clap::Args)]
pub(super) struct ListProcesses {
    #[command(flatten)]
    server: ServerArgument,
}

impl ListProcesses {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("list-processes"))
    }
}
