//! `barman put-wal`.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Take WAL files from standard input, as a tar stream, into the incoming directory of a server
#[derive(Debug, clap::Args)]
pub(super) struct PutWal {
    /// Only test that WAL files of the server can be taken
    #[arg(long, short = 't')]
    test: bool,
    #[command(flatten)]
    server: ServerArgument,
}

impl PutWal {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("put-wal"))
    }
}
