//! `barman keep`.

use super::addressing;
use super::arguments::BackupArgument;
use super::failure::Failure;
use super::session::Session;
use crate::catalog::KeepTarget;
use crate::output::keep::KeepStatus;

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
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        if !self.status && !self.release && self.target.is_none() {
            return Err(Failure::error(
                "one of the arguments -r/--release -s/--status --target is required",
            ));
        }
        let Some(found) = session.backup(&self.backup, addressing::KEEP)? else {
            return Ok(());
        };
        let (catalog, id) = (&found.catalog, &found.id);
        if self.status {
            session.output.show(&KeepStatus {
                server: &found.server.name,
                target: catalog.keep_status(id)?,
            });
        } else if self.release {
            catalog.release(id)?;
        } else if let Some(target) = self.target.as_deref().and_then(KeepTarget::parse) {
            catalog.keep(id, target)?;
        }
        Ok(())
    }
}
