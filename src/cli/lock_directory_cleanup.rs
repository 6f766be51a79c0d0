//! `barman lock-directory-cleanup`.

use super::failure::Failure;
use super::session::Session;

/// Remove lock files that nobody holds
#[derive(Debug, clap::Args)]
pub(super) struct LockDirectoryCleanup {}

impl LockDirectoryCleanup {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("lock-directory-cleanup"))
    }
}
