//! `barman cron`.

use super::failure::Failure;
use super::session::Session;
use crate::cron::{self, Program};

/// Do the maintenance that is due: archive WAL files, check backups, apply retention policies
#[derive(Debug, clap::Args)]
pub(super) struct Cron {
    /// Let the processes that are started write to the standard output and error of this one
    #[arg(long)]
    keep_descriptors: bool,
}

impl Cron {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let path = std::env::current_exe()
            .map_err(|error| Failure::exception(format!("cannot find this program: {error}")))?;
        let program = Program {
            path,
            name: session.program.to_owned(),
            keep_descriptors: self.keep_descriptors,
        };
        let context = cron::Context {
            main: &session.main,
            configuration: session.config_path()?,
            program: &program,
        };
        cron::run(
            context,
            &session.every_server()?,
            &session.output.named("barman.server"),
        )
        .map_err(|signal| Failure::error(signal.to_string()))
    }
}
