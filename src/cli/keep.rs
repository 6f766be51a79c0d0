//! `barman keep`.

use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;

/// Keep a backup from being deleted, whatever the retention policy says
#[derive(Debug, clap::Args)]
pub(super) struct Keep {
    /// Let the backup go again
    #[arg(short = 'r', long)]
    release: bool,
    /// Say whether the backup is kept
    #[arg(short = 's', long)]
    status: bool,
    /// Keep the backup with the WAL files it needs by itself (standalone), or with all later ones (full)
    #[arg(long, value_name = "TARGET", value_parser = ["full", "standalone"], hide_possible_values = true)]
    target: Option<String>,
    #[command(flatten)]
    backup: BackupArgument,
}

impl Keep {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("keep"))
    }
}
