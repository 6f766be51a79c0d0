//! `barman terminate-process`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::base::error::strerror;
use crate::base::report::Reporter;
use crate::catalog::processes;

/// Stop a process that works for a server
#[derive(Debug, clap::Args)]
pub(super) struct TerminateProcess {
    #[command(flatten)]
    server: ServerArgument,
    /// What the process does: backup, archive-wal, receive-wal, sync-backup or sync-wal, as list-processes shows
    #[arg(value_name = "task")]
    task: String,
}

impl TerminateProcess {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::PROCESSES)? else {
            return Ok(());
        };
        let task = &self.task;
        let running = processes::running(server)?;
        let process = running
            .iter()
            .find(|process| process.task == *task)
            .ok_or_else(|| {
                Failure::error(format!(
                    "Termination of {task} failed: no such process for server {}",
                    server.name
                ))
            })?;
        match processes::terminate(process) {
            Ok(true) => {
                session
                    .output
                    .info(&format!("Stopped process {task}({})", process.pid));
                Ok(())
            }
            Ok(false) => Err(Failure::error(format!(
                "Cannot terminate process {task}({})",
                process.pid
            ))),
            Err(error) => Err(
                Failure::error(format!("Cannot terminate process {task}({})", process.pid))
                    .hint(strerror(&error)),
            ),
        }
    }
}
