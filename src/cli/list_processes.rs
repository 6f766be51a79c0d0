//! `barman list-processes`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::processes;
use crate::output::processes::ProcessList;

/// List the processes that work for a server
#[derive(Debug, clap::Args)]
pub(super) struct ListProcesses {
    #[command(flatten)]
    server: ServerArgument,
}

impl ListProcesses {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::PROCESSES)? else {
            return Ok(());
        };
        session.output.show(&ProcessList {
            server: &server.name,
            processes: &processes::running(server)?,
        });
        Ok(())
    }
}
