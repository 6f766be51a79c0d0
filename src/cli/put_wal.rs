//! `barman put-wal`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::session::ssh_host;
use crate::archive::put_wal::{PutWalError, put_wal};
use crate::archive::sums::Sums;
use crate::archive::{Places, wal_codec};
use crate::base::report::Reporter;
use crate::transport;

/// Take WAL files from standard input, as a tar stream, into the incoming directory of a server
#[derive(Debug, clap::Args)]
pub(super) struct PutWal {
    /// Only test that WAL files of the server can be taken
    #[arg(long, short = 't')]
    test: bool,
    /// The list of checksums will be XXH128SUMS (barman-wal-archive says so to a barkeep)
    #[arg(long, hide = true)]
    xxh128: bool,
    #[command(flatten)]
    server: ServerArgument,
}

impl PutWal {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::PUT_WAL)? else {
            return Ok(());
        };
        if self.test {
            session.output.info(&format!(
                "Ready to accept WAL files for the server {}",
                server.name
            ));
            return Ok(());
        }
        let input = std::io::stdin().lock();
        // What sshd does not get rid of at once costs it time.
        transport::widen(&input);
        let sums = if self.xxh128 { Sums::Xxh128 } else { Sums::Sha256 };
        let delivered =
            put_wal(&Places::of(server)?, &wal_codec(server), sums, input).map_err(|error| match error {
                // Barman's words: its reader of tar streams raises them.
                PutWalError::Stream { source, .. } => Failure::exception(source.to_string()),
                error => Failure::error(format!("{error}{}", ssh_host())),
            })?;
        for duplicate in delivered.duplicates {
            // Barman's words, which lack a blank.
            session.output.named("barman.server").info(&format!(
                "\tError: Duplicate Files Detected with Mismatched Checksums. File {} already exists on server {} with \
                 checksum {}, but the checksum of the incoming file is{}. The file has been moved to the errors directory.",
                duplicate.name, server.name, duplicate.existing_checksum, duplicate.checksum
            ));
        }
        Ok(())
    }
}
