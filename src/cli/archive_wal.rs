//! `barman archive-wal`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::archive::{Announce, ArchiveError, archive_wal};
use crate::hooks::HookRunner;

/// Archive the WAL files that have arrived from a server
#[derive(Debug, clap::Args)]
pub(super) struct ArchiveWal {
    #[command(flatten)]
    server: ServerArgument,
}

impl ArchiveWal {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::ARCHIVE_WAL)? else {
            return Ok(());
        };
        let hooks = HookRunner::of_server(server, session.config_path()?);
        // Files that could not be archived have been reported as errors, which decide the exit code.
        archive_wal(
            server,
            &hooks,
            Announce::Always,
            &session.output.named("barman.wal_archiver"),
        )
        .map_err(|error| match error {
            ArchiveError::NotAccessible { .. } => Failure::error(error.to_string()),
            _ => Failure::exception(error.to_string()),
        })?;
        Ok(())
    }
}
