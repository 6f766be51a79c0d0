//! `barman rebuild-xlogdb`.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;

/// Write the database of WAL files anew, from the files in the archive
#[derive(Debug, clap::Args)]
pub(super) struct RebuildXlogdb {
    #[command(flatten)]
    servers: ServersArgument,
}

impl RebuildXlogdb {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("rebuild-xlogdb"))
    }
}
