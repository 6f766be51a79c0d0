//! `barman cron`.

use super::failure::Failure;
use super::session::Session;

/// Do the maintenance that is due: archive WAL files, check backups, apply retention policies
#[derive(Debug, clap::Args)]
pub(super) struct Cron {
    /// Let the processes that are started write to the standard output and error of this one
    #[arg(long)]
    keep_descriptors: bool,
}

impl Cron {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("cron"))
    }
}
