//! `barman terminate-process`.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Stop a process that works for a server
#[derive(Debug, clap::Args)]
pub(super) struct TerminateProcess {
    #[command(flatten)]
    server: ServerArgument,
    /// What the process does: backup, archive-wal …, as list-processes shows
    #[arg(value_name = "task")]
    task: String,
}

impl TerminateProcess {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("terminate-process"))
    }
}
