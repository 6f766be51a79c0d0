//! `barman lock-directory-cleanup`.

use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::catalog::locks;

/// Remove lock files that nobody holds
#[derive(Debug, clap::Args)]
pub(super) struct LockDirectoryCleanup {}

impl LockDirectoryCleanup {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let cleaned = locks::clean(&session.main.barman_lock_directory)?;
        for path in &cleaned.removed {
            log::debug!(target: "barman.cli", "removed lock file \"{}\"", path.display());
        }
        for failure in &cleaned.failed {
            session.output.error(&failure.to_string());
        }
        Ok(())
    }
}
