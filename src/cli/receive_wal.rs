//! `barman receive-wal`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::archive::receive_wal::{self, IfExists, ReceiveError};
use crate::base::error::strerror;
use crate::base::interrupt::Interrupted;
use crate::base::report::Reporter;
use crate::catalog::processes;
use crate::config::ServerConfig;

/// Receive WAL by streaming replication, until it is stopped
#[derive(Debug, clap::Args)]
pub(super) struct ReceiveWal {
    /// Stop the process that receives WAL of the server
    #[arg(long)]
    stop: bool,
    /// Start over from the position of the server
    #[arg(long)]
    reset: bool,
    /// Create the replication slot
    #[arg(long)]
    create_slot: bool,
    /// With --create-slot: be content with a slot that exists
    #[arg(long)]
    if_not_exists: bool,
    /// Drop the replication slot
    #[arg(long)]
    drop_slot: bool,
    #[command(flatten)]
    server: ServerArgument,
}

impl ReceiveWal {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let setup = self.stop || self.reset || self.create_slot || self.drop_slot;
        let rule = if setup {
            addressing::RECEIVE_WAL_SETUP
        } else {
            addressing::RECEIVE_WAL
        };
        let Some(server) = session.server(&self.server.server_name, rule)? else {
            return Ok(());
        };
        if self.stop && self.reset {
            return Err(Failure::error("--stop and --reset options are not compatible"));
        }
        let (config, overrides) = server.seen_from_wal_host();
        if let Some(line) = overrides {
            session.output.named("barman.config").info(&line);
        }
        if self.stop {
            return stop(session, &config);
        }
        addressing::enabled(server)?;
        session.watch_signals()?;
        let reporter = session.output.named("barman.server");
        let done = if self.create_slot {
            let if_exists = match self.if_not_exists {
                true => IfExists::Skip,
                false => IfExists::Fail,
            };
            receive_wal::create_slot(&config, if_exists, &reporter)
        } else if self.drop_slot {
            receive_wal::drop_slot(&config, &reporter)
        } else if self.reset {
            receive_wal::reset(&config, &reporter)
        } else {
            match receive_wal::receive_wal(&config, &reporter) {
                // That is how it ends.
                Err(ReceiveError::Interrupted(Interrupted::Keyboard)) => Ok(()),
                Err(ReceiveError::Interrupted(Interrupted::Signal(signal))) => {
                    return Err(Failure::reported().code(u8::try_from(128 + signal).unwrap_or(1)));
                }
                other => other,
            }
        };
        done.map_err(Failure::from)
    }
}

fn stop(session: &Session, server: &ServerConfig) -> Result<(), Failure> {
    let running = processes::running(server)?;
    let process = running
        .iter()
        .find(|process| process.task == "receive-wal")
        .ok_or_else(|| {
            Failure::error(format!(
                "Termination of receive-wal failed: no such process for server {}",
                server.name
            ))
        })?;
    let refused = || Failure::error(format!("Cannot terminate process receive-wal({})", process.pid));
    match processes::terminate(process) {
        Ok(true) => {
            let line = format!("Stopped process receive-wal({})", process.pid);
            session.output.named("barman.server").info(&line);
            Ok(())
        }
        Ok(false) => Err(refused()),
        Err(error) => Err(refused().hint(strerror(&error))),
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Failure {
        match error {
            ReceiveError::Interrupted(interrupted) => interrupted.into(),
            ReceiveError::Postgres(error) => error.into(),
            ReceiveError::Ahead { .. } => Failure::error(error.to_string()).hint(
                "the directory of streamed WAL holds WAL that this server has not written: it may be of another \
                 timeline or cluster. Move it aside if it is not needed",
            ),
            other => Failure::error(other.to_string()),
        }
    }
}
