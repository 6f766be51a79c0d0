//! `barman switch-wal`.

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::backup::{SwitchOptions, switch_wal};

/// Make PostgreSQL close the current WAL file
#[derive(Debug, clap::Args)]
pub(super) struct SwitchWal {
    /// Issue a checkpoint before, so that there is something to close
    #[arg(long)]
    force: bool,
    /// Wait until the WAL file is archived
    #[arg(long)]
    archive: bool,
    /// Stop waiting after this many seconds; 0 means never
    #[arg(long, value_name = "TIMEOUT", default_value = "30", value_parser = value::non_negative, allow_negative_numbers = true)]
    archive_timeout: u32,
    #[command(flatten)]
    servers: ServersArgument,
}

impl SwitchWal {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let options = SwitchOptions {
            force: self.force,
            archive: self.archive,
            archive_timeout: self.archive_timeout,
        };
        let configuration = session.config_path()?;
        session.for_servers(&self.servers.server_name, addressing::SWITCH_WAL, |server| {
            addressing::enabled(server)?;
            if switch_wal(
                server,
                configuration,
                options,
                &session.output.named("barman.server"),
            ) {
                Ok(())
            } else {
                Err(Failure::reported())
            }
        })
    }
}
