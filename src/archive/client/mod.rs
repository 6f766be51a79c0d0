//! The programs of the PostgreSQL host: `barman-wal-archive` and `barman-wal-restore`.
//!
//! They call `barman put-wal` and `barman get-wal` on the Barman host through ssh, exactly as Barman's own programs do, so
//! that either side can be the other product. They read no configuration of ours.

mod fetch;
mod master;
mod private_directory;
pub mod recovering;
pub mod remote;
mod said;
mod series;
pub mod spool;
pub mod wal_archive;
pub mod wal_restore;

use std::io::Write;

pub use fetch::Transfer;
pub use remote::Remote;
pub use wal_archive::WalArchive;
pub use wal_restore::WalRestore;

/// Where the programs write: their standard output and error.
pub struct Console<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error, which ends up in PostgreSQL's log.
    pub err: &'a mut dyn Write,
}

impl Console<'_> {
    /// Writes `ERROR: {text}`. What cannot be written has no better place to be reported.
    fn error(&mut self, text: impl std::fmt::Display) {
        self.stderr(format_args!("ERROR: {text}\n"));
    }

    fn warning(&mut self, text: impl std::fmt::Display) {
        self.stderr(format_args!("WARNING: {text}\n"));
    }

    fn stderr(&mut self, text: std::fmt::Arguments<'_>) {
        if let Err(error) = self.err.write_fmt(text) {
            log::debug!("cannot write to standard error: {error}");
        }
    }

    fn stdout(&mut self, text: &[u8]) {
        if let Err(error) = self.out.write_all(text).and_then(|()| self.out.flush()) {
            log::debug!("cannot write to standard output: {error}");
        }
    }
}
