//! `barman config-update`: arguments only in this version.

use super::failure::Failure;
use super::session::Session;

/// Change configuration files (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ConfigUpdate {
    /// The changes, as a JSON list of objects
    #[arg(value_name = "json_changes")]
    json_changes: String,
}

impl ConfigUpdate {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("config-update"))
    }
}
