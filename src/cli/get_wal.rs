//! `barman get-wal`.

use std::path::PathBuf;

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Send a WAL file of a server to standard output, or put it into a directory
#[derive(Debug, clap::Args)]
pub(super) struct GetWal {
    /// Put the WAL file into this directory, under its own name
    #[arg(long, short = 'o', value_name = "OUTPUT_DIRECTORY")]
    output_directory: Option<PathBuf>,
    /// Find partial WAL files (.partial) as well
    #[arg(long, short = 'P')]
    partial: bool,
    /// Compress with gzip what is sent
    #[arg(long, short = 'z', visible_short_alias = 'x', overrides_with = "bzip2")]
    gzip: bool,
    /// Compress with bzip2 what is sent
    #[arg(long, short = 'j', overrides_with = "gzip")]
    bzip2: bool,
    /// Send the WAL file as it is stored
    #[arg(long)]
    keep_compression: bool,
    /// List the names of up to this many archived WAL files, from the given one on, and send none
    #[arg(long, short = 'p', value_name = "SIZE", value_parser = value::positive, allow_negative_numbers = true)]
    peek: Option<u32>,
    /// Only test that WAL files of the server can be sent
    #[arg(long, short = 't')]
    test: bool,
    #[command(flatten)]
    server: ServerArgument,
    /// The WAL file
    #[arg(value_name = "wal_name")]
    wal_name: String,
}

impl GetWal {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("get-wal"))
    }
}
