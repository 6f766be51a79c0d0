//! `barman-wal-archive`: PostgreSQL's `archive_command`, which sends a WAL file to `barman put-wal` on the backup host.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use super::client;
use super::value;
use crate::archive::client::wal_archive;
use crate::codec::{Compression as Algorithm, Level};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "barman-wal-archive",
    about = "Sends a WAL file to the backup host. For PostgreSQL's archive_command.",
    version = crate::BARMAN_LEVEL,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    color = clap::ColorChoice::Never,
    max_term_width = 100
)]
pub(super) struct WalArchive {
    /// Show the version and exit
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    host: client::HostOptions,
    /// Only test that WAL files can be sent
    #[arg(short, long)]
    test: bool,
    /// Send MD5 checksums instead of SHA-256, which old backup hosts do not know
    #[arg(long)]
    md5: bool,
    #[command(flatten)]
    compression: Compression,
    /// The level of compression: low, medium, high or a number
    #[arg(long, value_name = "COMPRESSION_LEVEL", value_parser = value::compression_level, allow_negative_numbers = true)]
    compression_level: Option<Level>,
    /// Keep the connection for this long after its last use, for the next WAL file; 0 keeps none
    #[arg(long, value_name = "SECONDS", value_parser = value::non_negative, default_value = "60", allow_negative_numbers = true)]
    persist: u32,
    /// Send up to this many of the segments that wait behind WAL_PATH along with it, and as many again in the background while PostgreSQL asks for those; 0 sends it alone
    #[arg(long, value_name = "SEGMENTS", value_parser = value::non_negative, default_value = "31", allow_negative_numbers = true)]
    look_ahead: u32,
    /// Be the process in the background, which sends what waits behind this segment
    #[arg(long, hide = true, value_name = "WAL_NAME")]
    send_behind: Option<String>,
    #[command(flatten)]
    server: client::HostArguments,
    /// The WAL file: what %p stands for in archive_command
    #[arg(value_name = "WAL_PATH")]
    wal_path: std::path::PathBuf,
}

/// The compressions, of which the last one given counts.
#[derive(Debug, clap::Args)]
struct Compression {
    /// Compress the WAL file with gzip
    #[arg(short = 'z', long, overrides_with_all = ["bzip2", "xz", "snappy", "zstd", "lz4"])]
    gzip: bool,
    /// Compress the WAL file with bzip2
    #[arg(short = 'j', long, overrides_with_all = ["gzip", "xz", "snappy", "zstd", "lz4"])]
    bzip2: bool,
    /// Compress the WAL file with xz
    #[arg(long, overrides_with_all = ["gzip", "bzip2", "snappy", "zstd", "lz4"])]
    xz: bool,
    /// Compress the WAL file with snappy
    #[arg(long, overrides_with_all = ["gzip", "bzip2", "xz", "zstd", "lz4"])]
    snappy: bool,
    /// Compress the WAL file with zstd
    #[arg(long, overrides_with_all = ["gzip", "bzip2", "xz", "snappy", "lz4"])]
    zstd: bool,
    /// Compress the WAL file with lz4
    #[arg(long, overrides_with_all = ["gzip", "bzip2", "xz", "snappy", "zstd"])]
    lz4: bool,
}

impl Compression {
    /// The compression asked for.
    fn chosen(&self) -> Option<Algorithm> {
        [
            (self.gzip, Algorithm::Gzip),
            (self.bzip2, Algorithm::Bzip2),
            (self.xz, Algorithm::Xz),
            (self.snappy, Algorithm::Snappy),
            (self.zstd, Algorithm::Zstd),
            (self.lz4, Algorithm::Lz4),
        ]
        .into_iter()
        .find_map(|(asked, algorithm)| asked.then_some(algorithm))
    }
}

/// Runs the program.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    client::run(&WalArchive::command(), arguments, |matches, console| {
        WalArchive::from_arg_matches(matches).map(|mut parsed| match parsed.send_behind.take() {
            Some(last) => {
                parsed.call(Vec::new()).send_behind(&last);
                0
            }
            None => parsed.call(arguments.to_vec()).run(console),
        })
    })
}

impl WalArchive {
    fn call(self, background: Vec<OsString>) -> wal_archive::WalArchive {
        wal_archive::WalArchive {
            remote: self.host.remote(self.server.barman_host),
            server: self.server.server_name,
            wal_path: self.wal_path,
            test: self.test,
            md5: self.md5,
            compression: self.compression.chosen(),
            level: self.compression_level.unwrap_or_default(),
            persist: self.persist,
            look_ahead: self.look_ahead,
            private_directory: client::private_directory(),
            temporary_directory: std::env::temp_dir(),
            background,
        }
    }
}
